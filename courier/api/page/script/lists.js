// The lists: processes, failures and options.
const LEVELS = {ready: "ok", starting: "warn", draining: "warn", silent: "bad", down: "bad"};
const NEWS_SECONDS = 10;
const seen = new Map();
let reason = "";  // the failures that are shown; empty for all

/** Return how a worker fares. A replacement takes less than a second, so that it is shown for a while. */
function fares(worker) {
  const key = `${worker.role} ${worker.index}`, before = seen.get(key), now = Date.now();
  const replaced = before && (worker.restarts > before.restarts || (before.pid && worker.pid && worker.pid !== before.pid));
  const at = replaced ? now : before?.at ?? 0;
  seen.set(key, {pid: worker.pid || before?.pid, restarts: worker.restarts, at});
  if (worker.state === "ready" && now - at < NEWS_SECONDS * 1000) return ["warn", "replaced"];
  if (worker.state === "ready" && worker.on_duty === false) return ["ok", "standby"];
  return [LEVELS[worker.state] || "", worker.state || "–"];
}

const CAUSES = {exit: "by exit", signal: "by a signal", hung: "hung"};

function restarts(worker) {
  if (!worker.restarts) return "";
  const causes = Object.entries(worker.restarts_by || {}).filter(([, count]) => count);
  const why = causes.map(([name, count]) => causes.length > 1 ? `${count} ${CAUSES[name] || name}` : CAUSES[name] || name).join(", ");
  return join(": ", plural(worker.restarts, "restart"), why);
}

function load(worker, status) {
  const memory = isNumber(worker.memory_bytes) && bytes(worker.memory_bytes);
  const pages = status.streams;
  const does = {
    sender: isNumber(worker.in_flight) ? `${number(worker.in_flight)}${worker.limit ? ` of ${number(worker.limit)}` : " in flight"}` : "load unknown",
    consumer: isNumber(worker.asked) && `asks for ${number(worker.asked)}`,
    auditor: isNumber(worker.held) && `holds ${number(worker.held)}`,
    api: isNumber(pages) && `${plural(pages, "page")} open`,
    supervisor: `up ${duration(status.uptime_seconds)}`,
  };
  return join(" · ", does[kindOf(worker.role)], memory);
}

/** Return what the workers of a role do: those of a route, such as sender:orders, are senders. */
const kindOf = role => (role || "").split(":")[0];
const FLOW = ["consumer", "sender", "auditor", "queue", "scheduler", "watcher", "api", "supervisor"];
const place = worker => FLOW.indexOf(kindOf(worker.role)) * 1000 + worker.index;

function tiles(status) {
  const workers = [...status.workers || []].sort((one, other) => place(one) - place(other));
  sync($("tiles"), workers, worker => `${worker.role} ${worker.index}`, worker => {
    const made = el("li"), head = el("div", "row between");
    head.append(el("h3", "", worker.role === "supervisor" ? worker.role : `${worker.role} ${worker.index}`), el("span", "pill"));
    made.append(head);
    if (kindOf(worker.role) === "sender") {
      const bar = svg("svg", {class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true"});
      bar.append(svg("rect", {class: "t", width: 100, height: 8}), svg("rect", {class: "v", width: 0, height: 8}));
      made.append(bar);
    }
    made.append(el("small"), el("small"), el("small"));
    return made;
  }, (node, worker) => {
    const [level, word] = fares(worker), [does, who, why] = node.querySelectorAll("small");
    setClass(node, level);
    say(node.querySelector(".pill"), word);
    const share = worker.limit ? 100 * Math.min(1, (worker.in_flight || 0) / worker.limit) : 0;
    node.querySelector(".v")?.setAttribute("width", share.toFixed(1));
    say(does, load(worker, status));
    say(who, join(" · ", worker.pid ? `pid ${worker.pid}` : "no process", isNumber(worker.last_beat_seconds) && worker.role !== "supervisor" && `beat ${duration(worker.last_beat_seconds)}`));
    setClass(why, "why");
    say(why, restarts(worker));
  });
  const up = workers.filter(worker => worker.pid).length, times = sum(workers.map(worker => worker.restarts));
  say("running", `${number(up)} running · ${times ? plural(times, "restart") : "no restarts"} since the start`);
}

function failures(status) {
  const all = status.failures || [], counts = new Map();
  for (const each of all) counts.set(each.reason, Math.max(counts.get(each.reason) || 0, each.count || 1));
  if (reason && !counts.has(reason)) reason = "";
  const chips = all.length ? [["", sum([...counts.values()])], ...counts] : [];
  sync($("chips"), chips, ([name]) => name, ([name]) => {
    const made = el("label"), input = el("input");
    input.type = "radio";
    input.name = "reason";
    input.onchange = () => {
      reason = name;
      getSelection().removeAllRanges();
      failures(last);
    };
    made.append(input, el("span"));
    return made;
  }, (node, [name, count]) => {
    node.firstChild.checked = name === reason;
    say(node.lastChild, `${name || "all"} ${number(count)}`);
  });
  const rows = all.filter(each => !reason || each.reason === reason), newest = rows[0];
  // Rows stay while an id is selected, so that it can be copied while failures pour in.
  const selection = getSelection(), isHeld = !selection.isCollapsed && $("failures").contains(selection.anchorNode);
  say("since", isHeld ? "Held while something is selected." : "The bodies are in the audit log.");
  if (isHeld) return;
  sync($("failures"), rows, each => `${each.time} ${each.message_id} ${each.reason}`, each => {
    const made = el("tr");
    for (let i = 0; i < 7; i++) made.append(el("td", [2, 4, 5].includes(i) ? "n" : ""));
    made.children[1].append(el("span", "id", each.message_id));
    return made;
  }, (node, each) => {
    const cells = node.children, then = each.then || each.action || "–";
    say(cells[0], clock(each.time));
    say(cells[2], number(each.attempts));
    say(cells[3], each.reason || "–");
    say(cells[4], each.status ? String(each.status) : "–");
    say(cells[5], latency(each.took_seconds).join(" ").replace("– ms", "–"));
    say(cells[6], then);
  });
  const answer = newest?.answer && newest.answer !== newest.reason ? `Last answer${newest.status ? ` (${newest.status})` : ""}: “${newest.answer}”` : "";
  say("advice", newest ? join(" ", sentence(answer), sentence(capital(newest.advice || ""))) : "");
  $("fl").hidden = !rows.length;
  $("none").hidden = rows.length > 0;
}

/** Put text into a cell with places where a long path or name may break. */
function breakable(cell, text, places) {
  if (cell.textContent === text) return;
  cell.replaceChildren();
  text.split(places).forEach((part, i) => cell.append(...(i ? [el("wbr"), part] : [part])));
}

function options(status) {
  const listed = status.configuration || Object.entries(status.settings || {}).map(([name, value]) => ({option: name.replaceAll("_", "-"), value: String(value), source: ""}));
  const rows = $("all").checked ? listed : listed.filter(each => !each.default);
  $("all").parentNode.hidden = !listed.some(each => each.default);
  sync($("options"), rows, each => each.option, each => {
    const made = el("tr"), name = el("th");
    name.scope = "row";
    name.append(el("code", "", each.option));
    made.append(name, el("td"), el("td"));
    return made;
  }, (node, each) => {
    breakable(node.children[1], String(each.value || "–"), /(?<=[/_,])/);
    breakable(node.children[2], each.source || "–", /(?<=[/_:])/);
  });
}
