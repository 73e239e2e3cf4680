#!/usr/bin/env python3
"""The independent expander: says when an exported calendar is busy, to judge slotd by.

This is a judge and never a part of the product. It shares no code and no library with slotd: it reads the .ics file
itself (icalendar), expands the rules with python-dateutil on the wall clock, and turns wall clocks into instants with
Python's zoneinfo. Where the two disagree, one of them is wrong.

The rules it judges by:

* Busy is every event that is not CANCELLED, not TRANSPARENT and not declined by the calendar's owner; tentative ones
  are busy.
* Whole days are days of the calendar's zone (X-WR-TIMEZONE, else --zone), and so are times without a zone.
* A time that the clock skips is shifted forward by the length of the gap; of a time that it shows twice the first is
  meant (RFC 5545, 3.3.5). An event that would thereby end before it starts keeps its length.
* Instances with a DTEND have the same exact length as the first (3.8.5.3), those with a DURATION the same days and
  hours.
* DTSTART is an instance even where its rule would not give it, unless the rule has ended before.
* A RECURRENCE-ID replaces one instance; without a series in the file it stands alone. RANGE=THISANDFUTURE is ignored.
* A cancelled series is gone together with its exceptions.

Usage: expand.py FILE --from 2026-11-01T00:00:00Z --to 2028-11-01T00:00:00Z [--zone Europe/Berlin]
Prints {"zone": …, "busy": [{"start": …, "end": …}]}: merged intervals in UTC, clipped to the window.
"""

import argparse
import datetime as dt
import json
import sys
import zoneinfo

import icalendar
from dateutil import rrule

# The pinned tzdata package decides, not whatever the machine has.
zoneinfo.reset_tzpath(to=[])
UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)
END_OF_DAY = dt.time(23, 59, 59)


def instant(local, zone):
    """The instant of a wall-clock time. With fold=0 zoneinfo takes the offset before a gap and the first of a fold."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


class Moment:
    """A date, or a wall-clock time in a zone."""

    def __init__(self, value, calendar_zone):
        self.is_date = not isinstance(value, dt.datetime)
        if self.is_date:
            self.local, self.zone = dt.datetime.combine(value, dt.time()), calendar_zone
        elif value.tzinfo is None:
            self.local, self.zone = value, calendar_zone
        else:
            self.local, self.zone = value.replace(tzinfo=None, fold=0), value.tzinfo

    def utc(self):
        return instant(self.local, self.zone)

    def wall_in(self, zone):
        """The wall clock of another zone at this moment."""
        return self.local if self.is_date else self.utc().astimezone(zone).replace(tzinfo=None, fold=0)


def values(component, name):
    """The property's values, one by one: a property may be repeated and may list several values."""
    found = component.get(name, [])
    found = found if isinstance(found, list) else [found]
    return [item for one in found for item in getattr(one, "dts", [one])]


class Event:
    def __init__(self, component, calendar_zone, owner):
        self.uid = str(component.get("UID", "")).strip()
        self.sequence = int(component.get("SEQUENCE", 0))
        self.start = Moment(component["DTSTART"].dt, calendar_zone)
        self.replaces = None
        if "RECURRENCE-ID" in component:
            self.replaces = Moment(component["RECURRENCE-ID"].dt, calendar_zone)
        self.cancelled = str(component.get("STATUS", "")).upper() == "CANCELLED"
        free = str(component.get("TRANSP", "")).upper() == "TRANSPARENT"
        self.busy = not (self.cancelled or free or declined(component, owner))
        self.nominal = None
        self.exact = dt.timedelta(days=1 if self.start.is_date else 0)
        if "DTEND" in component:
            end = Moment(component["DTEND"].dt, calendar_zone)
            if self.start.is_date:
                self.exact = max(end.local - self.start.local, DAY)
            else:
                self.exact = end.utc() - self.start.utc()
                if self.exact < dt.timedelta(0):
                    self.exact = end.local - self.start.local
        elif "DURATION" in component:
            self.nominal = component["DURATION"].dt
        self.rules = [dict(rule) for rule in values(component, "RRULE")]
        self.excluding_rules = [dict(rule) for rule in values(component, "EXRULE")]
        self.excluded = [Moment(item.dt, calendar_zone) for item in values(component, "EXDATE")]
        self.extra = [item.dt for item in values(component, "RDATE")]
        self.calendar_zone = calendar_zone

    def interval(self, local):
        """The instance that starts at this wall-clock time."""
        start = instant(local, self.start.zone)
        if self.start.is_date:
            length = self.exact if self.nominal is None else self.nominal
            return start, instant(local + length, self.start.zone)
        if self.nominal is None:
            return start, start + self.exact
        days = dt.timedelta(days=self.nominal.days)
        return start, instant(local + days, self.start.zone) + (self.nominal - days)

    def key(self, moment):
        """What identifies an instance: its day, or its instant. A day given to a timed series means that day's one."""
        if self.start.is_date:
            return moment.local.date() if moment.is_date else moment.wall_in(moment.zone).date()
        if moment.is_date:
            return instant(dt.datetime.combine(moment.local.date(), self.start.local.time()), self.start.zone)
        return moment.utc()

    def own_key(self, local):
        return local.date() if self.start.is_date else instant(local, self.start.zone)

    def occurrences(self, last):
        """Wall-clock starts of the series up to `last`, with the lengths that RDATE periods set."""
        starts = {}
        for rule in self.rules:
            for local in self.rule_starts(rule, last):
                starts[self.own_key(local)] = (local, None)
        if not self.rules or any(
            self.until(rule) is None or self.until(rule) >= self.start.local for rule in self.rules
        ):
            starts[self.own_key(self.start.local)] = (self.start.local, None)
        for rule in self.excluding_rules:
            for local in self.rule_starts(rule, last):
                starts.pop(self.own_key(local), None)
        for value in self.extra:
            length = None
            if isinstance(value, tuple):
                value, end = value
                length = end if isinstance(end, dt.timedelta) else end - value
            moment = Moment(value, self.calendar_zone)
            local = moment.wall_in(self.start.zone)
            if moment.is_date and not self.start.is_date:
                local = dt.datetime.combine(local.date(), self.start.local.time())
            if self.start.is_date:
                local = dt.datetime.combine(local.date(), dt.time())
            starts[self.own_key(local)] = (local, length)
        for moment in self.excluded:
            starts.pop(self.key(moment), None)
        return starts

    def rule_starts(self, rule, last):
        parts = {name: value for name, value in rule.items() if name != "UNTIL"}
        text = icalendar.vRecur(parts).to_ical().decode()
        series = rrule.rrulestr(text, dtstart=self.start.local)
        until = self.until(rule)
        for local in series:
            if local > last or (until is not None and local > until):
                return
            yield local

    def until(self, rule):
        """UNTIL on the wall clock of the series. A bare day takes in that whole day."""
        until = rule.get("UNTIL")
        until = until[0] if isinstance(until, list) else until
        if until is None:
            return None
        if not isinstance(until, dt.datetime):
            return dt.datetime.combine(until, END_OF_DAY)
        if self.start.is_date:
            return dt.datetime.combine(until.date(), END_OF_DAY)
        if until.tzinfo is None:
            return until
        return until.astimezone(self.start.zone).replace(tzinfo=None, fold=0)


