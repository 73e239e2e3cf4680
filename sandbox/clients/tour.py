"""Asks the stand-in for everything that it can answer, so that the judge sees it.

Usage: tour.py FACTS, where FACTS is the line that `slotd sandbox --json --auto-approve --record FILE` prints. What is
asked has to be answered with the expected status and reason; the judge looks at the rest.
"""

import base64
import hashlib
import http.client
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse

OTHER = "guest@example.com"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-in-all"
BACK = "http://127.0.0.1:9/callback"
SCOPE = "https://www.googleapis.com/auth/"


class Lost(Exception):
    """There was no whole answer."""


class Google:
    def __init__(self, facts):
        self.facts = facts
        self.address = facts["sandbox"].removeprefix("http://")
        self.owner = facts["calendars"][0]["id"]
        self.token = facts["google_token"]

    def send(self, verb, path, body=None, headers=None, timeout=20):
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(verb, path, body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()
        except (OSError, http.client.HTTPException) as lost:
            raise Lost(lost) from lost
        finally:
            connection.close()

    def control(self, verb, path, body=None, status=204):
        text = None if body is None else json.dumps(body)
        answer, said = self.send(verb, "/sandbox/" + path, text, {"content-type": "application/json"})
        expect(answer.status, status, f"{verb} /sandbox/{path}: {said[:200]}")
        return json.loads(said) if said else None

    def call(self, verb, path, body=None, wanted=200, token=None, headers=None, **query):
        """One call of the Calendar API; `wanted` is a status, or a status and a reason."""
        pairs = [(name, one) for name, value in query.items() for one in (value if isinstance(value, list) else [value])]
        url = "/calendar/v3/" + path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
        given = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json", **(headers or {})}
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer, said = self.send(verb, url, text, given)
        value = json.loads(said) if said[:1] == b"{" else None
        status, reason = wanted if isinstance(wanted, tuple) else (wanted, None)
        what = f"{verb} {url}: {said[:300]}"
        expect(answer.status, status, what)
        if reason:
            expect(value["error"]["errors"][0]["reason"], reason, what)
        return value

    def form(self, path, wanted=200, **fields):
        answer, said = self.send(
            "POST", path, urllib.parse.urlencode(fields), {"content-type": "application/x-www-form-urlencoded"}
        )
        expect(answer.status, wanted, f"POST {path}: {said[:300]}")
        return json.loads(said)

    def fault(self, **fault):
        return self.control("POST", "faults", fault, 201)["id"]


def expect(found, wanted, what):
    if found != wanted:
        raise SystemExit(f"FAILED: expected {wanted!r}, found {found!r}: {what}")


def at(day, hour, zone="Europe/Berlin"):
    return {"dateTime": f"2027-01-{day:02}T{hour:02}:00:00", "timeZone": zone}


def timed(summary, day, hour, **more):
    return {"summary": summary, "start": at(day, hour), "end": at(day, hour + 1), **more}


def allday(summary, day, days=1, **more):
    return {
        "summary": summary,
        "start": {"date": f"2027-01-{day:02}"},
        "end": {"date": f"2027-01-{day + days:02}"},
        **more,
    }


def kinds_of_events(google):
    """Every kind of event, inserted, read, changed; ids by name."""
    free = {"transparency": "transparent"}
    bodies = {
        "timed": timed("Cut", 4, 9, description="short", location="Main St", colorId="5"),
        "allday": allday("Fair", 5, 2),
        "tentative": timed("Perhaps", 4, 11, status="tentative"),
        "free": timed("Nothing", 4, 12, **free),
        "private": timed("Doctor", 4, 13, visibility="private"),
        "guests": timed(
            "Team",
            4,
            14,
            attendees=[{"email": google.owner, "responseStatus": "declined"}]
            + [{"email": f"guest{number}@example.com", "displayName": "Guest", "optional": True} for number in range(5)],
            guestsCanModify=True,
            anyoneCanAddSelf=False,
        ),
        "marked": timed(
            "Marked", 4, 15, extendedProperties={"private": {"slotd": "b7"}, "shared": {"team": "a"}},
            source={"title": "slotd", "url": "https://slotd.example/b7"},
            reminders={"useDefault": False, "overrides": [{"method": "popup", "minutes": 10}]},
            attachments=[{"fileUrl": "https://files.example/1", "title": "Plan"}],
        ),
        "named": timed("Named", 4, 16, id="a0b1c2"),
        "away": timed("Away", 6, 9, eventType="outOfOffice", outOfOfficeProperties={"autoDeclineMode": "declineNone"}),
        "focus": timed("Focus", 6, 11, eventType="focusTime", focusTimeProperties={"chatStatus": "doNotDisturb"}),
        "home": allday(
            "Home", 7, visibility="public", eventType="workingLocation",
            workingLocationProperties={"type": "homeOffice", "homeOffice": {}}, **free,
        ),
        "office": timed(
            "Office", 8, 9, visibility="public", eventType="workingLocation",
            workingLocationProperties={"type": "officeLocation", "officeLocation": {"label": "HQ"}}, **free,
        ),
        "birthday": allday(
            "Birthday", 9, eventType="birthday", visibility="private", recurrence=["RRULE:FREQ=YEARLY"],
            birthdayProperties={"type": "birthday"}, **free,
        ),
        "weekly": timed("Regular", 4, 18, recurrence=["RRULE:FREQ=WEEKLY;COUNT=8", "EXDATE;TZID=Europe/Berlin:20270208T180000"]),
        "daily": allday("Watering", 11, recurrence=["RRULE:FREQ=DAILY;COUNT=6", "RDATE;VALUE=DATE:20270201"]),
        "offset": {"summary": "Plain", "start": {"dateTime": "2027-01-10T09:00:00-05:00"}, "end": {"dateTime": "2027-01-10T15:00:00Z"}},
    }  # fmt: skip
    events = "calendars/primary/events"
    ids = {name: google.call("POST", events, body, sendUpdates="none")["id"] for name, body in bodies.items()}
    for name, event in ids.items():
        path = f"{events}/{event}"
        google.call("GET", path, alwaysIncludeEmail="false", prettyPrint="true")
        google.call("GET", path, maxAttendees=2, timeZone="America/New_York", fields="*")
        if name != "birthday":
            google.call("PATCH", path, {"description": None, "summary": f"{name} again"}, supportsAttachments="true")
        full = google.call("GET", path)
        # What was read is written back whole.
        google.call("PUT", path, full, headers={"if-match": full["etag"]}, conferenceDataVersion=0)
    # Instances: moved, renamed, deleted in both ways, brought back.
    one = lambda day: f"{events}/{ids['weekly']}_202701{day}T170000Z"
    google.call("PATCH", one(11), {"start": at(12, 20), "end": at(12, 21)})
    google.call("DELETE", one(18), wanted=204)
    google.call("PATCH", one(25), {"status": "cancelled"})
    google.call("GET", one(18))
    google.call("PATCH", one(18), {"status": "confirmed"})
    google.call("DELETE", one(18), wanted=204)
    google.call("PATCH", f"{events}/{ids['daily']}_20270113", {"summary": "By hand"})
    google.call("DELETE", f"{events}/{ids['daily']}_20270114", wanted=204)
    for query in ({}, {"showDeleted": "true"}, {"maxResults": 2}, {"timeMin": "2027-01-10T00:00:00Z", "timeMax": "2027-01-20T00:00:00Z"},
                  {"originalStart": "2027-01-11T18:00:00+01:00"}, {"timeZone": "Asia/Tokyo", "maxAttendees": 1}):  # fmt: skip
        google.call("GET", f"{events}/{ids['weekly']}/instances", **query)
    return ids


def pages(google, path, **query):
    """Follows every page. Returns the items and the last page."""
    items, page = [], {}
    while True:
        answer = google.call("GET", path, **query, **page)
        items += answer["items"]
        if "nextPageToken" not in answer:
            return items, answer
        page = {"pageToken": answer["nextPageToken"]}


def lists(google, ids):
    events = "calendars/primary/events"
    for query in (
        {"maxResults": 3},
        {"maxResults": 9999, "showDeleted": "true"},
        {"singleEvents": "true", "orderBy": "startTime", "timeMin": "2027-01-01T00:00:00Z", "timeMax": "2027-02-01T00:00:00Z", "maxResults": 10},
        {"singleEvents": "true", "showDeleted": "true", "timeMax": "2027-03-01T00:00:00+01:00"},
        {"orderBy": "updated"},
        {"updatedMin": "2026-01-01T00:00:00Z", "showHiddenInvitations": "true"},
        {"q": "regular"},
        {"iCalUID": "a0b1c2@google.com"},
        {"privateExtendedProperty": "slotd=b7", "sharedExtendedProperty": "team=a"},
        {"eventTypes": ["outOfOffice", "focusTime", "workingLocation", "birthday"]},
        {"timeZone": "Pacific/Auckland", "maxAttendees": 1, "alwaysIncludeEmail": "true"},
        {"fields": "items(id,start/dateTime),nextPageToken,nextSyncToken", "maxResults": 5, "quotaUser": "tour"},
    ):  # fmt: skip
        pages(google, events, **query)
    _, last = pages(google, events)
    token = last["nextSyncToken"]
    google.call("GET", events, wanted=304, headers={"if-none-match": last["etag"]})
    google.call("PATCH", f"{events}/{ids['timed']}", {"summary": "Changed"})
    google.call("DELETE", f"{events}/{ids['tentative']}", wanted=204)
    google.call("DELETE", f"{events}/{ids['daily']}", wanted=204)
    changed, _ = pages(google, events, syncToken=token, maxResults=1)
    expect(len(changed), 3, "changes since the first list")
    for forbidden in ("iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "timeMin", "timeMax", "updatedMin"):
        value = {"orderBy": "updated"}.get(forbidden, "2027-01-01T00:00:00Z" if forbidden.endswith(("Min", "Max")) else "a=b")  # fmt: skip
        google.call("GET", events, wanted=(400, "badRequest"), syncToken=token, **{forbidden: value})
    google.call("GET", events, wanted=(400, "badRequest"), syncToken=token, showDeleted="false")
    google.call("GET", events, wanted=(400, "invalid"), syncToken="garbage")
    google.call("GET", events, wanted=(400, "invalid"), pageToken="garbage")
    google.call("GET", events, wanted=(400, "badRequest"), orderBy="startTime")
    google.call("GET", events, wanted=(400, "timeRangeEmpty"), timeMin="2027-02-01T00:00:00Z", timeMax="2027-01-01T00:00:00Z")
    google.control("POST", "expire-sync-tokens", {"calendar": google.owner})
    google.call("GET", events, wanted=(410, "fullSyncRequired"), syncToken=token)


def writes(google, ids):
    """What is refused, and what becomes of the deleted."""
    events = "calendars/primary/events"
    google.call("POST", events, timed("Twice", 4, 9, id="a0b1c2"), wanted=(409, "duplicate"))
    google.call("POST", events, timed("Bad", 4, 9, id="WXYZ-"), wanted=(400, "invalid"))
    google.call("POST", events, {"start": at(4, 9)}, wanted=(400, "required"))
    google.call("POST", events, {**timed("Mixed", 4, 9), "end": {"date": "2027-01-05"}}, wanted=(400, "invalid"))
    google.call("POST", events, {**timed("Back", 4, 9), "end": at(3, 9)}, wanted=(400, "timeRangeEmpty"))
    google.call("POST", events, timed("Gmail", 4, 9, eventType="fromGmail"), wanted=(400, "invalid"))
    google.call("POST", events, allday("Far", 4, eventType="workingLocation"), wanted=(400, "malformedWorkingLocationEvent"))
    google.call("POST", events, "{", wanted=(400, "parseError"))
    path = f"{events}/{ids['named']}"
    event = google.call("GET", path)
    google.call("GET", path, wanted=304, headers={"if-none-match": event["etag"]})
    google.call("PATCH", path, {"summary": "New"}, headers={"if-match": event["etag"]})
    for verb, body in (("PATCH", {"summary": "Late"}), ("PUT", timed("Late", 4, 9)), ("DELETE", None)):
        google.call(verb, path, body, wanted=(412, "conditionNotMet"), headers={"if-match": event["etag"]})
    google.call("PATCH", path, {"start": at(5, 9), "end": at(5, 10)}, headers={"if-match": "*"})
    google.call("PUT", path, timed("Old", 4, 9, sequence=0), wanted=(400, "invalid"))
    google.call("DELETE", path, wanted=204)
    google.call("DELETE", path, wanted=(410, "deleted"))
    google.call("DELETE", f"{events}/zzzzz", wanted=(404, "notFound"))
    google.call("GET", path)
    google.call("POST", events, timed("Again", 4, 9, id="a0b1c2"), wanted=(409, "duplicate"))
    google.call("PATCH", path, {"status": "confirmed"})
    google.call("DELETE", path, wanted=204)
    google.control("POST", f"calendars/{google.owner}/empty-trash")
    google.call("PATCH", path, {"status": "confirmed"}, wanted=(403, "forbidden"))
    google.call("GET", path, wanted=(404, "notFound"))
    pages(google, events, showDeleted="true")

    added = google.call("POST", f"{events}/quickAdd", text="Coffee with Kim")
    google.call("POST", f"{events}/quickAdd", wanted=(400, "required"))
    foreign = {**timed("Congress", 20, 9), "iCalUID": "congress@elsewhere.example", "organizer": {"email": "host@elsewhere.example"},
               "extendedProperties": {"shared": {"room": "1"}}}  # fmt: skip
    copy = google.call("POST", f"{events}/import", foreign)
    google.call("POST", f"{events}/import", {**foreign, "summary": "Congress, moved"})
    google.call("POST", f"{events}/import", timed("No uid", 20, 9), wanted=(400, "required"))
    google.call("PUT", f"{events}/{copy['id']}", timed("Mine", 20, 9), wanted=(403, "forbiddenForNonOrganizer"))
    google.call("PATCH", f"{events}/{copy['id']}", {"colorId": "3"})
    spa = google.control("POST", "calendars", {"owner": google.owner, "summary": "Spa", "timeZone": "Asia/Tokyo"}, 201)["id"]
    google.call("POST", f"{events}/{ids['weekly']}/move", destination=spa)
    google.call("POST", f"{events}/{added['id']}/move", destination="nowhere@example.com", wanted=(404, "notFound"))
    google.call("POST", f"{events}/{ids['away']}/move", destination=spa, wanted=(400, "invalid"))
    google.call("GET", f"{events}/{ids['weekly']}")
    pages(google, f"calendars/{spa}/events", showDeleted="true")
    return spa


def strictness(google):
    """Requests that no document knows."""
    events = "calendars/primary/events"
    for query in ({"maxResult": 5}, {"maxResults": 0}, {"maxResults": -1}, {"maxResults": "many"}, {"singleEvents": "yes"},
                  {"orderBy": "color"}, {"eventTypes": "party"}, {"q": ["a", "b"]}, {"alt": "media"}, {"fields": "items("}):  # fmt: skip
        google.call("GET", events, wanted=(400, "invalidParameter"), **query)
    google.call("GET", events, wanted=(400, "badRequest"), timeMin="2027-01-01T00:00:00")
    for body in ({"summery": "x"}, {"summary": 5}, {"start": {"datetime": "x"}}, {"sequence": "1"}, {"attendees": {}},
                 {"transparency": "glass"}, {"extendedProperties": {"public": {}}}):  # fmt: skip
        google.call("POST", events, {**timed("Odd", 4, 9), **body}, wanted=(400, "invalid"))
    google.call("GET", "users/me/calendarList", wanted=(400, "invalidParameter"), minAccessRole="king")
    busy = {"timeMin": "2027-01-04T00:00:00Z", "timeMax": "2027-01-05T00:00:00Z"}
    google.call("POST", "freeBusy", {**busy, "calendars": []}, wanted=(400, "invalid"))


def roles_and_calendars(google, spa):
    guest = google.control("POST", "users", {"email": OTHER, "name": "Guest"}, 201)["token"]
    google.call("POST", f"calendars/{spa}/events", {**timed("Massage", 4, 9), "visibility": "private"})
    google.call("GET", f"calendars/{spa}/events", token=guest, wanted=(404, "notFound"))
    for role in ("freeBusyReader", "reader", "writerWithoutPrivateAccess", "writer", "owner"):
        google.control("PUT", f"calendars/{spa}/roles/{OTHER}", {"role": role})
        items, answer = pages(google, f"calendars/{spa}/events", token=guest)
        expect(answer["accessRole"], role, "role in the list")
        for item in items:
            google.call("GET", f"calendars/{spa}/events/{item['id']}", token=guest)
        google.call("GET", f"users/me/calendarList/{spa}", token=guest)
        google.call("GET", f"calendars/{spa}", token=guest)
        writer = role not in ("freeBusyReader", "reader")
        google.call("POST", f"calendars/{spa}/events", timed("Theirs", 5, 9), token=guest, wanted=200 if writer else (403, "requiredAccessLevel"))  # fmt: skip
    google.control("PATCH", f"calendars/{spa}", {"timeZone": "America/New_York", "summary": "Wellness"})
    pages(google, f"calendars/{spa}/events")
    calendars = "users/me/calendarList"
    pages(google, calendars, maxResults=1, minAccessRole="owner")
    _, last = pages(google, calendars, showOwnOrganizationOnly="false")
    token = last["nextSyncToken"]
    google.call("GET", calendars, wanted=(400, "badRequest"), syncToken=token, minAccessRole="reader")
    google.call("GET", calendars, wanted=(400, "invalid"), syncToken="garbage")
    _, last = pages(google, calendars, token=guest)
    theirs = last["nextSyncToken"]
    google.control("PUT", f"users/{OTHER}/calendars/{spa}", {"hidden": True})
    pages(google, calendars, token=guest, showHidden="true", showDeleted="true")
    google.control("DELETE", f"calendars/{spa}/roles/{OTHER}")
    pages(google, calendars, token=guest, syncToken=theirs)
    google.control("DELETE", f"calendars/{spa}")
    pages(google, calendars, showDeleted="true")
    google.control("POST", "expire-sync-tokens", {"calendar": "calendarList"})
    google.call("GET", calendars, wanted=(410, "fullSyncRequired"), syncToken=theirs, token=guest)
    for path in ("primary", google.owner, google.owner.replace("@", "%40")):
        google.call("GET", f"calendars/{path}")
        google.call("GET", f"{calendars}/{path}")
    google.call("GET", f"{calendars}/{spa}", wanted=(404, "notFound"))


def free_busy(google):
    def ask(wanted=200, **more):
        body = {"timeMin": "2027-01-04T00:00:00+01:00", "timeMax": "2027-01-12T00:00:00+01:00", **more}
        return google.call("POST", "freeBusy", {key: value for key, value in body.items() if value}, wanted=wanted)

    items = [{"id": google.owner}, {"id": "nowhere@example.com"}]
    answer = ask(items=items, timeZone="Europe/Berlin", calendarExpansionMax=50, groupExpansionMax=100)
    expect(answer["calendars"]["nowhere@example.com"]["errors"][0]["reason"], "notFound", "an unknown calendar")
    expect(len(answer["calendars"][google.owner]["busy"]) > 0, True, "busy time")
    ask(items=items * 30)
    ask((400, "required"), timeMin=None)
    ask((400, "timeRangeEmpty"), timeMax="2027-01-01T00:00:00Z")
    ask((400, "timeRangeTooLong"), timeMax="2029-01-01T00:00:00Z")


def channels(google):
    """Opens and stops channels. Returns an address that goes on to take pushes."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/push"

    def channel(name, **more):
        return {"id": name, "type": "web_hook", "address": address, **more}

    events, soon = "calendars/primary/events/watch", str(int(time.time() + 3600) * 1000)
    plain = google.call("POST", events, channel("plain"))
    rest = float(plain["expiration"]) / 1000 - time.time()
    expect(604_700 < rest <= 604_800, True, "seconds that a channel lives by default")
    google.call("POST", events, channel("known", type="webhook", token="t" * 256, expiration=soon), eventTypes="default")
    capped = google.call("POST", events, channel("capped", params={"ttl": "99999999"}, expiration=soon))
    expect(capped["expiration"], soon, "the earlier end")
    listed = google.call("POST", "users/me/calendarList/watch", channel("list", params={"ttl": "600"}))
    google.call("POST", events, channel("plain"), wanted=(400, "channelIdNotUnique"))
    google.call("POST", events, channel("x" * 65), wanted=(400, "invalid"))
    google.call("POST", events, channel("long", token="t" * 257), wanted=(400, "invalid"))
    google.call("POST", events, channel("odd", type="pigeon"), wanted=(400, "invalid"))
    google.call("POST", events, channel("old", expiration="1000"), wanted=(400, "invalid"))
    google.call("POST", events, channel("ftp", address="ftp://x.example/"), wanted=(400, "push.webhookUrlNotHttps"))
    holidays = "en.german#holiday@group.v.calendar.google.com"
    google.control("POST", "calendars", {"owner": google.owner, "id": holidays, "summary": "Holidays", "timeZone": "UTC"}, 201)
    path = f"calendars/{urllib.parse.quote(holidays)}"
    google.call("POST", f"{path}/events/watch", channel("h"), wanted=(400, "pushNotSupportedForRequestedResource"))
    google.call("GET", f"{path}/events")
    google.call("POST", "channels/stop", {"id": "plain", "resourceId": "other"}, wanted=(404, "notFound"))
    for opened in (plain, listed):
        google.call("POST", "channels/stop", {"id": opened["id"], "resourceId": opened["resourceId"]}, wanted=204)
    return address


def consent(google, **more):
    """The parameters that the browser comes back with."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": google.facts["client_id"], "redirect_uri": BACK, "response_type": "code", "access_type": "offline",
        "scope": f"openid email profile {SCOPE}calendar.events", "state": "s", "code_challenge": challenge,
        "code_challenge_method": "S256", "login_hint": google.owner, **more,
    }  # fmt: skip
    answer, _ = google.send("GET", "/o/oauth2/v2/auth?" + urllib.parse.urlencode(query))
    expect(answer.status, 302, "consent")
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.getheader("location")).query))


