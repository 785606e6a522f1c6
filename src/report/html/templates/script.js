// Comfort alone: everything is there without it.
"use strict";
// A link to images opens what they are folded into, and moves the focus there.
function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target.scrollIntoView();
  if (target.tabIndex === -1) target.focus({ preventScroll: true });
}
addEventListener("hashchange", reveal);
reveal();
// Numbers by their values, what is none as people sort it.
function order(a, b) {
  const numbers = [a, b].every((text) => text !== "" && isFinite(text));
  return numbers ? a - b : a.localeCompare(b, undefined, { numeric: true });
}
// Headings of columns that sort.
for (const table of document.querySelectorAll("table.sort")) {
  table.tHead.querySelectorAll("th").forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const down = th.getAttribute("aria-sort") !== "descending";
      table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const caption = table.querySelector("caption.order");
      if (caption) caption.textContent = `Sorted by ${th.textContent}, ${down ? "falling" : "rising"}.`;
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const compare = (a, b) => order(key(a), key(b));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)));
      table.tBodies[0].append(...rows);
    });
  });
}
// The place beside one of so many, around the ends; of none yet the first, or backwards the last.
function beside(now, step, count) {
  return now < 0 ? (step > 0 ? 0 : count - 1) : (now + step + count) % count;
}
// On the map the image under the pointer comes to the front; the arrow keys go from one to the next.
for (const map of document.querySelectorAll("svg.map")) {
  const points = [...map.querySelectorAll(".point")];
  const told = document.getElementById("map-told");
  let now = -1;
  const show = (next) => {
    points[now]?.classList.remove("now");
    now = next;
    points[now]?.classList.add("now");
    // The last one drawn lies on top. Moving it makes the browser forget that the pointer is on it: hence the class.
    if (points[now] && points[now] !== map.lastElementChild) map.append(points[now]);
  };
  points.forEach((point, i) => point.addEventListener("pointerenter", () => i !== now && show(i)));
  map.addEventListener("pointerleave", () => show(-1));
  map.setAttribute("tabindex", "0");
  told.before("With the map in focus, the arrow keys go from image to image. ");
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !points.length) return;
    event.preventDefault();
    show(beside(now, step, points.length));
    told.textContent = points[now].querySelector("title").textContent;
  });
  map.addEventListener("blur", () => show(-1));
}
