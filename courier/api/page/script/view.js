// The whole page from one status. Any field may be missing, from an older API: it shows as "–".
const MARKS = {ok: "●", warn: "◆", bad: "■", paused: "⏸", "": "?"};
const ICONS = {
  ok: ["#1a7f4b", "<circle cx='8' cy='8' r='6'/>"], warn: ["#b57500", "<path d='M8 1l7 7-7 7-7-7z'/>"],
  bad: ["#c5281c", "<path d='M2 2h12v12H2z'/>"], paused: ["#b57500", "<path d='M3 2h4v12H3zM9 2h4v12H9z'/>"],
  "": ["#7a8591", "<circle cx='8' cy='8' r='3'/>"],
};

const rateOf = (status, window, name) => ((status.rates || {})[window] || {})[name];

/** Return a rate that neither flickers when it is low nor lags when it is high. */
function rate(status, name) {
  const slow = rateOf(status, "10s", name), fast = rateOf(status, "1s", name);
  return isNumber(slow) && slow < 20 ? slow : fast;
}

function optionOf(status, name) {
  const found = (status.configuration || []).find(each => each.option === name);
  return found ? found.value : (status.settings || {})[name.replaceAll("-", "_")];
}

/** Return whether receiving waits for the recipient. Until the first delivery the breaker is half-open, and nothing waits. */
function isBroken(status) {
  const {state, openings} = status.breaker || {};
  return state === "open" || (state === "half-open" && openings !== 0);
}

/** Return the level and the word of the whole program: what ends it first, what needs a person next. */
function state(status) {
  if (status.state === "starting" || status.state === "draining") return ["warn", status.state];
  if (status.state && status.state !== "ready") return ["bad", status.pause ? `${status.state}, paused` : status.state];
  if (status.pause) return ["paused", "paused"];
  if (isBroken(status)) return ["bad", "waiting for the recipient"];
  if (status.paused_seconds > 0) return ["warn", "asked to wait"];
  return status.state ? ["ok", status.state] : ["", "unknown"];
}

function mark(level, status) {
  const name = (status && nameOf(status)) || "Courier", [fill, shape] = ICONS[level];
  document.title = `${MARKS[level]} ${name === "Courier" ? name : name + " · Courier"}`;
  const icon = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='${fill}'>${shape}</svg>`)}`;
  if ($("icon").getAttribute("href") !== icon) $("icon").setAttribute("href", icon);
}

function nameOf(status) {
  const name = (status.queue || {}).name || optionOf(status, "queue") || "";
  return String(name).split("/").at(-1);
}

