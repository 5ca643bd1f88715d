// The list of parts by keyboard: up and down, open, good, bad.
import { isTyping } from "./app.js";

function rows() {
  return [...document.querySelectorAll(".parts a.part")];
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
  if (at + step >= all.length - 1) document.querySelector("#more button")?.click();
}

async function say(row, word) {
  const headers = JSON.parse(document.body.getAttribute("hx-headers") ?? "{}");
  const answer = await fetch(row.dataset.word, {
    method: "POST",
    headers: { ...headers, "HX-Request": "true" },
    body: new URLSearchParams({ word, from_page: "list" }),
    credentials: "same-origin",
  });
  if (!answer.ok) return;
  const said = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  row.querySelector(".said-cell").replaceChildren(...said.childNodes);
  move(1);
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event)) return;
  const list = document.querySelector(".parts");
  if (!list) return;
  const row = document.activeElement?.closest?.("a.part");
  if (event.key === "j" || event.key === "ArrowDown") move(1);
  else if (event.key === "k" || event.key === "ArrowUp") move(-1);
  else if (row && event.key === list.dataset.good) void say(row, "good");
  else if (row && event.key === list.dataset.bad) void say(row, "bad");
  else return;
  event.preventDefault();
});
