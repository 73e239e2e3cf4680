"""Proves that the judge bites: spoils recorded exchanges that are right, one thing at a time.

Usage: sabotage.py FILE. Every spoiled exchange must be found guilty.
"""

import copy
import json
import sys

from judge import Judge, read


def changed(exchange, key, change):
    value = json.loads(exchange[key])
    change(value)
    return {**copy.deepcopy(exchange), key: json.dumps(value)}


def answer(change):
    return lambda exchange: changed(exchange, "answer", change)


def body(change):
    return lambda exchange: changed(exchange, "body", change)


def query(more):
    return lambda exchange: {**exchange, "query": "&".join(filter(None, [exchange.get("query"), more]))}


def put(*path):
    *way, name, value = path

    def change(into):
        for step in way:
            into = into[step]
        into[name] = value

    return change


def without_offset(event):
    event["start"]["dateTime"] = event["start"]["dateTime"][:19]


def misspelt(event):
    event["summery"] = event.pop("summary")


GET, LIST, INSERT, WATCH = (f"calendar.events.{name}" for name in ("get", "list", "insert", "watch"))
DELETE, CALENDARS, BUSY = "calendar.events.delete", "calendar.calendarList.list", "calendar.freebusy.query"

# What is done to which method's exchange of which status.
SPOILED = {
    "an offset is missing": (GET, 200, answer(without_offset)),
    "an unknown field": (GET, 200, answer(put("busy", True))),
    "an unknown field deep inside": (GET, 200, answer(put("organizer", "phone", "1"))),
    "a time without a date": (GET, 200, answer(put("updated", "10:00:00Z"))),
    "a bad status": (GET, 200, answer(put("status", "maybe"))),
    "a bad role": (LIST, 200, answer(put("accessRole", "king"))),
    "a null": (LIST, 200, answer(put("description", None))),
    "both tokens": (LIST, 200, answer(lambda page: page.update(nextPageToken="a", nextSyncToken="b"))),
    "a number for a text": (CALENDARS, 200, answer(put("items", 0, "id", 5))),
    "a numeric expiration": (WATCH, 200, answer(lambda channel: channel.update(expiration=int(channel["expiration"])))),
    "a busy block without an offset": (BUSY, 200, answer(put("timeMin", "2027-01-01T00:00:00"))),
    "a created status": (INSERT, 200, lambda exchange: {**exchange, "status": 201}),
    "another content type": (GET, 200, lambda exchange: {**exchange, "answerHeaders": {"content-type": "text/plain"}}),
    "a body for 204": (DELETE, 204, lambda exchange: {**exchange, "answer": "{}"}),
    "an error without a reason": (GET, 404, answer(lambda error: error["error"]["errors"][0].pop("reason"))),
    "an error with another code": (GET, 404, answer(put("error", "code", 500))),
    "an error of neither envelope": (GET, 404, answer(put("error", "hint", "none"))),
    "a page for an error": (GET, 404, lambda exchange: {**exchange, "answer": "<h1>Not Found</h1>"}),
    "a silent end": (GET, 200, lambda exchange: {**exchange, "status": 0}),
    "a misspelt body field": (INSERT, 200, body(misspelt)),
    "a mistyped body field": (INSERT, 200, body(put("summary", 5))),
    "a bad transparency": (INSERT, 200, body(put("transparency", "glass"))),
    "a numeric ttl": (WATCH, 200, body(put("params", {"ttl": 3600}))),
    "an unknown parameter": (LIST, 200, query("maxResult=5")),
    "a mistyped number": (LIST, 200, query("maxAttendees=many")),
    "a mistyped flag": (GET, 200, query("prettyPrint=yes")),
    "a time parameter without an offset": (LIST, 200, query("updatedMin=2027-01-01T00:00:00")),
    "a repeated parameter": (LIST, 200, query("q=a&q=b")),
    "a bad order": (LIST, 200, query("orderBy=color")),
    "another verb": (GET, 200, lambda exchange: {**exchange, "verb": "POST"}),
    "another path": (GET, 200, lambda exchange: {**exchange, "path": "/calendar/v3/events"}),
}


def suits(exchange, method, status):
    if (exchange["method"], exchange["status"]) != (method, status) or exchange["fault"]:
        return False
    timed = method != GET or status != 200 or '"start":{"dateTime"' in exchange["answer"]
    named = method != INSERT or '"summary":' in exchange["body"]
    return timed and named


def main(path):
    judge, exchanges = Judge(), read(path)
    for what, (method, status, spoil) in SPOILED.items():
        innocent = next((one for one in exchanges if suits(one, method, status)), None)
        if innocent is None:
            raise SystemExit(f"FAILED: nothing recorded to try {what!r} with")
        if judge.exchange(innocent) or not judge.exchange(spoil(innocent)):
            raise SystemExit(f"FAILED: the judge does not tell {what!r} from what is right")
    print(f"the judge finds each of {len(SPOILED)} deviations")


if __name__ == "__main__":
    main(*sys.argv[1:])
