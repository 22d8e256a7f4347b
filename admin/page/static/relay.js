// The pages are complete without this script. It reads a page again when the server tells that
// something happened, and puts what differs in place, so that focus, selection and scrolling stay.
"use strict";

const live = document.getElementById("live");
const wait = ms => new Promise(done => setTimeout(done, ms));

// read gets a page of the server as a document, whatever its status.
async function read(url, signal) {
  const answer = await fetch(url, { signal, headers: { Accept: "text/html" }, cache: "no-store" });
  if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) throw new Error("status " + answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// ---- Putting what differs in place ----

const key = node => node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";

// same reports whether one node can become the other.
const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

// become makes a node what another is, and keeps all that is the same.
function become(node, next) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== next.data) node.data = next.data;
    return;
  }
  if (node.isEqualNode(next)) return;
  const inUse = node === document.activeElement && node.matches("input, select");
  for (const { name } of [...node.attributes]) {
    if (!next.hasAttribute(name) && name !== "class") node.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (node.getAttribute(name) !== value && !(inUse && name === "value")) node.setAttribute(name, value);
  }
  if (!next.hasAttribute("class")) node.removeAttribute("class");
  if (!inUse) becomeList(node, next);
}

function becomeList(parent, next) {
  const keyed = new Map([...parent.children].filter(key).map(e => [key(e), e]));
  let at = parent.firstChild;
  for (const wanted of [...next.childNodes]) {
    const known = key(wanted) ? keyed.get(key(wanted)) : at;
    if (known && known.parentNode === parent && same(known, wanted)) {
      if (known === at) at = at.nextSibling;
      else parent.insertBefore(known, at);
      keyed.delete(key(wanted));
      become(known, wanted);
      continue;
    }
    const fresh = document.importNode(wanted, true);
    if (fresh.nodeName === "TR") fresh.classList.add("fresh");
    parent.insertBefore(fresh, at);
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

// show puts a page that was read in place of this one.
function show(page) {
  const main = page.getElementById("main");
  if (!main) throw new Error("no page");
  document.title = page.title;
  become(document.getElementById("main"), main);
  become(document.querySelector("header nav"), page.querySelector("header nav"));
}

// ---- Live ----

// The server shares what it reads and renders for a second each: only a page that is read this
// long after something happened is sure to have it, in milliseconds.
const settled = 2200;

let stream, lastShown = Date.now(), lastEvent = 0, isDue = false, reading = false, offSince = 0;

function setLive(on) {
  if (on) {
    offSince = 0;
    if (live.className !== "on") [live.className, live.textContent] = ["on", "Live"];
    return;
  }
  if (offSince) return;
  offSince = Date.now();
  live.className = "off";
  live.textContent = "Not live since " + new Date().toLocaleTimeString([], { hour12: false }) + "; trying again. ";
  const again = document.createElement("a");
  [again.href, again.textContent] = [location.href, "Refresh"];
  live.append(again);
}

// refresh reads the page again, at most as often as the page says, and never twice at a time.
async function refresh() {
  isDue = true;
  if (reading || document.hidden) return;
  reading = true;
  try {
    while (isDue && !document.hidden) {
      await wait(Math.max(0, lastShown + Number(document.getElementById("main").dataset.every) - Date.now()));
      const start = Date.now(), url = location.href;
      isDue = false;
      const page = await read(url, AbortSignal.timeout(10000));
      lastShown = Date.now();
      if (url === location.href && !selecting()) show(page);
      isDue ||= lastEvent > start - settled;
    }
  } catch {
    lastShown = Date.now();
    drop();
  } finally {
    reading = false;
  }
}

function happened() {
  lastEvent = Date.now();
  refresh();
}

// selecting reports whether text is selected, which would be lost.
const selecting = () => { const s = getSelection(); return s && !s.isCollapsed && document.getElementById("main").contains(s.anchorNode); };

let pause = 1000;

function connect() {
  if (stream || document.hidden) return;
  const events = stream = new EventSource("/api/v1/events");
  events.onopen = () => { pause = 1000; setLive(true); happened(); };
  for (const name of ["status", "change", "failure", "problem"]) events.addEventListener(name, happened);
  events.onerror = () => { if (stream === events) drop(); };
}

// drop says that the page is not live, and tries again later.
function drop() {
  close();
  if (document.hidden) return;
  setLive(false);
  setTimeout(connect, pause);
  pause = Math.min(pause * 2, 15000);
}

function close() {
  if (stream) stream.close();
  stream = null;
}

// A page that nobody sees costs nothing, and leaves its connection to others: browsers have few
// for one server.
document.addEventListener("visibilitychange", () => document.hidden ? close() : connect());
addEventListener("pagehide", close);
addEventListener("pageshow", connect);
// Ages grow without an event, and a connection that is dead in silence is found.
setInterval(() => { if (stream && Date.now() - lastShown > 10000) refresh(); }, 2000);

// ---- Search ----

// eachText calls back when somebody has typed, not at each key.
function eachText(input, back) {
  let timer, asked;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    if (asked) asked.abort();
    timer = setTimeout(() => { asked = new AbortController(); back(input.value.trim(), asked.signal); }, 120);
  });
}

const box = document.getElementById("q"), found = document.getElementById("found");
const hideFound = () => { found.hidden = true; };

eachText(box, async (text, signal) => {
  if (!text) return hideFound();
  try {
    const page = await read("/search?q=" + encodeURIComponent(text), signal);
    const results = page.getElementById("results");
    if (!results || signal.aborted) return;
    results.id = "results-found";
    found.replaceChildren(document.importNode(results, true));
    found.hidden = false;
  } catch { /* the next key asks again */ }
});
found.setAttribute("role", "region");
found.setAttribute("aria-label", "Found");

document.addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    box.focus();
    box.select();
  }
  if (found.hidden) return;
  if (event.key === "Escape") { hideFound(); box.focus(); }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const stops = [box, ...found.querySelectorAll("a")];
  const here = stops.indexOf(document.activeElement);
  if (here < 0) return;
  event.preventDefault();
  stops[Math.min(Math.max(here + (event.key === "ArrowDown" ? 1 : -1), 0), stops.length - 1)].focus();
});
document.addEventListener("click", event => { if (!found.contains(event.target) && event.target !== box) hideFound(); });

// Lists are filtered while somebody types, and the address follows, to be kept and sent.
const filter = document.querySelector(".filter");
if (filter) {
  const narrow = async signal => {
    const values = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value));
    const url = filter.getAttribute("action") + (values.size ? "?" + values : "");
    try {
      const page = await read(url, signal);
      if (signal && signal.aborted) return;
      history.replaceState(null, "", url);
      show(page);
    } catch { /* the next key asks again */ }
  };
  eachText(filter.elements.q, (_, signal) => narrow(signal));
  if (filter.elements.fleet) filter.elements.fleet.addEventListener("change", () => narrow());
  filter.querySelector("button").classList.add("hide");
}

connect();
