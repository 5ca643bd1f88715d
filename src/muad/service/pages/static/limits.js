// Limits as handles on the histogram: by mouse, by finger, by arrow keys, or as numbers; all show the same.
const figure = document.getElementById("histogram");
const form = document.getElementById("limits-form");

if (figure && form) {
  const svg = figure.querySelector("svg");
  const low = Number(figure.dataset.low);
  const high = Number(figure.dataset.high);
  const left = Number(figure.dataset.left);
  const right = Number(figure.dataset.right);
  const handles = Object.fromEntries([...svg.querySelectorAll(".handle")].map((one) => [one.dataset.limit, one]));
  const field = (name) => form.elements[name];
  let asked = null;

  const toX = (value) => left + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (right - left);
  const toScore = (x) => low + ((x - left) / (right - left)) * (high - low);
  const digits = (value) => Number(value.toPrecision(5));

  function draw(name) {
    const handle = handles[name];
    const text = field(name).value;
    const value = text === "" ? high : Number(text);
    handle.setAttribute("transform", `translate(${toX(value) - Number(handle.dataset.x)} 0)`);
    handle.setAttribute("aria-valuenow", value);
    const shown = text === "" ? "–" : String(Number(Number(text).toPrecision(4))).replace(".", figure.dataset.point);
    handle.querySelector("text").textContent = `${handle.getAttribute("aria-label")} ${shown}`;
  }

  function move(name, value) {
    let kept = Math.min(Math.max(value, low), high);
    const other = field(name === "review" ? "reject" : "review").value;
    if (other !== "") kept = name === "review" ? Math.min(kept, Number(other)) : Math.max(kept, Number(other));
    field(name).value = digits(kept);
    draw(name);
    clearTimeout(asked);
    asked = setTimeout(() => window.htmx.trigger("#preview", "moved"), 250);
  }

  for (const [name, handle] of Object.entries(handles)) {
    if (field(name).disabled) {
      handle.setAttribute("aria-disabled", "true");
      continue;
    }
    const drag = (event) => {
      const box = svg.getBoundingClientRect();
      move(name, toScore(((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width));
    };
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      handle.focus();
      handle.setPointerCapture(event.pointerId);
      handle.addEventListener("pointermove", drag);
    });
    const drop = () => handle.removeEventListener("pointermove", drag);
    handle.addEventListener("pointerup", drop);
    handle.addEventListener("pointercancel", drop);
    handle.addEventListener("keydown", (event) => {
      const step = ((high - low) / 400) * (event.shiftKey ? 10 : 1);
      const value = field(name).value === "" ? high : Number(field(name).value);
      if (event.key === "ArrowLeft" || event.key === "ArrowDown") move(name, value - step);
      else if (event.key === "ArrowRight" || event.key === "ArrowUp") move(name, value + step);
      else if (event.key === "Home") move(name, low);
      else if (event.key === "End") move(name, high);
      else return;
      event.preventDefault();
    });
    field(name).addEventListener("input", () => draw(name));
  }

  document.getElementById("put-back")?.addEventListener("click", () => {
    for (const name of Object.keys(handles)) {
      field(name).value = field(name).dataset.now;
      draw(name);
    }
    window.htmx.trigger("#preview", "moved");
  });
}
