#!/usr/bin/env python3
"""The independent expander for single series: says when a series in Google's JSON is busy, to judge slotd by.

This is a judge and never a part of the product. It shares no code and no library with slotd: rules are expanded with
python-dateutil on the wall clock, as RFC 5545 reads, and become instants afterwards with Python's zoneinfo.

It reads one JSON object a line, {"zone": …, "events": […], "from": …, "to": …}, and writes one line for each:
{"busy": [[start, end], …]}, every instance that meets the window, sorted, in seconds since 1970; or {"slow": true}, when
python-dateutil does not come to an end. "zone" is the calendar's; "events" are one series and its exceptions.

The rules it judges by:

* A series repeats on the wall clock of start.timeZone; whole days repeat as days of the calendar's zone.
* A time that the clock skips is shifted forward by the length of the gap; of a time that it shows twice the first is
  meant (3.3.5). The first instance alone is known as an instant.
* Timed instances have the exact length of the first (3.8.5.3), whole days their number of days.
* DTSTART is an instance even where its rule would not give it, unless every rule has ended before.
* UNTIL is compared on the wall clock; a bare day takes in that whole day. EXRULE takes away wall-clock times, also of what
  RDATE adds (RFC 2445 section 4.8.5.2).
* EXDATE takes away an instant, or everything that starts on a day.
* An exception stands in for the instance at its original start, whatever it is itself.
"""

import datetime as dt
import json
import signal
import sys

from dateutil import rrule

from expand import END_OF_DAY, UTC, instant
from zoneinfo import ZoneInfo

MIDNIGHT = dt.time()
# Of processor time. Some rules that match nothing are followed to the year 9999.
SECONDS_MAX = 2.0


class Slow(Exception):
    pass


def too_slow(_signal, _frame):
    raise Slow


def moment(text, zone):
    """A value as written: a date, or an instant with its wall clock in `zone`."""
    if "T" not in text:
        return dt.datetime.strptime(text, "%Y%m%d").date()
    if text.endswith("Z"):
        return dt.datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return dt.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=zone)


def wall(at, zone):
    return at.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0)


class Time:
    """Google's EventDateTime."""

    def __init__(self, value, calendar_zone):
        self.is_date = "date" in value
        if self.is_date:
            self.zone = calendar_zone
            self.local = dt.datetime.combine(dt.date.fromisoformat(value["date"]), MIDNIGHT)
            self.at = instant(self.local, calendar_zone)
        else:
            self.zone = ZoneInfo(value["timeZone"]) if "timeZone" in value else calendar_zone
            self.at = dt.datetime.fromisoformat(value["dateTime"]).astimezone(UTC)
            self.local = wall(self.at, self.zone)


def busy(event):
    declined = any(one.get("self") and one.get("responseStatus") == "declined" for one in event.get("attendees", []))
    return event.get("status") != "cancelled" and event.get("transparency") != "transparent" and not declined


