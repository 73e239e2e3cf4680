// Wall-clock arithmetic. The API gives every time in the calendar's zone, so what the page draws is the text before the
// offset. A wall clock is kept as minutes since 1970 as if the zone were UTC.

export const DAY = 24 * 60;

export function wallOf(text) {
  const [year, month, day, hour = 0, minute = 0] = text.slice(0, 16).split(/[-T:]/).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute) / 60_000;
}

export function dateText(wall) {
  return new Date(wall * 60_000).toISOString().slice(0, 10);
}

export function timeText(wall) {
  return new Date(wall * 60_000).toISOString().slice(11, 16);
}

/** `2026-11-24T10:00:00`, which the API reads in the zone that is sent beside it. */
export function localText(wall) {
  return new Date(wall * 60_000).toISOString().slice(0, 19);
}

export function nowIn(zone) {
  const parts = Object.fromEntries(
    new Intl.DateTimeFormat("en-CA", {
      timeZone: zone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    })
      .formatToParts(new Date())
      .map(({ type, value }) => [type, value]),
  );
  return wallOf(`${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}`);
}

/** The zone's offset at an instant, in minutes. */
function offset(zone, instantMs) {
  const text = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" })
    .formatToParts(new Date(instantMs))
    .find(({ type }) => type === "timeZoneName").value;
  const [, sign, hours, minutes] = /GMT(?:([+-])(\d+):(\d+))?/.exec(text);
  return sign ? Number(`${sign}1`) * (Number(hours) * 60 + Number(minutes)) : 0;
}

/** The instant of a wall clock, in RFC 3339; good enough to ask for a week with a margin. */
export function instantText(wall, zone) {
  const guess = wall * 60_000;
  return new Date(guess - offset(zone, guess) * 60_000).toISOString();
}

/** By how many minutes the clocks are changed in the course of this day. */
export function clockChange(day, zone) {
  const midnight = Date.parse(instantText(day, zone));
  return offset(zone, midnight + 25 * 3_600_000) - offset(zone, midnight - 3_600_000);
}

export function monday(wall) {
  const day = Math.floor(wall / DAY);
  return (day - ((day + 3) % 7)) * DAY;
}

export function spoken(wall, options) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options }).format(new Date(wall * 60_000));
}
