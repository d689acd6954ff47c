// What needs attention: what is wrong, why, and what to do.

/** Return the findings of a status, the worst first: {level, title, text}. */
function findings(status) {
  const found = [], reasons = status.reasons || [], breaker = status.breaker || {};
  if (status.leaving) found.push(leaving(status.leaving));
  if (status.pause) found.push(paused(status));
  reasons.forEach((reason, i) => {
    const [title, ...rest] = reason.split(": "), advice = (status.advice || [])[i];
    const level = reason === "starting" || reason === "draining" || reason.startsWith("paused") ? "warn" : "bad";
    if (status.pause && reason.startsWith("paused")) return;
    found.push({level, title: capital(title), text: join(" ", sentence(capital(rest.join(": "))), advice && sentence(capital(advice)))});
  });
  if (isBroken(status) && !(breaker.refused || {}).messages) found.push(broken(status, breaker));
  if (status.paused_seconds > 0) {
    found.push({level: "warn", title: "The recipient asked Courier to wait", text: `It answered with Retry-After. Deliveries go on in ${duration(status.paused_seconds)}.`});
  }
  return found.sort((one, other) => (one.level === "warn") - (other.level === "warn"));
}

function leaving({reason, drains, seconds_left}) {
  const left = seconds_left != null && `${duration(seconds_left)} left.`;
  return {level: "warn", title: reason || "This machine ends", text: join(" ", left, drains ? "Courier drains." : "Courier goes on as before.")};
}

function paused(status) {
  const {by, reason, since} = status.pause, growth = (status.queue || {}).growth_per_second;
  const grows = growth >= 0.5 && `The queue grows by ${number(growth)} a second.`;
  const text = join(" ", reason && `“${reason}”.`, "Nothing is received; what was under way is finished.", grows, "To receive again: courier resume.");
  return {level: "warn", title: `Paused${by ? ` by ${by}` : ""}${since ? `, ${clock(since)}` : ""}`, text};
}

/** Explain an open circuit breaker by the last failure, which is what opened it. */
function broken(status, breaker) {
  const last = (status.failures || [])[0] || {}, opening = (breaker.history || []).findLast(each => each.closed_at == null);
  const why = join(": ", opening?.reason || last.reason || "deliveries fail", last.answer && last.answer !== last.reason && `“${last.answer}”`);
  const since = opening?.opened_at && `since ${clock(opening.opened_at)}`;
  const row = breaker.faults_in_a_row > 0 && `${plural(breaker.faults_in_a_row, "failure")} in a row`;
  const half = breaker.state === "half-open";
  const next = half ? "A probe is on its way." : breaker.next_probe_seconds > 0 ? `Next probe in ${duration(breaker.next_probe_seconds)}.` : "";
  const shut = (status.routes || []).filter(each => each.breaker === "open").map(each => each.name);
  const meanwhile = shut.length ? `Messages of ${shut.join(", ")} are hidden for a while; the other routes go on.` : "Nothing else is received meanwhile.";
  const title = last.status ? `The recipient fails with ${last.status}: the circuit breaker is ${breaker.state}` : `The recipient doesn't answer: the circuit breaker is ${breaker.state}`;
  return {level: "bad", title, text: join(" ", sentence(join(", ", capital(why), row, since)), meanwhile, next, last.advice && sentence(capital(last.advice)))};
}

/** Show findings. Only their titles are announced, so that a countdown isn't read out every second. */
function banner(found) {
  $("say").hidden = !found.length;
  sync($("say"), found, each => each.title, () => {
    const made = el("p");
    made.append(el("b"), el("span"));
    return made;
  }, (node, each) => {
    setClass(node, each.level);
    say(node.firstChild, each.title);
    say(node.lastChild, each.text);
  });
  say("news", found.map(each => each.title).join(". "));
}
