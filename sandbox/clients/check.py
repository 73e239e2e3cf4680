"""Google's Python client against the stand-in: what the client cannot do with Google it cannot do here, and vice versa.

Usage: check.py ROOT TOKEN CALENDAR_ID. Exits with 1 and says what differed at the first deviation.
"""

import http.server
import queue
import secrets
import sys
import threading

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

PUSH_TIMEOUT_S = 5
SILENCE_S = 1


class Pushes:
    """A receiver of notifications on a free port."""

    def __init__(self):
        self.received = queue.Queue()
        received = self.received

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                received.put(
                    (dict((name.lower(), value) for name, value in self.headers.items()), self.rfile.read(length))
                )
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.address = f"http://127.0.0.1:{self.server.server_port}/push"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, state):
        try:
            headers, body = self.received.get(timeout=PUSH_TIMEOUT_S)
        except queue.Empty:
            raise SystemExit(f"FAILED: no push with state {state} within {PUSH_TIMEOUT_S} s") from None
        expect(headers.get("x-goog-resource-state"), state, "state of the push")
        expect(body, b"", "body of the push")
        return headers


def expect(found, wanted, what):
    if found != wanted:
        raise SystemExit(f"FAILED: {what}: expected {wanted!r}, found {found!r}")


def refused(request, status, reason, what):
    try:
        request.execute()
    except HttpError as error:
        expect(error.status_code, status, what)
        expect(error.error_details[0]["reason"], reason, what)
        return
    raise SystemExit(f"FAILED: {what}: expected {status} {reason}, but it was accepted")


def main():
    root, token, calendar = sys.argv[1:]
    service = build(
        "calendar",
        "v3",
        static_discovery=True,
        credentials=Credentials(token=token),
        client_options={"api_endpoint": f"{root}/calendar/v3/"},
    )
    events, pushes = service.events(), Pushes()

    listed = service.calendarList().list().execute()["items"]
    expect(calendar in [entry["id"] for entry in listed], True, "the calendar is in the user's list")
    zone = service.calendarList().get(calendarId=calendar).execute()["timeZone"]

    def all_events(**query):
        items, request = [], events.list(calendarId=calendar, maxResults=50, **query)
        while request is not None:
            page = request.execute()
            items += page["items"]
            request = events.list_next(request, page)
        return items, page["nextSyncToken"]

    before, sync_token = all_events()

    channel = {"id": secrets.token_hex(16), "type": "web_hook", "address": pushes.address, "token": "a secret"}
    watched = events.watch(calendarId=calendar, body=channel).execute()
    expect(watched["id"], channel["id"], "id of the channel")
    expect(watched["expiration"].isdigit(), True, "expiration of the channel is text")
    greeting = pushes.next("sync")
    expect(greeting["x-goog-message-number"], "1", "number of the first push")
    expect(greeting["x-goog-channel-token"], "a secret", "token of the push")
    expect(greeting["x-goog-resource-id"], watched["resourceId"], "resource of the push")

    event_id = "check" + secrets.token_hex(8)
    body = {
        "id": event_id,
        "summary": "Haircut - Ada",
        "start": {"dateTime": "2027-01-12T10:00:00", "timeZone": zone},
        "end": {"dateTime": "2027-01-12T10:45:00", "timeZone": zone},
        "extendedProperties": {"private": {"booking": "1"}},
    }
    inserted = events.insert(calendarId=calendar, body=body).execute()
    expect(inserted["summary"], body["summary"], "summary of the new event")
    expect(inserted["start"]["dateTime"][:19], body["start"]["dateTime"], "start of the new event")
    pushes.next("exists")
    refused(events.insert(calendarId=calendar, body=body), 409, "duplicate", "the same id again")

    def patch(etag, change):
        request = events.patch(calendarId=calendar, eventId=event_id, body=change)
        request.headers["If-Match"] = etag
        return request

    patched = patch(
        inserted["etag"], {"summary": "Color - Ada", "extendedProperties": {"private": {"booking": None}}}
    ).execute()
    expect(patched["summary"], "Color - Ada", "patched summary")
    expect(patched.get("extendedProperties", {}).get("private", {}), {}, "patched properties")
    expect(patched["etag"] != inserted["etag"], True, "the etag changes")
    pushes.next("exists")
    refused(patch(inserted["etag"], {"summary": "late"}), 412, "conditionNotMet", "a patch with an old etag")
    expect(
        events.get(calendarId=calendar, eventId=event_id).execute()["summary"],
        "Color - Ada",
        "summary after the refusal",
    )

    changed, sync_token = all_events(syncToken=sync_token)
    expect(
        [(event["id"], event["status"]) for event in changed], [(event_id, "confirmed")], "changes since the first list"
    )

    expect(events.delete(calendarId=calendar, eventId=event_id).execute(), "", "answer to the deletion")
    pushes.next("exists")
    refused(events.delete(calendarId=calendar, eventId=event_id), 410, "deleted", "a second deletion")
    refused(events.delete(calendarId=calendar, eventId="nothere"), 404, "notFound", "deletion of nothing")
    changed, sync_token = all_events(syncToken=sync_token)
    expect([(event["id"], event["status"]) for event in changed], [(event_id, "cancelled")], "changes since the patch")
    refused(events.list(calendarId=calendar, syncToken="nonsense"), 400, "invalid", "a made-up sync token")
    after, _ = all_events()
    expect(sorted(event["id"] for event in after), sorted(event["id"] for event in before), "events at the end")

    service.channels().stop(body={"id": channel["id"], "resourceId": watched["resourceId"]}).execute()
    again = events.insert(calendarId=calendar, body={key: body[key] for key in ("summary", "start", "end")}).execute()
    events.delete(calendarId=calendar, eventId=again["id"]).execute()
    try:
        headers, _ = pushes.received.get(timeout=SILENCE_S)
        raise SystemExit(f"FAILED: a push after the channel was stopped: {headers}")
    except queue.Empty:
        pass
    print("google-api-python-client: list, insert, patch with If-Match, delete, watch and stop behave as with Google")


if __name__ == "__main__":
    try:
        main()
    except HttpError as error:
        raise SystemExit(f"FAILED: {error}") from None
