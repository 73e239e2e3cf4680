// Creating, moving and stretching with the mouse. A finger scrolls instead, and taps.

import { DAY, timeText } from "./time.js";
import { span } from "./events.js";

const STEP = 15;
const NEW_LENGTH = 30;
/** A press that moves less than this is a click, in pixels. */
const SLACK = 4;

const grid = document.getElementById("grid");

/** The day and minute under the pointer, to the step below. */
function wallAt({ clientX, clientY }) {
  const days = [...grid.querySelectorAll("[data-day]")];
  const boxes = days.map((day) => day.getBoundingClientRect());
  let at = boxes.findIndex((box) => clientX < box.right);
  if (at < 0) at = days.length - 1;
  const minute = ((clientY - boxes[at].top) / boxes[at].height) * DAY;
  const step = Math.floor(minute / STEP) * STEP;
  return Number(days[at].dataset.day) + Math.min(Math.max(step, 0), DAY - STEP);
}

function outline(start, end) {
  clear();
  const day = Math.floor(start / DAY) * DAY;
  const column = grid.querySelector(`[data-day="${day}"]`);
  if (!column) return;
  const draft = document.createElement("div");
  draft.className = "draft";
  draft.style.top = `${((start - day) / DAY) * 100}%`;
  draft.style.height = `${((Math.min(end, day + DAY) - start) / DAY) * 100}%`;
  draft.textContent = `${timeText(start)}–${timeText(end)}`;
  column.append(draft);
}

function clear() {
  for (const old of document.querySelectorAll(".draft")) old.remove();
}

/**
 * Watches the grid. `find(id)` gives an event; `create(start, end)`, `move(event, start, end)` and `open(event)` say what
 * the person meant.
 */
export function watch({ find, create, move, open }) {
  let press = null;

  grid.addEventListener("pointerdown", (pointer) => {
    if (pointer.button !== 0 || pointer.pointerType === "touch") return;
    const button = pointer.target.closest("button.event");
    const at = wallAt(pointer);
    if (button) {
      const event = find(button.dataset.id);
      const stretch = pointer.target.classList.contains("grip");
      press = { event, button, at, stretch, x: pointer.clientX, y: pointer.clientY, moved: false };
    } else if (pointer.target.closest("[data-day]")) {
      press = { at, x: pointer.clientX, y: pointer.clientY, moved: false };
      pointer.preventDefault();
    }
    if (press) grid.setPointerCapture(pointer.pointerId);
  });

  grid.addEventListener("pointermove", (pointer) => {
    if (!press) return;
    press.moved ||= Math.hypot(pointer.clientX - press.x, pointer.clientY - press.y) > SLACK;
    if (!press.moved) return;
    Object.assign(press, target(press, wallAt(pointer)));
    press.button?.classList.add("moving");
    outline(press.start, press.end);
  });

  const finish = (done) => (pointer) => {
    if (!press) return;
    const { event, button, at, moved, start, end } = press;
    press = null;
    clear();
    button?.classList.remove("moving");
    if (!done) return;
    if (event && moved) move(event, start, end);
    else if (event) open(event);
    else if (moved) create(start, end);
    else create(at, at + NEW_LENGTH);
    pointer.preventDefault();
  };
  grid.addEventListener("pointerup", finish(true));
  grid.addEventListener("pointercancel", finish(false));

  grid.addEventListener("click", (click) => {
    const button = click.target.closest("button.event");
    const keyboard = click.detail === 0;
    const touch = click.pointerType === "touch";
    if (button && (keyboard || touch)) open(find(button.dataset.id));
    else if (touch && click.target.closest("[data-day]")) {
      const at = wallAt(click);
      create(at, at + NEW_LENGTH);
    }
  });
}

function target({ event, at, stretch }, wall) {
  if (!event) return { start: Math.min(at, wall), end: Math.max(at, wall) + STEP };
  const { start, end } = span(event);
  if (stretch) return { start, end: Math.max(wall + STEP, start + STEP) };
  return { start: start + wall - at, end: end + wall - at };
}
