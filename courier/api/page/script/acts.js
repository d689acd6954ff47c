// Acts, where Courier was started with --page-control: for who has the token, with a confirmation and a reason.
let token = "";  // typed once; it stays in this variable alone
let asked = null;  // the act that the dialog asks about

const ACTS = {
  pause: status => ({
    title: "Pause receiving?", go: "Pause",
    text: `Messages stay in the queue. The ${number(status.in_flight)} under way are finished, recorded and deleted. The pause lasts until somebody resumes, or until Courier restarts.`,
  }),
  resume: status => ({
    title: "Receive again?", go: "Resume",
    text: `Courier was paused${status.pause?.by ? ` by ${status.pause.by}` : ""}${status.pause?.reason ? `: “${status.pause.reason}”` : ""}. Make sure that the reason is gone.`,
  }),
  probe: () => ({
    title: "Probe the recipient now?", go: "Probe",
    text: "Courier sends one message now instead of at the end of the cool-down. If it fails, the recipient is left alone for longer.",
  }),
  scale: (status, senders) => ({
    title: `Run ${plural(senders, "sender")} instead of ${number(sendersOf(status))}?`, go: "Scale", fields: {senders},
    text: senders < sendersOf(status) ? "The sender that leaves finishes what it has under way." : "A new sender takes work as soon as it has started.",
  }),
};

const sendersOf = status => (status.workers || []).filter(each => each.role === "sender" && each.state !== "draining" && each.pid).length;

function actButton(text, name, argument) {
  const made = el("button", "", text);
  made.setAttribute("aria-haspopup", "dialog");
  made.onclick = () => propose(name, argument?.());
  return made;
}

const steps = {fewer: actButton("−", "scale", () => sendersOf(last) - 1), more: actButton("+", "scale", () => sendersOf(last) + 1)};
const scaled = el("div", "seg"), count = el("span"), probeNow = actButton("Probe now", "probe"), pauseNow = actButton("Pause…", "pause"), resumeNow = actButton("Resume…", "resume");
steps.fewer.setAttribute("aria-label", "One sender fewer");
steps.more.setAttribute("aria-label", "One sender more");
scaled.setAttribute("role", "group");
scaled.setAttribute("aria-label", "Senders");
scaled.append(steps.fewer, count, steps.more);
resumeNow.className = "go";
$("acts").append(scaled, probeNow, pauseNow, resumeNow);

/** Offer what can be done now. */
function acts(status) {
  $("acts").hidden = !(status.control || {}).page;
  say(count, plural(sendersOf(status), "sender"));
  probeNow.hidden = !isBroken(status);
  pauseNow.hidden = Boolean(status.pause);
  resumeNow.hidden = !status.pause;
  steps.fewer.disabled = sendersOf(status) < 2;
}

/** Ask whether to act, why, and for the token if it isn't known. */
function propose(name, argument) {
  asked = {act: name, ...ACTS[name](last, argument)};
  say("ask-title", asked.title);
  say("ask-text", asked.text);
  say("do", asked.go);
  say("refused", "");
  $("why").value = "";
  $("ask-token").hidden = Boolean(token);
  $("ask").showModal();
  $("why").focus();
}

async function confirmAct() {
  token ||= $("token").value.trim();
  const body = JSON.stringify({act: asked.act, reason: $("why").value, ...asked.fields});
  const headers = {"Content-Type": "application/json", Authorization: `Bearer ${token}`};
  $("do").disabled = true;
  try {
    const answer = await fetch("control", {method: "POST", headers, body, signal: AbortSignal.timeout(10_000)});
    if (answer.ok) {
      $("token").value = "";
      return $("ask").close();
    }
    if (answer.status === 401) token = "";
    $("ask-token").hidden = Boolean(token);
    say("refused", capital((await answer.json()).error));
  } catch {
    say("refused", "Courier gave no answer; look at its state before you try again.");
  } finally {
    $("do").disabled = false;
  }
}

$("cancel").onclick = () => $("ask").close();
$("ask").firstElementChild.onsubmit = event => {
  // Or the dialog would close before the answer.
  event.preventDefault();
  confirmAct();
};