def sign_in(google):
    client = {name: google.facts[name] for name in ("client_id", "client_secret")}

    def exchange(code, wanted=200, **more):
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        return google.form("/token", wanted, **{**fields, **client, **more})

    def refresh(token, wanted=200):
        return google.form("/token", wanted, grant_type="refresh_token", refresh_token=token, **client)

    code = consent(google)["code"]
    tokens = exchange(code)
    expect(exchange(code, 400)["error"], "invalid_grant", "a code that was used")
    for name in ("/v1/userinfo", "/.well-known/openid-configuration", "/oauth2/v3/certs"):
        answer, said = google.send("GET", name, headers={"authorization": f"Bearer {tokens['access_token']}"})
        expect(answer.status, 200, f"{name}: {said[:200]}")
    refresh(tokens["refresh_token"])
    google.call("GET", "calendars/primary/events", token=tokens["access_token"])
    google.call("GET", "users/me/calendarList", token=tokens["access_token"], wanted=(403, "insufficientPermissions"))
    google.call("GET", "calendars/primary/events", token="nonsense", wanted=(401, "authError"))
    answer, said = google.send("GET", "/calendar/v3/calendars/primary/events")
    expect(json.loads(said)["error"]["errors"][0]["reason"], "required", "a call without a token")
    exchange(consent(google)["code"], 401, client_secret="guess")
    exchange(consent(google)["code"], 400, redirect_uri=BACK + "/")
    exchange(consent(google)["code"], 400, code_verifier="x" * 43)
    google.form("/token", 400, grant_type="password", **client)
    google.form("/token", 400, **client)
    google.form("/revoke", token=tokens["access_token"])
    refresh(tokens["refresh_token"], 400)
    google.form("/revoke", 400, token="made-up")
    for why, error in (("revoked", "invalid_grant"), ("session", "invalid_grant"), ("account", "invalid_grant"), ("policy", "admin_policy_enforced")):
        tokens = exchange(consent(google, prompt="consent")["code"])
        google.control("POST", f"users/{google.owner}/grants/end", {"why": why})
        expect(refresh(tokens["refresh_token"], 400)["error"], error, f"a grant that ended: {why}")
    google.control("POST", f"users/{google.owner}/grants/admit")
    return exchange(consent(google, prompt="consent")["code"])["refresh_token"]