/** Show a status. */
function show(status) {
  last = status;
  const [level, word] = state(status), controls = status.control || {};
  pill($("state"), level === "paused" ? "warn" : level, word);
  mark(level, status);
  say("queue", nameOf(status) || "Courier");
  const to = optionOf(status, "recipient-url");
  say("to", to ? "→ " + String(to).replace(/^https?:\/\//, "") : "");
  say("about", join(" · ", isNumber(status.uptime_seconds) && `up ${duration(status.uptime_seconds)}`, status.version, status.host));
  banner(findings(status));
  delivered(status);
  times(status);
  queue(status);
  recipient(status);
  flow(status);
  tiles(status);
  failures(status);
  options(status);
  acts(status);
  say("steer", controls.page ? "Acts need the token of --page-control." : controls.socket ? `Read only. Steer with courier pause, scale and others, by ${controls.socket}` : "Read only.");
  drawAll();
}

/** Add a status to the charts. */
function sample(status) {
  const quick = name => rateOf(status, "1s", name), time = percentiles(status, "delivery");
  const found = {delivered: quick("delivered"), failed: quick("failed") ?? quick("retried"), p50: time.p50, p90: time.p90, p99: time.p99, waiting: (status.queue || {}).waiting};
  for (const series of [seconds, hour]) series.push(status.now ?? Date.now() / 1000, found);
}

const percentiles = (status, name) => ((status.latency || {})["10s"] || {})[name] || {};

function delivered(status) {
  say("rate", number(rate(status, "delivered")));
  say("failed", `${number(rate(status, "retried"))} /s`);
  const good = rateOf(status, "60s", "delivered"), bad = sum([rateOf(status, "60s", "retried"), rateOf(status, "60s", "rejected")]);
  const share = 100 * good / (good + bad);
  say("share", good + bad > 0 ? `${bad ? share.toFixed(share > 99 ? 2 : 1) : 100} % ok` : "");
}

function times(status) {
  const found = percentiles(status, "delivery"), whole = percentiles(status, "end_to_end");
  for (const name of ["p50", "p90", "p99"]) {
    const [value, unit] = latency(found[name]);
    say(name, value);
    say(name + "u", unit);
  }
  const shown = ["p50", "p99"].filter(name => isNumber(whole[name])).map(name => `${name} ${latency(whole[name]).join(" ")}`);
  say("whole", shown.length ? `since it was sent: ${shown.join(" · ")}` : "");
}

function queue(status) {
  const found = status.queue || {}, growth = found.growth_per_second;
  say("waiting", number(found.waiting));
  say("oldest", isNumber(found.oldest_seconds) ? `, oldest ${duration(found.oldest_seconds)}` : "");
  say("hidden", `in flight ${number(found.in_flight)} · delayed ${number(found.delayed)}`);
  const empty = isNumber(found.empty_in_seconds) && found.waiting > 0 && `empty in ~${duration(found.empty_in_seconds)}`;
  say("growth", empty || (growth >= 0.5 ? `grows by ${number(growth)} /s` : ""));
  sync($("dead"), status.dead_letters || [], each => each.is, () => el("small"), (node, each) => {
    setClass(node, each.problem ? "why" : "");
    say(node, `${each.is} ${each.queue}: ${each.problem || number(each.messages)}`);
  });
  say("unknown", found.problem || "");
}

function recipient(status) {
  const breaker = status.breaker || {}, senders = (status.workers || []).filter(each => each.role === "sender" && each.pid);
  const level = {closed: "ok", open: "bad", "half-open": "warn"}[breaker.state] || "";
  pill($("breaker"), level, breaker.state || "–");
  const most = Number(optionOf(status, "concurrency") ?? 16) * senders.length, limit = status.limit;
  const slots = Math.max(most || 0, limit || 0);
  say("flying", number(status.in_flight));
  // Messages that wait for the recipient to come back need no slot.
  say("slots", status.in_flight > slots ? `under way, ${plural(slots, "slot")}` : slots ? `of ${plural(slots, "slot")} in flight` : "in flight");
  const share = value => (slots ? 100 * Math.min(1, (value || 0) / slots) : 0).toFixed(1);
  $("flybar").replaceChildren(svg("rect", {class: "t", width: 100, height: 8}), svg("rect", {class: "v", width: share(status.in_flight), height: 8}), ...(limit < slots ? [svg("rect", {class: "m", x: share(limit), width: 0.8, height: 8})] : []));
  $("flybar").setAttribute("aria-label", `${number(status.in_flight)} of ${number(slots)} slots in flight; the limit is ${number(limit)}`);
  const kept = status.kept > 0 && `${number(status.kept)} kept to try again`;
  say("limit", join(" · ", isNumber(limit) && `limit ${number(limit)}`, `${plural(breaker.faults_in_a_row || 0, "failure")} in a row`, kept));
  openingsOf(status, breaker);
  sync($("routes"), status.routes || [], each => each.name, () => el("small"), (node, each) => {
    const totals = each.totals || {};
    const counts = ["retried", "rejected", "hidden"].filter(name => totals[name] > 0).map(name => `${number(totals[name])} ${name}`);
    setClass(node, each.breaker === "open" ? "why" : "");
    say(node, join(" · ", `${each.name}: ${each.breaker}`, `${number(each.in_flight)} of ${number(each.limit)} in flight`, `${number(totals.delivered)} delivered`, ...counts));
  });
}

/** Draw when the breaker was open within the last hour. */
function openingsOf(status, breaker) {
  const now = status.now ?? Date.now() / 1000, spans = (breaker.history || []).filter(each => isNumber(each.opened_at) && (each.closed_at ?? now) > now - 3600);
  $("hour").replaceChildren(svg("rect", {class: "t", width: 3600, height: 8}), ...spans.map(each => {
    const from = Math.max(0, 3600 - now + each.opened_at), until = 3600 - now + (each.closed_at ?? now);
    const made = svg("rect", {class: "o", x: from.toFixed(0), width: Math.max(20, until - from).toFixed(0), height: 8});
    made.append(svg("title", {}));
    made.firstChild.textContent = join(": ", `${clock(each.opened_at)}, ${duration(until - from)}`, each.reason);
    return made;
  }));
  const open = breaker.open_seconds_last_hour, known = breaker.history !== undefined;
  const text = !known ? join(" ", "open", isNumber(breaker.openings) ? `${number(breaker.openings)}× since the start` : "–") : spans.length ? `open ${spans.length}× in the last hour, ${duration(open)} in all` : "not open in the last hour";
  say("openings", text);
  $("hour").setAttribute("aria-label", `Circuit breaker: ${text}`);
}

function flow(status) {
  const totals = status.totals || {}, waits = status.queued || {}, work = waits.work || {}, acks = waits.acks || {}, archive = status.archive;
  const dead = (status.dead_letters || []).find(each => each.is === "failure queue");
  const consumers = (status.workers || []).filter(each => each.role === "consumer"), duty = consumers.filter(each => each.on_duty !== false && each.pid).length;
  const all = name => isNumber(totals[name]) ? `${number(totals[name])} in all` : "";
  const sync99 = percentiles(status, "audit_sync").p99;
  const stages = [
    ["received", rate(status, "received"), `${number(duty)} of ${plural(consumers.length, "consumer")}`],
    ["waiting for a sender", work.waiting, bytes(work.bytes)],
    ["delivered", rate(status, "delivered"), all("delivered")],
    ["waiting for the auditor", acks.waiting, isNumber(status.held) ? `held ${number(status.held)}` : ""],
    ["recorded", rate(status, "recorded"), isNumber(sync99) ? `sync p99 ${latency(sync99).join(" ")}` : all("recorded")],
    ["deleted", rate(status, "deleted"), all("deleted")],
    ...(archive ? [["waiting for the archive", archive.waiting_segments, join(", ", archive.state, bytes(archive.waiting_bytes))]] : []),
    ["retried", rate(status, "retried"), all("retried")],
    ["rejected", rate(status, "rejected"), dead ? `to ${dead.queue}` : all("rejected")],
  ];
  sync($("flow"), stages, ([name]) => name, ([name]) => {
    const made = el("li");
    made.append(el("small", "", name), el("b"), el("small"));
    return made;
  }, (node, [, value, more]) => {
    say(node.children[1], number(value));
    say(node.lastChild, more);
  });
}

$("all").onchange = () => last && options(last);
say("zone", `Times: ${Intl.DateTimeFormat().resolvedOptions().timeZone}`);
