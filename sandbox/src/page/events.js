// An event as the page thinks of it, and back.

import { DAY, dateText, localText, timeText, wallOf } from "./time.js";

/** Start and end as wall clocks; whole days run from midnight to midnight. */
export function span(event) {
  const wholeDay = Boolean(event.start.date);
  const start = wallOf(event.start.date ?? event.start.dateTime);
  const end = wallOf(event.end.date ?? event.end.dateTime);
  // An event over the hour that comes twice can end, on the wall, before it started.
  return { wholeDay, start, end: Math.max(end, start) };
}

export function times({ wholeDay, start, end }, timeZone) {
  const time = (wall) =>
    wholeDay
      ? { date: dateText(wall), dateTime: null, timeZone: null }
      : { date: null, dateTime: localText(wall), timeZone };
  return { start: time(start), end: time(end) };
}

export function withoutNulls(value) {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== null));
}

export function kinds(event) {
  const kinds = [];
  if (event.extendedProperties?.private) kinds.push("app");
  if (event.status === "tentative") kinds.push("tentative");
  if (event.transparency === "transparent") kinds.push("free");
  if (event.attendees?.some((guest) => guest.self && guest.responseStatus === "declined")) kinds.push("declined");
  return kinds;
}

export function title(event) {
  return event.summary || "(no title)";
}

/** What a screen reader says of an event. */
export function label(event) {
  const { wholeDay, start, end } = span(event);
  const when = wholeDay ? "all day" : `${timeText(start)} to ${timeText(end)}`;
  const words = { app: "made by an app", free: "shown as free" };
  const repeats = event.recurringEventId ? ["repeats"] : [];
  return [title(event), when, ...kinds(event).map((kind) => words[kind] ?? kind), ...repeats].join(", ");
}

/** What is shorter is drawn as long as this, in minutes. */
const SHORTEST = 20;

/** The parts of timed events that fall on one day, laid side by side where they overlap. */
export function columns(events, day) {
  const parts = events
    .map((event) => ({ event, ...span(event) }))
    .filter(
      ({ wholeDay, start, end }) => !wholeDay && start < day + DAY && (end > day || (start === end && start >= day)),
    )
    .map((part) => ({ ...part, from: Math.max(part.start, day) - day, to: Math.min(part.end, day + DAY) - day }))
    .sort((a, b) => a.from - b.from || b.to - a.to);
  let cluster = [];
  let clusterEnd = 0;
  const close = () => {
    const count = 1 + Math.max(...cluster.map(({ column }) => column));
    for (const part of cluster) {
      part.count = count;
      // As wide as the columns to its right are free.
      const meets = (other) => other.from < part.bottom && other.bottom > part.from;
      const rivals = cluster.filter((other) => other.column > part.column && meets(other)).map(({ column }) => column);
      part.width = Math.min(count, ...rivals) - part.column;
    }
    cluster = [];
  };
  for (const part of parts) {
    const bottom = Math.max(part.to, part.from + SHORTEST);
    if (cluster.length > 0 && part.from >= clusterEnd) close();
    const taken = new Set(cluster.filter((other) => other.bottom > part.from).map(({ column }) => column));
    part.column = 0;
    while (taken.has(part.column)) part.column += 1;
    part.bottom = bottom;
    clusterEnd = cluster.length === 0 ? bottom : Math.max(clusterEnd, bottom);
    cluster.push(part);
  }
  if (cluster.length > 0) close();
  return parts;
}
