// One part: zoom and pan by wheel, fingers, buttons and keys; places of the list are lit; one key for good, one for bad.
import { isTyping } from "./app.js";

const viewer = document.getElementById("viewer");
const layers = viewer?.querySelector(".layers");
const part = document.getElementById("part");
const LARGEST = 40;

let scale = 1;
let x = 0;
let y = 0;
const fingers = new Map();
let spread = 0;

function draw() {
  const { width, height } = viewer.getBoundingClientRect();
  x = Math.min(0, Math.max(x, width - width * scale));
  y = Math.min(0, Math.max(y, height - height * scale));
  layers.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  layers.style.setProperty("image-rendering", shownPerPixel() > 3 ? "pixelated" : "auto");
  const told = viewer.querySelector(".zoomed");
  told.textContent = scale > 1.001 ? `${Math.round(100 * shownPerPixel())} %` : "";
  told.hidden = scale <= 1.001;
}

// Pixels of the screen for one of the photograph.
function shownPerPixel() {
  const { width, height } = viewer.getBoundingClientRect();
  return scale * Math.min(width / (layers.dataset.width || width), height / (layers.dataset.height || height));
}

function zoom(factor, atX, atY) {
  const { width, height } = viewer.getBoundingClientRect();
  const cx = atX ?? width / 2;
  const cy = atY ?? height / 2;
  const wanted = Math.min(Math.max(scale * factor, 1), LARGEST);
  x = cx - ((cx - x) / scale) * wanted;
  y = cy - ((cy - y) / scale) * wanted;
  scale = wanted;
  draw();
}

function fit() {
  scale = 1;
  x = 0;
  y = 0;
  draw();
}

function lookAt(px, py) {
  const { width, height } = viewer.getBoundingClientRect();
  const each = Math.min(width / layers.dataset.width, height / layers.dataset.height);
  const left = (width - each * layers.dataset.width) / 2;
  const top = (height - each * layers.dataset.height) / 2;
  scale = Math.max(scale, 3);
  x = width / 2 - (left + px * each) * scale;
  y = height / 2 - (top + py * each) * scale;
  draw();
}

function place(event) {
  const box = viewer.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function between() {
  const [[ax, ay], [bx, by]] = [...fingers.values()];
  return { far: Math.hypot(ax - bx, ay - by), cx: (ax + bx) / 2, cy: (ay + by) / 2 };
}

if (layers) {
  draw();
  viewer.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0016), ...place(event));
  }, { passive: false });
  viewer.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    viewer.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    viewer.classList.add("moving");
    if (fingers.size === 2) spread = between().far;
  });
  viewer.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const after = place(event);
    fingers.set(event.pointerId, after);
    if (fingers.size === 2) {
      const { far, cx, cy } = between();
      zoom(far / (spread || far), cx, cy);
      spread = far;
    } else {
      x += after[0] - before[0];
      y += after[1] - before[1];
      draw();
    }
  });
  const lift = (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) viewer.classList.remove("moving");
  };
  viewer.addEventListener("pointerup", lift);
  viewer.addEventListener("pointercancel", lift);
  viewer.addEventListener("dblclick", (event) => zoom(scale > 1.001 ? 0.001 : 3, ...place(event)));
  viewer.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-zoom]")?.dataset.zoom;
    if (asked === "in") zoom(1.5);
    if (asked === "out") zoom(1 / 1.5);
    if (asked === "fit") fit();
  });
  new ResizeObserver(draw).observe(viewer);
}

for (const button of document.querySelectorAll(".regions-list [data-region]")) {
  const lit = viewer?.querySelector(`.regions [data-region="${button.dataset.region}"]`);
  for (const [kind, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
    button.addEventListener(kind, () => lit?.classList.toggle("lit", on));
  }
  button.addEventListener("click", () => layers && lookAt(Number(button.dataset.x), Number(button.dataset.y)));
}

const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
document.addEventListener("keydown", (event) => {
  if (isTyping(event) || !part) return;
  const word = { [part.dataset.good]: "good", [part.dataset.bad]: "bad" }[event.key];
  const button = word && document.querySelector(`#word-form button[value="${word}"]`);
  if (button) button.click();
  else if (layers && (event.key === "+" || event.key === "=")) zoom(1.5);
  else if (layers && (event.key === "-" || event.key === "−")) zoom(1 / 1.5);
  else if (layers && event.key === "0") fit();
  else if (layers && event.key in MOVES && scale > 1 && document.activeElement === viewer) {
    x += MOVES[event.key][0];
    y += MOVES[event.key][1];
    draw();
  } else return;
  event.preventDefault();
});
