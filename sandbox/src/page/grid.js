// Draws the week.

import { DAY, clockChange, nowIn, spoken, timeText } from "./time.js";
import { columns, kinds, label, span, title } from "./events.js";

/** From this length on an event has room for its time below its title, in minutes. */
const TWO_LINES = 45;

const heads = document.getElementById("heads");
const wholeDays = document.getElementById("whole-days");
const grid = document.getElementById("grid");

/** Draws the frame of the week that begins at `week`: heads, hours and empty days. */
export function frame(week, zone) {
  const today = Math.floor(nowIn(zone) / DAY) * DAY;
  for (const row of [heads, wholeDays, grid]) row.replaceChildren(row.firstElementChild);
  for (let day = week; day < week + 7 * DAY; day += DAY) {
    const head = document.createElement("h3");
    const number = document.createElement("b");
    number.textContent = spoken(day, { day: "numeric" });
    head.append(spoken(day, { weekday: "short" }), number);
    const change = clockChange(day, zone);
    if (change) {
      const note = document.createElement("small");
      note.textContent = `clocks ${change > 0 ? "+" : "−"}${Math.abs(change) / 60} h`;
      head.append(note);
    }
    const whole = document.createElement("div");
    whole.dataset.day = day;
    whole.setAttribute("role", "group");
    whole.setAttribute("aria-label", `All day, ${spoken(day, { weekday: "long", day: "numeric", month: "long" })}`);
    const column = document.createElement("section");
    column.className = "day";
    column.dataset.day = day;
    column.setAttribute("aria-label", spoken(day, { weekday: "long", day: "numeric", month: "long" }));
    if (day === today) {
      head.className = "today";
      head.setAttribute("aria-current", "date");
      column.classList.add("today");
    }
    heads.append(head);
    wholeDays.append(whole);
    grid.append(column);
  }
  wholeDays.style.setProperty("--heads", `${heads.offsetHeight}px`);
  now(zone);
}

/** Moves the line that marks the present. */
export function now(zone) {
  grid.querySelector(".now")?.remove();
  const wall = nowIn(zone);
  const column = grid.querySelector(`[data-day="${Math.floor(wall / DAY) * DAY}"]`);
  if (!column) return;
  const line = document.createElement("div");
  line.className = "now";
  line.style.top = `${((wall % DAY) / DAY) * 100}%`;
  column.append(line);
}

/** Draws the events. Those that `isFresh` lights up for a moment. */
export function draw(events, isFresh) {
  const focused = document.activeElement?.dataset?.id;
  for (const old of document.querySelectorAll("button.event")) old.remove();
  for (const place of wholeDays.querySelectorAll("[data-day]")) {
    const day = Number(place.dataset.day);
    for (const event of events) {
      const { wholeDay, start, end } = span(event);
      if (wholeDay && start < day + DAY && end > day) place.append(button(event, isFresh));
    }
  }
  for (const place of grid.querySelectorAll("[data-day]")) {
    const day = Number(place.dataset.day);
    for (const part of columns(events, day)) {
      const one = button(part.event, isFresh);
      const time = document.createElement("span");
      if (part.to - part.from >= TWO_LINES) {
        time.textContent = `${timeText(part.start)}–${timeText(part.end)}`;
        one.append(time);
      } else {
        time.append(one.firstChild, ` ${timeText(part.start)}`);
        one.append(time);
        one.classList.add("short");
      }
      one.style.top = `${(part.from / DAY) * 100}%`;
      one.style.height = `max(1.05rem, ${((part.to - part.from) / DAY) * 100}% - 1px)`;
      one.style.left = `calc(${(part.column / part.count) * 100}% + 2px)`;
      one.style.width = `calc(${(part.width / part.count) * 100}% - 5px)`;
      if (part.end <= day + DAY) {
        const grip = document.createElement("span");
        grip.className = "grip";
        one.append(grip);
      }
      place.append(one);
    }
  }
  if (focused) document.querySelector(`button.event[data-id="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function button(event, isFresh) {
  const one = document.createElement("button");
  one.type = "button";
  one.className = ["event", ...kinds(event), ...(isFresh(event) ? ["fresh"] : [])].join(" ");
  one.dataset.id = event.id;
  one.setAttribute("aria-label", label(event));
  one.setAttribute("aria-describedby", "keys");
  one.title = label(event);
  const name = document.createElement("b");
  name.textContent = `${title(event)}${event.recurringEventId ? " ↻" : ""}`;
  one.append(name);
  return one;
}

/** Writes the hours beside the grid. */
export function hours() {
  const side = grid.firstElementChild;
  for (let hour = 1; hour < 24; hour += 1) {
    const mark = document.createElement("span");
    mark.textContent = `${String(hour).padStart(2, "0")}:00`;
    mark.style.top = `${(hour / 24) * 100}%`;
    side.append(mark);
  }
}