# How to try each kind of fault: what to add to its kind, and what it strikes.
CALLS, PAGES, READS, WATCHES, PUSHES, TOKENS, GRANTS = "calls", "pages", "reads", "watches", "pushes", "tokens", "grants"
EFFECTS = {
    "google": ({"error": "rateLimitExceeded"}, CALLS),
    "refuse": ({"status": 403, "reason": "rateLimitExceeded", "domain": "usageLimits"}, CALLS),
    "refuse_oauth": ({"status": 400, "error": "invalid_grant"}, TOKENS),
    "html": ({"status": 502}, CALLS),
    "empty": ({"status": 503}, CALLS),
    "delay": ({"ms": 5}, CALLS),
    "trickle": ({"ms": 20}, CALLS),
    "hang_before": ({}, CALLS),
    "hang_after": ({}, CALLS),
    "reset_before": ({}, CALLS),
    "reset_after": ({}, CALLS),
    "truncate": ({}, CALLS),
    "half_json": ({}, CALLS),
    "garbage": ({}, CALLS),
    "short_token": ({"ms": 1}, TOKENS),
    "rotate_refresh_token": ({}, TOKENS),
    "empty_page": ({}, PAGES),
    "repeat_page": ({}, PAGES),
    "page_loop": ({}, PAGES),
    "overlap": ({"items": 1}, PAGES),
    "shuffle": ({}, PAGES),
    "stale": ({}, PAGES),
    "lag": ({"calls": 1, "ms": 1}, READS),
    "sync_first": ({"messages": 1}, WATCHES),
    "sync_later": ({"ms": 5}, WATCHES),
    "die_early": ({"messages": 1}, WATCHES),
    "cap_ttl": ({"seconds": 60}, WATCHES),
    "drop": ({}, PUSHES),
    "twice": ({}, PUSHES),
    "late": ({"ms": 5}, PUSHES),
    "swap": ({}, PUSHES),
    "burst": ({"messages": 2}, PUSHES),
    "gap": ({"numbers": 2}, PUSHES),
    "not_exists": ({}, PUSHES),
    "without_expiration": ({}, PUSHES),
    "forge": ({"forgery": "no_token"}, PUSHES),
    "end_access_tokens": ({}, GRANTS),
    "revoke_grant": ({}, GRANTS),
}
SILENT = {"hang_before", "hang_after", "reset_before", "reset_after", "truncate"}
# Where the stand-in knows the error by another name than Google's reason, and what other reasons to try.
REFUSALS = [(403, "calendar", "forbidden"), (409, "global", "conflict"), (429, "usageLimits", "rateLimitExceeded")]


