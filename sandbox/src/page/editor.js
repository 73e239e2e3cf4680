// The form that creates, changes and deletes an event.

import { DAY, dateText, timeText, wallOf } from "./time.js";
import { span } from "./events.js";

const dialog = document.getElementById("editor");
const form = dialog.querySelector("form");
const fields = form.elements;
const heading = document.getElementById("editor-title");
const problem = document.getElementById("editor-error");
const remove = document.getElementById("delete");
const scope = document.getElementById("scope");

let current = null;

/** Connects the form. `save(event, wanted, scope)` and `erase(event, scope)` return a promise; what it rejects with is shown. */
export function connect({ save, erase }) {
  document.getElementById("close").addEventListener("click", () => dialog.close());
  fields.wholeDay.addEventListener("change", showTimes);
  fields.startDate.addEventListener("change", () => {
    if (fields.endDate.value < fields.startDate.value) fields.endDate.value = fields.startDate.value;
  });
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    const wanted = read();
    if (wanted.end < wanted.start || (wanted.wholeDay && wanted.end === wanted.start)) {
      problem.textContent = "The end must not be before the start.";
      (wanted.wholeDay ? fields.endDate : fields.endTime).focus();
      return;
    }
    attempt(() => save(current, wanted, fields.scope.value));
  });
  remove.addEventListener("click", () => attempt(() => erase(current, fields.scope.value)));
}

async function attempt(change) {
  try {
    await change();
    dialog.close();
  } catch (error) {
    problem.textContent = error.message;
  }
}

/** Opens the form for an event, or for a new one when it has no id. */
export function edit(event) {
  current = event;
  const { wholeDay, start, end } = span(event);
  heading.textContent = event.id ? "Event" : "New event";
  problem.textContent = "";
  remove.hidden = !event.id;
  scope.hidden = !event.recurringEventId;
  fields.scope.value = "instance";
  fields.summary.value = event.summary ?? "";
  fields.description.value = event.description ?? "";
  fields.status.value = event.status ?? "confirmed";
  fields.transparency.value = event.transparency ?? "opaque";
  fields.wholeDay.checked = wholeDay;
  fields.startDate.value = dateText(start);
  fields.startTime.value = timeText(wholeDay ? start + 9 * 60 : start);
  // People name the last day, the API the one after it.
  fields.endDate.value = dateText(wholeDay ? end - DAY : end);
  fields.endTime.value = timeText(wholeDay ? start + 10 * 60 : end);
  showTimes();
  dialog.showModal();
  fields.summary.select();
}

function showTimes() {
  for (const time of form.querySelectorAll(".timed")) {
    time.hidden = fields.wholeDay.checked;
    time.querySelector("input").disabled = fields.wholeDay.checked;
  }
}

function read() {
  const wholeDay = fields.wholeDay.checked;
  const at = (date, time) => wallOf(wholeDay ? date : `${date}T${time}`);
  return {
    wholeDay,
    start: at(fields.startDate.value, fields.startTime.value),
    end: at(fields.endDate.value, fields.endTime.value) + (wholeDay ? DAY : 0),
    summary: fields.summary.value,
    description: fields.description.value,
    status: fields.status.value,
    transparency: fields.transparency.value,
  };
}
