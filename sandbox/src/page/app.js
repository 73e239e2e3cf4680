// Brings the parts together: which calendar and week are shown, and what changes them.

import { Api } from "./api.js";
import { watch } from "./drag.js";
import * as editor from "./editor.js";
import { span, times, title, withoutNulls } from "./events.js";
import * as grid from "./grid.js";
import { DAY, dateText, instantText, localText, monday, nowIn, spoken, wallOf } from "./time.js";

const MESSAGE_MS = 6_000;
const NOW_LINE_MS = 30_000;

const accounts = JSON.parse(document.getElementById("accounts").textContent);
const chooser = document.getElementById("calendar");
const dateField = document.getElementById("date");
const live = document.getElementById("live");
const messageLine = document.getElementById("message");

let calendar;
let api;
let week;
let events = [];
/** Etags that were on the page before; null until the first events of a week came. */
let known = null;

/* What is shown. */

function choose(id) {
  const all = accounts.flatMap((account) => account.calendars.map((one) => ({ ...one, token: account.token })));
  calendar = all.find((one) => one.id === id) ?? all[0];
  if (!calendar) {
    say("There is no calendar yet.");
    return;
  }
  chooser.value = calendar.id;
  api = new Api(calendar.token, calendar.id);
  document.getElementById("zone").textContent = calendar.timeZone;
}

function show(wall) {
  week = monday(wall);
  known = null;
  dateField.value = dateText(wall);
  const last = week + 6 * DAY;
  document.getElementById("period").textContent =
    `${spoken(week, { day: "numeric", month: "short" })} – ${spoken(last, { day: "numeric", month: "short", year: "numeric" })}`;
  history.replaceState(null, "", `#${new URLSearchParams({ calendar: calendar.id, week: dateText(week) })}`);
  grid.frame(week, calendar.timeZone);
  load();
}

let loading = false;
let again = false;

/** Reads the week. Changes that arrive meanwhile cause one more reading, however many they are. */
async function load() {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  do {
    again = false;
    const [from, wanted, zone] = [week, api, calendar.timeZone];
    try {
      const found = await wanted.between(instantText(from, zone), instantText(from + 7 * DAY, zone));
      if (wanted !== api || from !== week) {
        again = true;
        continue;
      }
      events = found.sort((a, b) => span(a).start - span(b).start);
      const before = known;
      grid.draw(events, (event) => before !== null && !before.has(event.etag));
      known = new Set(events.map((event) => event.etag));
    } catch (error) {
      say(`The events could not be read: ${error.message}`);
    }
  } while (again);
  loading = false;
}

let silence;

function say(text) {
  messageLine.textContent = text;
  messageLine.hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => (messageLine.hidden = true), MESSAGE_MS);
}

/* What people change. */

const find = (id) => events.find((event) => event.id === id);

function draft(start, end) {
  return { start: { dateTime: localText(start) }, end: { dateTime: localText(end) } };
}

async function save(event, wanted, scope) {
  const { summary, description, status, transparency } = wanted;
  const details = { summary, description, status, transparency };
  if (!event.id) {
    const { start, end } = times(wanted, calendar.timeZone);
    await api.insert({ ...details, start: withoutNulls(start), end: withoutNulls(end) });
  } else if (scope === "series" && event.recurringEventId) {
    const series = await api.get(event.recurringEventId);
    await api.patch(series.id, { ...details, ...shifted(series, event, wanted) }, series.etag);
  } else {
    await api.patch(
      event.id,
      { ...details, ...times(wanted, calendar.timeZone) },
      event.recurringEventId ? undefined : event.etag,
    );
  }
  load();
}

/** The series' own times when one of its instances is given new ones: the same shift and the same length. */
function shifted(series, instance, wanted) {
  const start = span(series).start + wanted.start - span(instance).start;
  return times(
    { wholeDay: wanted.wholeDay, start, end: start + wanted.end - wanted.start },
    series.start.timeZone ?? calendar.timeZone,
  );
}

async function erase(event, scope) {
  await api.remove(scope === "series" && event.recurringEventId ? event.recurringEventId : event.id);
  load();
}

