// Elements and numbers. Whatever comes from data goes into the document as text, never as markup.
const $ = id => document.getElementById(id);
let last = null;  // the last status
const SVG = "http://www.w3.org/2000/svg";

/** Make an element with a class and a text. */
function el(tag, cls, text) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (text != null) made.textContent = text;
  return made;
}

/** Make an SVG element with attributes. */
function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Set a text where it differs: an unchanged text keeps the reader's selection. */
function say(where, text) {
  const node = typeof where === "string" ? $(where) : where;
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, cls) {
  if (node.className !== cls) node.className = cls;
}

function pill(node, level, text) {
  setClass(node, "pill " + level);
  say(node, text);
}

/** Keep one child of `parent` for each item, in their order; an item that stays keeps its element. */
function sync(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map(child => [child.dataset.key, child])), taken = new Set();
  let next = parent.firstElementChild;
  for (const item of items) {
    let key = String(keyOf(item));
    // Two items may have one key, such as two calls that fail alike; a shared key would leave a child behind each time.
    while (taken.has(key)) key += " again";
    taken.add(key);
    let node = old.get(key);
    if (!node) {
      node = make(item);
      node.dataset.key = key;
    }
    old.delete(key);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
    update(node, item);
  }
  for (const node of old.values()) node.remove();
}

const isNumber = value => typeof value === "number" && Number.isFinite(value);
const sum = values => values.reduce((total, value) => total + (isNumber(value) ? value : 0), 0);
const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
const capital = text => text.charAt(0).toUpperCase() + text.slice(1);

/** Write a number: "–" where it is unknown, one decimal below 10. */
function number(value) {
  if (!isNumber(value)) return "–";
  if (Math.abs(value) < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

/** Write seconds in the two largest units that say enough: "42 s", "4 min", "3 h 20 min", "3 d 4 h". */
function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 10 && seconds < 9.95) return `${number(Math.max(0, seconds))} s`;
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return join(" ", `${Math.floor(s / 3600)} h`, s % 3600 >= 60 && `${Math.floor(s % 3600 / 60)} min`);
  return join(" ", `${Math.floor(s / 86400)} d`, s % 86400 >= 3600 && `${Math.floor(s % 86400 / 3600)} h`);
}

/** Split a short time into a number and its unit. */
function latency(seconds) {
  if (!isNumber(seconds)) return ["–", "ms"];
  return seconds < 1 ? [number(seconds * 1000), "ms"] : [number(seconds), "s"];
}

function bytes(count) {
  if (!isNumber(count)) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (count < 1024 || unit === "GiB") return `${unit === "B" ? Math.round(count) : number(count)} ${unit}`;
    count /= 1024;
  }
}

/** Write a Unix time or an RFC 3339 text as the time of day here; older than a day, with the date. */
function clock(when) {
  const at = new Date(typeof when === "number" ? when * 1000 : when);
  if (when == null || isNaN(at)) return "–";
  const time = at.toLocaleTimeString("en-GB");
  return Math.abs(Date.now() - at) < 86_400_000 ? time : `${at.toLocaleDateString("sv")} ${time}`;
}

/** Join the parts that are there. */
const join = (between, ...parts) => parts.filter(part => part || part === 0).join(between);
const sentence = text => !text || /[.!?…]$/.test(text) ? text : text + ".";
