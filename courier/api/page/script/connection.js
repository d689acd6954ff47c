// Where the news comes from: a stream of events while the page is seen, else a request now and then.
const POLL_SECONDS = 2, HIDDEN_SECONDS = 10, LATE_SECONDS = 4, SILENT_SECONDS = 5, LONGEST_SECONDS = 15;
let source = null;      // the open stream
let polling = 0;        // the timer of the next request
let heardAt = 0;        // when the last news came, in milliseconds
let failed = 0;         // attempts in a row that brought nothing
let streamAfter = 0;    // no stream is asked for before this time
let streamFails = 0;
let ended = false;      // whether Courier said goodbye
let firstVersion = null;

/** Take news in, and load the page anew after Courier was replaced by another version. */
function hear(status) {
  if (firstVersion && status.version !== firstVersion && !document.querySelector("dialog[open]")) return location.reload();
  firstVersion ??= status.version;
  heardAt = Date.now();
  failed = 0;
  ended = false;
  sample(status);
  show(status);
  age();
}

/** Show how old the news is; what is too old is shown as such. */
function age() {
  const seconds = heardAt ? (Date.now() - heardAt) / 1000 : Infinity;
  // A new stream has a moment for its first event, and a hidden page asks seldom.
  const isOpening = source && Date.now() - source.openedAt < 2000, isSeldom = document.hidden && !failed;
  const silent = seconds > LATE_SECONDS && !isOpening && !isSeldom && (source || failed || streamFails || ended);
  document.body.classList.toggle("dim", Boolean(silent) || !heardAt);
  say("heard", !heardAt ? failed ? "no answer" : "connecting" : silent ? `${duration(seconds)} ago` : source ? "live" : "live, every 2 s");
  $("acts").inert = Boolean(silent) || !heardAt;
  if (!silent) return;
  pill($("state"), "", "unknown");
  mark("", last);
  const told = heardAt ? `No news for ${duration(seconds)}` : "Courier doesn't answer";
  const text = ended
    ? "Courier stopped its API, as it does when it ends. The page goes on by itself when it is back."
    : "The page tries again every few seconds. Deliveries may go on without it: look at systemctl status courier, or at the container.";
  banner([{level: "warn", title: ended ? "Courier has stopped" : heardAt ? "No news from Courier" : told, text: heardAt ? `${told}. ${text}` : text}]);
}

function openStream() {
  clearTimeout(polling);
  polling = 0;
  const opened = source = new EventSource("events");
  opened.openedAt = opened.lastNews = Date.now();
  const on = (name, act) => opened.addEventListener(name, event => {
    if (opened !== source) return;
    opened.lastNews = Date.now();
    streamFails = 0;
    act(event);
  });
  on("samples", event => {
    takeSamples(JSON.parse(event.data));
    drawAll();
  });
  on("status", event => hear(JSON.parse(event.data)));
  on("end", () => {
    ended = true;
    loseStream();
  });
  opened.onerror = () => opened === source && loseStream();
}

/** Go on without the stream, and ask for one again after a growing while. */
function loseStream() {
  closeStream();
  streamFails++;
  streamAfter = Date.now() + 1000 * backoff(streamFails);
  poll();
}

function closeStream() {
  source?.close();
  source = null;
}

const backoff = times => Math.min(LONGEST_SECONDS, 2 ** times) * (0.75 + Math.random() / 2);

async function ask(path) {
  const answer = await fetch(path, {signal: AbortSignal.timeout(SILENT_SECONDS * 1000), cache: "no-store"});
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}

function takeSamples(kept) {
  seconds.fill(kept.second);
  hour.fill(kept.ten_seconds);
}

/** Ask for the status, and again after a while. */
async function poll() {
  clearTimeout(polling);
  polling = setTimeout(() => {}, 0);
  const timer = polling;
  try {
    const isLate = Date.now() - heardAt > 4000;
    const status = await ask("status");
    if (timer !== polling || source) return;
    if (isLate && !document.hidden && status.latency) await ask("status/samples").then(takeSamples, () => {});
    hear(status);
  } catch {
    if (timer !== polling || source) return;
    failed++;
    age();
  }
  const wait = document.hidden ? HIDDEN_SECONDS : failed ? backoff(Math.min(failed, 3)) : POLL_SECONDS;
  polling = setTimeout(next, wait * 1000);
}

function next() {
  if (!document.hidden && Date.now() >= streamAfter && !failed) openStream();
  else poll();
}

// A hidden page closes its stream, since a browser opens six connections to one host at most for all its tabs. It asks
// now and then, for the state in its title.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    closeStream();
    clearTimeout(polling);
    polling = setTimeout(next, HIDDEN_SECONDS * 1000);
  } else if (!source) {
    streamAfter = 0;
    openStream();
  }
});
addEventListener("pagehide", closeStream);
addEventListener("pageshow", event => event.persisted && next());

setInterval(() => {
  // A stream can fall silent without an error, as when Courier's process is stopped or a machine has vanished.
  if (source && Date.now() - source.lastNews > SILENT_SECONDS * 1000) loseStream();
  age();
}, 1000);
drawAll();
if (document.hidden) poll();
else openStream();