def names(google, effect):
    """The names that the stand-in knows in this place, as it tells whoever gives a wrong one."""
    body = json.dumps({"method": "calendar.events.list", "effect": effect})
    answer, said = google.send("POST", "/sandbox/faults", body, {"content-type": "application/json"})
    expect(answer.status, 422, "an unknown name")
    return set(re.findall(r"`(\w+)`", said.decode().split("expected one of", 1)[1]))


def faults(google, address, refresh_token):
    known = names(google, {"kind": "?"})
    expect(known ^ EFFECTS.keys(), set(), "kinds of faults that the tour does not try, or that are gone")
    for number, (kind, (more, strikes)) in enumerate(EFFECTS.items()):
        strike(google, {"kind": kind, **more}, strikes, f"fault-{number}", address, refresh_token)
    for error in names(google, {"kind": "google", "error": "?"}):
        for retry_after in ({}, {"retry_after_s": 1}):
            google.fault(method="calendar.events.list", times=1, effect={"kind": "google", "error": error, **retry_after})
            answer, said = send(google, "GET", "events")
            expect(answer.status >= 400, True, f"{error}: {answer.status} {said[:100]}")
    for status, domain, reason in REFUSALS:
        refuse = {"kind": "refuse", "status": status, "domain": domain, "reason": reason}
        google.fault(method="calendar.events.list", times=1, effect=refuse)
        google.call("GET", "calendars/primary/events", wanted=(status, reason))
    for outage in ("html", "reset"):
        google.control("PUT", "down", {"down": True, "outage": outage})
        try:
            send(google, "GET", "events")
        except Lost:
            expect(outage, "reset", "no answer")
    google.control("DELETE", "faults")


