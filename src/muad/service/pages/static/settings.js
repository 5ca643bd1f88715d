// What a person chose on this screen: overlay, how much heat, sound. Kept in this browser.
const DEFAULTS = { overlay: true, heat: 65, sound: false };

function read(name) {
  try {
    const kept = localStorage.getItem(`muad.${name}`);
    return kept === null ? DEFAULTS[name] : JSON.parse(kept);
  } catch {
    return DEFAULTS[name];
  }
}

export function setting(name) {
  return read(name);
}

export function choose(name, value) {
  try {
    localStorage.setItem(`muad.${name}`, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing still shows what was chosen until the page is left.
  }
  show(name, value);
}

function show(name, value) {
  const root = document.documentElement;
  if (name === "overlay") root.classList.toggle("no-overlay", !value);
  if (name === "heat") root.style.setProperty("--heat", value / 100);
}

// The controls of a piece of page that has just appeared stand as they were chosen.
export function applySettings(within) {
  for (const control of within.querySelectorAll("[data-setting]")) {
    const value = read(control.dataset.setting);
    if (control.type === "checkbox") control.checked = value;
    else control.value = value;
  }
}

for (const name of Object.keys(DEFAULTS)) show(name, read(name));