def declined(component, owner):
    guests = component.get("ATTENDEE", [])
    for guest in guests if isinstance(guests, list) else [guests]:
        address = str(guest).lower().removeprefix("mailto:")
        if owner and address == owner.lower():
            return str(guest.params.get("PARTSTAT", "")).upper() == "DECLINED"
    return False


def read(path, fallback_zone):
    """The calendar's zone and its events by UID: one series and its exceptions."""
    with open(path, "rb") as file:
        calendars = icalendar.Calendar.from_ical(file.read(), multiple=True)
    named = next((str(one["X-WR-TIMEZONE"]) for one in calendars if one.get("X-WR-TIMEZONE")), fallback_zone)
    zone = zoneinfo.ZoneInfo(named)
    name = next((str(one["X-WR-CALNAME"]) for one in calendars if one.get("X-WR-CALNAME")), "")
    owner = name if "@" in name else None
    masters, exceptions = {}, {}
    for calendar in calendars:
        for component in calendar.walk("VEVENT"):
            if "RANGE" in getattr(component.get("RECURRENCE-ID"), "params", {}):
                continue
            event = Event(component, zone, owner)
            place = masters
            key = event.uid
            if event.replaces is not None:
                place, key = exceptions.setdefault(event.uid, {}), event.replaces.utc()
            if key not in place or event.sequence >= place[key].sequence:
                place[key] = event
    return named, masters, exceptions


def busy(path, start, end, fallback_zone="UTC"):
    """The zone's name and the merged busy intervals of a file within [start, end)."""
    named, masters, exceptions = read(path, fallback_zone)
    last = (end + 2 * DAY).replace(tzinfo=None)
    found = []
    for uid, master in masters.items():
        changed = list(exceptions.pop(uid, {}).values())
        if master.cancelled:
            continue
        replaced = {master.key(exception.replaces) for exception in changed}
        for key, (local, length) in master.occurrences(last).items():
            if master.busy and key not in replaced:
                first, after = master.interval(local)
                found.append((first, after if length is None else first + length))
        found += [one.interval(one.start.local) for one in changed if one.busy]
    for orphans in exceptions.values():
        found += [one.interval(one.start.local) for one in orphans.values() if one.busy]
    return named, merge(found, start, end)


def merge(intervals, start, end):
    merged = []
    for first, after in sorted((max(a, start), min(b, end)) for a, b in intervals):
        if first >= after:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], after)
        else:
            merged.append([first, after])
    return [tuple(one) for one in merged]


def time(text):
    value = dt.datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset; add one, for example 2026-11-24T14:30:00+01:00")
    return value.astimezone(UTC)


def main():
    parser = argparse.ArgumentParser(description="Says when an exported calendar is busy, to judge slotd by.")
    parser.add_argument("file")
    parser.add_argument("--from", dest="start", type=time, required=True)
    parser.add_argument("--to", dest="end", type=time, required=True)
    parser.add_argument("--zone", default="UTC", help="zone of a calendar that names none (default: UTC)")
    options = parser.parse_args()
    named, intervals = busy(options.file, options.start, options.end, options.zone)
    rows = [{"start": a.isoformat(), "end": b.isoformat()} for a, b in intervals]
    json.dump({"zone": named, "busy": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
