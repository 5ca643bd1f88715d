// What every page does: settings of the screen, keys, forms that send themselves.
import { applySettings, choose, setting } from "./settings.js";

applySettings(document);

document.addEventListener("input", (event) => {
  const control = event.target.closest("[data-setting]");
  if (!control) return;
  choose(control.dataset.setting, control.type === "checkbox" ? control.checked : Number(control.value));
});

document.addEventListener("change", (event) => {
  const chooser = event.target.closest("[data-submit]");
  if (chooser) chooser.form.requestSubmit();
});

export function isTyping(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select");
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  if (event.key === "o") {
    choose("overlay", !setting("overlay"));
    applySettings(document);
    return;
  }
  for (const target of document.querySelectorAll("[data-key]")) {
    if (target.dataset.key.split(" ").includes(event.key)) {
      event.preventDefault();
      target.click();
      return;
    }
  }
});

// What the station refuses is shown where it was asked for, not lost.
document.addEventListener("htmx:beforeSwap", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401) window.location.reload();
  if (status === 409 || status === 422) event.detail.shouldSwap = true;
});
