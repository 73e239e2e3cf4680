#!/usr/bin/env python3
"""Compares what slotd says is busy with what the independent expander says, day by day.

Starts `slotd demo --json` on the given exported calendars, asks `GET …/busy` for each of them in ranges of at most 366
days, and judges the answers by expand.py. Days are days of the calendar's zone. Exits with 1 when any day differs.

Usage: compare.py --binary target/release/slotd FILE.ics…
       compare.py --busy answer.json FILE.ics      (an answer of `GET …/busy`, or its list, saved before)
"""

import argparse
import datetime as dt
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import zoneinfo

import expand

UTC = dt.timezone.utc
DAY = dt.timedelta(days=1)
RANGE_DAYS_MAX = 366
HORIZON_DAYS = 800
START_TIMEOUT_S = 120
CALL_TIMEOUT_S = 30
DIFFERENCES_SHOWN = 5


def days(start, end, zone):
    """The days of a zone that meet [start, end), each as the interval between its midnights, clipped."""
    day = start.astimezone(zone).date()
    while True:
        first = expand.instant(dt.datetime.combine(day, dt.time()), zone)
        after = expand.instant(dt.datetime.combine(day + DAY, dt.time()), zone)
        if first >= end:
            return
        yield day, max(first, start), min(after, end)
        day += DAY


def differing_days(ours, theirs, start, end, zone):
    if ours == theirs:
        return
    for day, first, after in days(start, end, zone):
        mine, judged = expand.merge(ours, first, after), expand.merge(theirs, first, after)
        if mine != judged:
            yield day, mine, judged


def report(name, zone_name, ours, theirs, start, end):
    """Prints the verdict on one calendar; True when every day is equal."""
    zone = zoneinfo.ZoneInfo(zone_name)
    total = sum(1 for _ in days(start, end, zone))
    different = list(differing_days(ours, theirs, start, end, zone))
    busy = sum((b - a for a, b in theirs), dt.timedelta()) / (end - start)
    verdict = "equal" if not different else f"DIFFERENT on {len(different)} days"
    print(f"{name} ({zone_name}): {total} days, {len(theirs)} busy intervals, {busy:.0%} busy: {verdict}")
    for day, mine, judged in different[:DIFFERENCES_SHOWN]:
        print(f"  {day}: slotd    {spoken(set(mine) - set(judged), zone)}")
        print(f"              judge    {spoken(set(judged) - set(mine), zone)}")
    return not different


def spoken(intervals, zone):
    return ", ".join(f"{a.astimezone(zone):%H:%M%z}–{b.astimezone(zone):%H:%M%z}" for a, b in sorted(intervals)) or "–"


def intervals(rows):
    return [
        (dt.datetime.fromisoformat(row["start"]).astimezone(UTC), dt.datetime.fromisoformat(row["end"]).astimezone(UTC))
        for row in rows
    ]


class Demo:
    """A running `slotd demo`, ended when the block is left."""

    def __init__(self, binary, files, directory):
        command = [binary, "demo", "--json", "--port", "0", "--data-dir", directory]
        for file in files:
            command += ["--ics", file]
        environment = {**os.environ, "SLOTD_SYNC__HORIZON_DAYS": str(HORIZON_DAYS)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)

    def __enter__(self):
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            facts = json.loads(lines.get(timeout=START_TIMEOUT_S))
        except (queue.Empty, ValueError) as error:
            self.__exit__()
            raise SystemExit(f"slotd demo printed no JSON line within {START_TIMEOUT_S} s") from error
        self.api, self.key, self.business = facts["api"], facts["api_key"], facts["business_id"]
        self.calendars = facts["calendars"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def busy(self, resource, start, end):
        rows = []
        while start < end:
            stop = min(end, start + DAY * RANGE_DAYS_MAX)
            query = urllib.parse.urlencode({"from": start.isoformat(), "to": stop.isoformat(), "resource": resource})
            request = urllib.request.Request(
                f"{self.api}/api/v1/businesses/{self.business}/busy?{query}",
                headers={"Authorization": f"Bearer {self.key}"},
            )
            with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as response:
                rows += json.load(response)["busy"]
            start = stop
        return intervals(rows)


def main():
    midnight = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    parser = argparse.ArgumentParser(
        description="Compares slotd's busy time with the independent expander's, day by day."
    )
    parser.add_argument("files", nargs="+", metavar="FILE.ics")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--binary", help="the slotd to start")
    source.add_argument("--busy", help="a saved answer of GET …/busy instead, for one file")
    parser.add_argument("--from", dest="start", type=expand.time, default=midnight - 30 * DAY)
    parser.add_argument("--to", dest="end", type=expand.time, default=midnight + 731 * DAY)
    parser.add_argument("--zone", default="UTC", help="zone of a calendar that names none (default: UTC)")
    options = parser.parse_args()
    start, end = options.start, options.end
    if options.busy:
        if len(options.files) != 1:
            parser.error("--busy is the answer for one file")
        answer = json.loads(pathlib.Path(options.busy).read_text())
        rows = answer["busy"] if isinstance(answer, dict) else answer
        zone, theirs = expand.busy(options.files[0], start, end, options.zone)
        equal = [report(options.files[0], zone, expand.merge(intervals(rows), start, end), theirs, start, end)]
    else:
        equal = []
        with tempfile.TemporaryDirectory(prefix="slotd-compare-") as directory:
            with Demo(options.binary, options.files, directory) as demo:
                places = {os.path.realpath(one["file"]): one for one in demo.calendars if one.get("file")}
                for file in options.files:
                    calendar = places.get(os.path.realpath(file))
                    if calendar is None:
                        print(f"{file}: slotd made no calendar of it")
                        equal.append(False)
                        continue
                    zone, theirs = expand.busy(file, start, end, calendar["time_zone"])
                    ours = expand.merge(demo.busy(calendar["resource"], start, end), start, end)
                    if calendar["time_zone"] != zone:
                        print(f"{file}: slotd has the zone {calendar['time_zone']}, the file {zone}")
                        equal.append(False)
                    equal.append(report(file, zone, ours, theirs, start, end))
    sys.exit(0 if all(equal) else 1)


if __name__ == "__main__":
    main()