class Series:
    def __init__(self, master, calendar_zone):
        self.first = Time(master["start"], calendar_zone)
        self.end = Time(master["end"], calendar_zone)
        self.days = self.first.is_date
        self.zone = self.first.zone
        self.lines = master["recurrence"]

    def member(self, local, length=None):
        """Start and end of the instance at a wall-clock time."""
        if self.days:
            return instant(local, self.zone), instant(local + (self.end.local - self.first.local), self.zone)
        start = self.first.at if local == self.first.local else instant(local, self.zone)
        return start, start + (self.end.at - self.first.at if length is None else length)

    def local(self, value):
        """The wall-clock start that an RDATE means."""
        if not isinstance(value, dt.datetime):
            return dt.datetime.combine(value, MIDNIGHT if self.days else self.first.local.time())
        if self.days:
            return dt.datetime.combine(value.date(), MIDNIGHT)
        # In the series' own zone it is a wall-clock time already, which a gap may skip.
        return value.replace(tzinfo=None) if value.tzinfo is self.zone else wall(value, self.zone)

    def added(self, value):
        """An RDATE: its wall-clock start, and its instant. Of a time shown twice a local one means the first."""
        local = self.local(value)
        if not isinstance(value, dt.datetime) or value.tzinfo is self.zone or self.days:
            return local, instant(local, self.zone)
        return local, value.astimezone(UTC)

    def until(self, text):
        value = moment(text, self.zone)
        if not isinstance(value, dt.datetime):
            return dt.datetime.combine(value, END_OF_DAY)
        if self.days:
            return dt.datetime.combine(value.date(), END_OF_DAY)
        return value.replace(tzinfo=None) if value.tzinfo is self.zone else wall(value, self.zone)

    def rule(self, text, last):
        """The wall-clock starts of a rule; and whether it ended before the series began."""
        parts = [part for part in text.split(";") if not part.startswith("UNTIL=")]
        until = [self.until(part[6:]) for part in text.split(";") if part.startswith("UNTIL=")]
        until = until[0] if until else None
        found = set()
        for local in rrule.rrulestr(";".join(parts), dtstart=self.first.local):
            if local > last or (until is not None and local > until):
                break
            found.add(local)
        return found, until is not None and until < self.first.local

    def starts(self, last):
        """The wall-clock starts up to `last`, what RDATE adds, and what EXDATE takes away: instants and days."""
        given, taken, extra, instants, days, ended = set(), set(), set(), set(), set(), []
        for line in self.lines:
            head, value = line.split(":", 1)
            name, *parameters = head.split(";")
            zone = next((ZoneInfo(one[5:]) for one in parameters if one.startswith("TZID=")), self.zone)
            if name == "RRULE":
                starts, over = self.rule(value, last)
                given |= starts
                ended.append(over)
            elif name == "EXRULE":
                taken |= self.rule(value, last)[0]
            elif name == "RDATE":
                extra |= {self.added(moment(text, zone)) for text in value.split(",")}
            elif name == "EXDATE":
                for text in value.split(","):
                    value_of = moment(text, zone)
                    if not isinstance(value_of, dt.datetime):
                        days.add(value_of)
                    elif self.days:
                        days.add(value_of.date())
                    else:
                        instants.add(value_of.astimezone(UTC))
        if not (ended and all(ended)):
            given.add(self.first.local)
        return given - taken, {one for one in extra if one[0] not in taken}, instants, days


def expand(case):
    zone = ZoneInfo(case["zone"])
    start, end = (dt.datetime.fromisoformat(case[name]).astimezone(UTC) for name in ("from", "to"))
    master = next(event for event in case["events"] if "recurrence" in event)
    exceptions = [event for event in case["events"] if "recurringEventId" in event]
    series = Series(master, zone)
    found = []
    if busy(master):
        originals = [Time(event["originalStartTime"], zone) for event in exceptions]
        replaced = {one.local.date() if series.days else one.at for one in originals}
        starts, added, instants, days = series.starts((end + dt.timedelta(days=2)).replace(tzinfo=None))
        members = {}
        for local, at in [(local, None) for local in starts] + sorted(added):
            first, after = series.member(local)
            if at is not None and not series.days:
                first, after = at, at + (after - first)
            key = local.date() if series.days else first
            if key not in replaced and first not in instants and local.date() not in days:
                members[first] = after
        found += members.items()
    for event in filter(busy, exceptions):
        found.append((Time(event["start"], zone).at, Time(event["end"], zone).at))
    meets = [(a, b) for a, b in found if a < b and a < end and b > start]
    return [[int(a.timestamp()), int(b.timestamp())] for a, b in sorted(meets)]


def main():
    signal.signal(signal.SIGVTALRM, too_slow)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_MAX)
        try:
            answer = {"busy": expand(json.loads(line))}
        except Slow:
            answer = {"slow": True}
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