def send(google, verb, path, body=None, timeout=20):
    """A call whose answer may be anything."""
    headers = {"authorization": f"Bearer {google.token}", "content-type": "application/json"}
    return google.send(verb, f"/calendar/v3/calendars/primary/{path}", body and json.dumps(body), headers, timeout)


def strike(google, effect, strikes, name, address, refresh_token):
    kind = effect["kind"]
    arm = lambda method: google.fault(method=method, times=1, effect=effect)
    if strikes == CALLS:
        for method, verb, body in (("list", "GET", None), ("insert", "POST", timed("Fault", 4, 9))):
            arm(f"calendar.events.{method}")
            try:
                send(google, verb, "events", body, 2 if kind in SILENT else 20)
            except Lost:
                expect(kind in SILENT, True, f"an answer in spite of {kind}")
            else:
                expect(kind in SILENT, False, f"no answer because of {kind}")
    elif strikes in (PAGES, READS):
        token = pages(google, "calendars/primary/events")[1]["nextSyncToken"]
        event = google.call("POST", "calendars/primary/events", timed("New", 6, 16))["id"]
        for query in ({"maxResults": 4}, {"syncToken": token}):
            arm("calendar.events.list")
            first = google.call("GET", "calendars/primary/events", **query)
            if "nextPageToken" in first:
                google.call("GET", "calendars/primary/events", **query, pageToken=first["nextPageToken"])
        if strikes == READS:
            arm("calendar.events.get")
            send(google, "GET", f"events/{event}")
    elif strikes == WATCHES:
        arm("calendar.events.watch")
        body = {"id": name, "type": "web_hook", "address": address}
        google.call("POST", "calendars/primary/events/watch", body)
    elif strikes == PUSHES:
        arm("push")
        google.call("POST", "calendars/primary/events", timed("Pushed", 6, 17))
    elif strikes == TOKENS:
        arm("oauth2.refresh")
        client = {key: google.facts[key] for key in ("client_id", "client_secret")}
        wanted = 400 if kind == "refuse_oauth" else 200
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token[0], **client}
        refresh_token[0] = google.form("/token", wanted, **fields).get("refresh_token", refresh_token[0])
    else:
        arm("calendar.events.list")
        google.call("GET", "calendars/primary/events", wanted=(401, "authError"))


def main(line):
    google = Google(json.loads(line))
    ids = kinds_of_events(google)
    lists(google, ids)
    spa = writes(google, ids)
    strictness(google)
    roles_and_calendars(google, spa)
    free_busy(google)
    address = channels(google)
    refresh_token = sign_in(google)
    faults(google, address, [refresh_token])
    print("tour: every method, kind of event, page, role, refusal and fault was asked for")


if __name__ == "__main__":
    main(*sys.argv[1:])
