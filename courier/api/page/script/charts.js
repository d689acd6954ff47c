// Charts of the last five minutes, second by second, or of the last hour, by ten seconds.
const CHARTS = {
  rate: {name: "Delivered and failed a second", unit: " /s", names: ["delivered", "failed"], lines: [["f", "delivered"], ["", "delivered"], ["sb", "failed"]]},
  time: {name: "Time to deliver: p50, p90, p99", unit: " ms", scale: 1000, log: 1, names: ["p50", "p90", "p99"], lines: [["s3", "p99"], ["s2", "p90"], ["", "p50"]]},
  queue: {name: "Messages waiting in the queue", unit: "", names: ["waiting"], lines: [["f", "waiting"], ["", "waiting"]]},
};
const NAMES = ["delivered", "failed", "p50", "p90", "p99", "waiting"];
const figures = [...document.querySelectorAll(".spark")];
let point = null;  // the point under the crosshair, counted from the left
let isHour = false;

class Series {
  /** Some numbers at equal steps of time; the last is at `end`, a Unix time in steps. */
  constructor(length, step) {
    Object.assign(this, {length, step, end: null, values: {}});
    for (const name of NAMES) this.values[name] = Array(length).fill(null);
  }

  /** Take over what Courier has kept. */
  fill(kept) {
    if (!kept || !kept.series) return;
    this.end = Math.floor(kept.end_at / this.step);
    for (const name of NAMES) {
      const found = (kept.series[name] || []).slice(-this.length);
      this.values[name] = Array(this.length - found.length).fill(null).concat(found);
    }
  }

  /** Add the numbers of one moment. Short gaps are filled, long ones stay empty. */
  push(now, found) {
    const at = Math.floor(now / this.step);
    if (this.end === null || at - this.end > this.length) this.end = at - this.length;
    // A clock that was set back would leave the charts still until it has caught up.
    if (at - this.end < -3) this.end = at - 1;
    const gap = at - this.end;
    if (gap < 0) return;
    for (const name of NAMES) {
      const values = this.values[name];
      for (let i = 1; i < gap; i++) values.push(gap > 3 ? null : values.at(-1));
      if (gap) values.push(found[name]);
      else values[values.length - 1] = found[name] ?? values.at(-1);
      values.splice(0, values.length - this.length);
    }
    this.end = at;
  }
}

const seconds = new Series(300, 1);
const hour = new Series(360, 10);
const shown = () => isHour ? hour : seconds;

/** Draw one chart anew. */
function draw(figure) {
  const chart = CHARTS[figure.dataset.chart], series = shown(), last = series.length - 1;
  const data = name => series.values[name].map(value => isNumber(value) ? value * (chart.scale || 1) : null);
  const all = chart.names.flatMap(data).filter(isNumber);
  const high = all.length ? Math.max(...all) : 0, floor = chart.log || 0;
  const top = Math.max(high, floor ? floor * 10 : 1) * 1.04;
  const y = value => (floor ? 51 - Math.log(Math.max(value, floor) / floor) / Math.log(top / floor) * 50 : 51 - value / top * 50).toFixed(1);
  const rule = (y1, y2, x1, x2, cls) => svg("line", {x1, x2, y1, y2, ...(cls && {class: cls})});
  const parts = [rule(51.5, 51.5, 0, last)];
  if (floor) for (let each = floor * 10; each < top; each *= 10) parts.push(rule(y(each), y(each), 0, last, "g"));
  for (const [cls, name] of chart.lines) {
    const runs = [];
    data(name).forEach((value, x, values) => {
      if (value === null) return;
      if (!x || values[x - 1] === null) runs.push([]);
      runs.at(-1).push([x, y(value)]);
    });
    // A point alone is drawn as a short line.
    const path = run => "M" + run.map(pair => pair.join(" ")).join("L") + (run.length > 1 ? "" : "h.1");
    const area = run => path(run) + `L${run.at(-1)[0]} 52L${run[0][0]} 52Z`;
    parts.push(svg("path", {d: runs.map(cls === "f" ? area : path).join(""), ...(cls && {class: cls})}));
  }
  if (point !== null) parts.push(rule(0, 52, point, point, "x"));
  figure.setAttribute("viewBox", `0 0 ${last} 52`);
  figure.replaceChildren(...parts);
  say(figure.previousElementSibling, all.length ? `↑ ${number(high)}${chart.unit}` : "");
  label(figure, chart, chart.names.map(data), all);
}

/** Write what the chart shows: the values under the crosshair, or the range for those who can't see it. */
function label(figure, chart, data, all) {
  const series = shown(), last = series.length - 1, button = figure.closest("section").querySelector(".span");
  const ago = point === null ? "" : (last - point) * series.step;
  const values = point === null ? "" : data.map(each => number(each[point])).join(" · ") + chart.unit;
  const span = isHour ? "1 hour" : "5 min";
  say(button, point === null ? span + (chart.log ? ", log" : "") : `${ago ? duration(ago) + " ago" : "now"}: ${values}`);
  const range = all.length ? `now ${number(data[0].at(-1))}, lowest ${number(Math.min(...all))}, highest ${number(Math.max(...all))}${chart.unit}` : "no values yet";
  const about = {"aria-label": `${chart.name}, last ${span}`, "aria-valuemax": last, "aria-valuenow": point ?? last,
    "aria-valuetext": point === null ? range : `${ago ? duration(ago) + " ago" : "now"}: ${values}`};
  for (const [name, value] of Object.entries(about)) figure.setAttribute(name, value);
}

const drawAll = () => figures.forEach(draw);

function moveTo(x) {
  point = x === null ? null : Math.max(0, Math.min(shown().length - 1, x));
  drawAll();
}

const KEYS = {ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -30, PageUp: 30, Home: -Infinity, End: Infinity};
for (const figure of figures) {
  figure.setAttribute("role", "slider");
  figure.setAttribute("tabindex", "0");
  figure.setAttribute("aria-valuemin", "0");
  figure.onpointermove = event => {
    const box = figure.getBoundingClientRect();
    moveTo(Math.round((event.clientX - box.left) / box.width * (shown().length - 1)));
  };
  figure.onpointerleave = figure.onblur = () => moveTo(null);
  figure.onkeydown = event => {
    if (event.key === "Escape") return moveTo(null);
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    moveTo((point ?? shown().length - 1) + step);
  };
}
for (const button of document.querySelectorAll(".span")) {
  button.title = "Show 5 minutes or 1 hour";
  button.onclick = () => {
    isHour = !isHour;
    moveTo(null);
  };
}
