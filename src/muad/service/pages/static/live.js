// The last part as it comes, and a clear word when nothing comes or nothing is known.
import { applySettings, setting } from "./settings.js";

const main = document.getElementById("main");
const now = document.getElementById("now");
const silence = document.getElementById("silence");
const SHORTEST_MS = 200; // between two pictures: more is not seen, and a screen must not slow the line down

let asked = false;
let asking = false;
let shownAt = 0;
let lastPart = partAt();
let connectedAt = performance.now();
let lost = false;

function partAt() {
  const shown = now.querySelector("[data-age-s]");
  return shown ? performance.now() - 1000 * Number(shown.dataset.ageS) : null;
}

function shownNumber() {
  return Number(now.querySelector("[data-number]")?.dataset.number ?? -1);
}

async function refresh() {
  asked = true;
  if (asking) return;
  asking = true;
  while (asked) {
    asked = false;
    const wait = SHORTEST_MS - (performance.now() - shownAt);
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    try {
      const answer = await fetch(main.dataset.now, { credentials: "same-origin" });
      if (answer.status === 401 || answer.status === 403) return void window.location.reload();
      if (answer.ok) await show(await answer.text());
    } catch {
      // The line above says that the connection is lost.
    }
  }
  asking = false;
}

async function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  applySettings(fresh);
  // Pictures are decoded before they are shown: the screen never goes dark between two parts.
  const pictures = [...fresh.querySelectorAll(".stage img")];
  await Promise.race([
    Promise.allSettled(pictures.map((picture) => {
      const copy = new Image();
      copy.src = picture.getAttribute("src");
      return copy.decode();
    })),
    new Promise((done) => setTimeout(done, 1500)),
  ]);
  const before = shownNumber();
  now.replaceChildren(...fresh.childNodes);
  shownAt = performance.now();
  lastPart = partAt();
  if (shownNumber() !== before) {
    now.classList.remove("fresh");
    void now.offsetWidth;
    now.classList.add("fresh");
    ring(now.querySelector("[data-verdict]")?.dataset.verdict);
  }
  tellSilence();
}

function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  for (const [unit, size] of [["days", 86400], ["hours", 3600], ["minutes", 60]]) {
    if (seconds >= 2 * size) return main.dataset[unit].replace("{count}", Math.floor(seconds / size));
  }
  return main.dataset.seconds.replace("{count}", seconds);
}

function tellSilence() {
  let text = "";
  if (lost) {
    text = main.dataset.lost.replace("{span}", span(performance.now() - connectedAt));
  } else if (lastPart !== null && performance.now() - lastPart > 1000 * Number(main.dataset.silentS)) {
    text = main.dataset.silent.replace("{span}", span(performance.now() - lastPart));
  }
  if (silence.hidden !== !text) silence.hidden = !text;
  const place = silence.querySelector("span");
  if (place.textContent !== text) place.textContent = text;
}

// One low note for a rejected part, two for one to look at; a browser lets it sound once the page has been touched.
let audio = null;
function ring(verdict) {
  if (!setting("sound") || verdict === "pass" || !verdict) return;
  audio ??= new AudioContext();
  const notes = verdict === "reject" ? [[220, 0, 0.45]] : [[520, 0, 0.14], [520, 0.2, 0.14]];
  for (const [pitch, after, length] of notes) {
    const tone = audio.createOscillator();
    const loud = audio.createGain();
    const start = audio.currentTime + after;
    tone.frequency.value = pitch;
    loud.gain.setValueAtTime(0.25, start);
    loud.gain.exponentialRampToValueAtTime(0.001, start + length);
    tone.connect(loud).connect(audio.destination);
    tone.start(start);
    tone.stop(start + length);
  }
}

function listen() {
  const events = new EventSource(main.dataset.events);
  events.addEventListener("open", () => {
    lost = false;
    void refresh();
    tellSilence();
  });
  for (const kind of ["inspection", "changed", "troubles"]) events.addEventListener(kind, () => void refresh());
  events.addEventListener("error", () => {
    if (!lost) connectedAt = performance.now();
    lost = true;
    tellSilence();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
}

listen();
setInterval(tellSilence, 1000);
setInterval(() => void refresh(), 30000); // counters of the shift and the state of the station, when nothing comes