async function move(event, start, end) {
  try {
    const wholeDay = span(event).wholeDay;
    const etag = event.recurringEventId ? undefined : event.etag;
    await api.patch(event.id, times({ wholeDay, start, end }, calendar.timeZone), etag);
    say(`Moved “${title(event)}” to ${spoken(start, { weekday: "long", hour: "2-digit", minute: "2-digit" })}.`);
  } catch (error) {
    say(error.status === 412 ? "The event was changed in the meantime; here is its present state." : error.message);
  }
  load();
}

editor.connect({ save, erase });
watch({ find, create: (start, end) => editor.edit(draft(start, end)), move, open: editor.edit });

document.getElementById("whole-days").addEventListener("click", (click) => {
  const button = click.target.closest("button.event");
  const place = click.target.closest("[data-day]");
  if (button) editor.edit(find(button.dataset.id));
  else if (place) {
    const day = Number(place.dataset.day);
    editor.edit({ start: { date: dateText(day) }, end: { date: dateText(day + DAY) } });
  }
});

function newEvent() {
  const present = nowIn(calendar.timeZone);
  const inWeek = present >= week && present < week + 7 * DAY;
  const start = inWeek ? Math.ceil(present / 60) * 60 : week + 9 * 60;
  editor.edit(draft(start, start + 60));
}

document.addEventListener("keydown", async (key) => {
  if (document.querySelector("dialog[open]") || key.target.matches("input, select, textarea")) return;
  const event = find(key.target.dataset?.id);
  const shift = { ArrowUp: -15, ArrowDown: 15, ArrowLeft: -DAY, ArrowRight: DAY }[key.key];
  if (key.key.toLowerCase() === "n" && !key.ctrlKey && !key.metaKey && !key.altKey) {
    key.preventDefault();
    newEvent();
  } else if (event && key.altKey && shift) {
    key.preventDefault();
    const { wholeDay, start, end } = span(event);
    if (!wholeDay || Math.abs(shift) === DAY) move(event, start + shift, end + shift);
  } else if (event && key.key === "Delete" && confirm(`Delete “${title(event)}”?`)) {
    await erase(event, "instance").catch((error) => say(error.message));
  }
});

/* How people get around. */

document.getElementById("new").addEventListener("click", newEvent);
document.getElementById("previous").addEventListener("click", () => show(week - 7 * DAY));
document.getElementById("next").addEventListener("click", () => show(week + 7 * DAY));
document.getElementById("today").addEventListener("click", () => show(nowIn(calendar.timeZone)));
dateField.addEventListener("change", () => dateField.value && show(wallOf(dateField.value)));
chooser.addEventListener("change", () => {
  choose(chooser.value);
  show(week);
});

/* The server tells when a calendar changed. */

function listen() {
  const changes = new EventSource("/page/changes");
  changes.addEventListener("open", () => {
    live.textContent = "live";
    live.classList.add("on");
    load();
  });
  changes.addEventListener("error", () => {
    live.textContent = "not connected";
    live.classList.remove("on");
  });
  changes.addEventListener("message", (message) => {
    const changed = JSON.parse(message.data).calendar;
    if (changed === null || changed === calendar.id) load();
  });
}

for (const account of accounts) {
  const group = document.createElement("optgroup");
  group.label = account.email;
  for (const one of account.calendars) group.append(new Option(one.summary, one.id));
  chooser.append(group);
}
const wish = new URLSearchParams(location.hash.slice(1));
grid.hours();
choose(wish.get("calendar"));
if (calendar) {
  show(wish.has("week") ? wallOf(wish.get("week")) : nowIn(calendar.timeZone));
  const scroller = document.getElementById("scroller");
  scroller.scrollTop = scroller.querySelector("#grid").offsetHeight * (7 / 24);
  const present = scroller.querySelector(".heads .today");
  if (present) scroller.scrollLeft = present.offsetLeft - scroller.querySelector(".corner").offsetWidth;
  setInterval(() => grid.now(calendar.timeZone), NOW_LINE_MS);
  listen();
}
