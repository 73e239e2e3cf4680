use serde_json::{Value, json};
use slotd_sandbox::Options;

use crate::harness::{ANNA, Google, ids, series, sorted_ids, timed};

const JANUARY: &str = "singleEvents=true&timeMin=2027-01-01T00:00:00Z&timeMax=2027-02-01T00:00:00Z";

#[tokio::test]
async fn a_plain_list_has_masters_and_exceptions_and_an_expanded_one_instances() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=4")).await;
    let instance = "calendars/primary/events/regular_20270111T080000Z";
    let virtual_instance = google.get(instance).await.ok();
    assert_eq!(virtual_instance["recurringEventId"], "regular");
    assert_eq!(
        virtual_instance["originalStartTime"],
        json!({ "dateTime": "2027-01-11T09:00:00+01:00", "timeZone": "Europe/Berlin" })
    );
    assert_eq!(google.get("calendars/primary/events/regular_20270112T080000Z").await.status, 404);

    let token = google.sync_token().await;
    let moved = timed("moved", 12, 15);
    google.patch(instance, json!({ "summary": "moved", "start": moved["start"], "end": moved["end"] })).await.ok();
    google.delete("calendars/primary/events/regular_20270118T080000Z").await;
    assert_eq!(google.delete("calendars/primary/events/regular_20270118T080000Z").await.status, 410);

    let (changed, _) = google.changes(&token).await;
    assert_eq!(sorted_ids(&changed), ["regular_20270111T080000Z", "regular_20270118T080000Z"]);
    let of = |id: &str| changed.iter().find(|item| item["id"] == id).unwrap();
    let fields: Vec<_> = of("regular_20270118T080000Z").as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["etag", "id", "kind", "originalStartTime", "recurringEventId", "status"]);
    assert_eq!(of("regular_20270111T080000Z")["originalStartTime"]["dateTime"], "2027-01-11T09:00:00+01:00");

    // Holes of live series are listed.
    let (plain, _) = google.list("").await;
    assert_eq!(sorted_ids(&plain), ["regular", "regular_20270111T080000Z", "regular_20270118T080000Z"]);
    let (expanded, _) = google.list(JANUARY).await;
    let starts: Vec<_> = expanded.iter().map(|item| item["start"]["dateTime"].as_str().unwrap()).collect();
    assert_eq!(starts, ["2027-01-04T09:00:00+01:00", "2027-01-12T15:00:00+01:00", "2027-01-25T09:00:00+01:00"]);
    let instances = google.get("calendars/primary/events/regular/instances?showDeleted=true").await.ok();
    assert_eq!(instances["items"].as_array().unwrap().len(), 4);
    let one =
        google.get("calendars/primary/events/regular/instances?originalStart=2027-01-11T09:00:00%2B01:00").await.ok();
    assert_eq!(ids(one["items"].as_array().unwrap()), ["regular_20270111T080000Z"]);
}

#[tokio::test]
async fn a_series_that_begins_at_the_second_of_two_equal_times_begins_there() {
    let google = Google::start().await;
    let time = |text: &str| json!({ "dateTime": text, "timeZone": "America/New_York" });
    let event = json!({
        "id": "second", "recurrence": ["RRULE:FREQ=DAILY;COUNT=2"],
        "start": time("2027-11-07T01:30:00-05:00"), "end": time("2027-11-07T02:00:00-05:00"),
    });
    google.insert(event).await;
    let instances = google.get("calendars/primary/events/second/instances").await.ok();
    let found = ids(instances["items"].as_array().unwrap());
    assert_eq!(found, ["second_20271107T063000Z", "second_20271108T063000Z"]);
}

#[tokio::test]
async fn a_cancelled_instance_can_come_back() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=4")).await;
    let path = "calendars/primary/events/regular_20270111T080000Z";
    google.delete(path).await;
    let back = google.patch(path, json!({ "status": "confirmed" })).await.ok();
    assert_eq!(
        (&back["summary"], &back["start"]["dateTime"]),
        (&json!("regular"), &json!("2027-01-11T09:00:00+01:00"))
    );
    assert_eq!(google.list(JANUARY).await.0.len(), 4);
}

#[tokio::test]
async fn deleting_a_series_leaves_one_tombstone_and_no_instance() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=4")).await;
    google.delete("calendars/primary/events/regular_20270111T080000Z").await;
    google.patch("calendars/primary/events/regular_20270118T080000Z", json!({ "summary": "other" })).await.ok();
    let token = google.sync_token().await;
    assert_eq!(google.delete("calendars/primary/events/regular").await.status, 204);
    let (changed, _) = google.changes(&token).await;
    assert_eq!(ids(&changed), ["regular"]);
    assert!(google.list("").await.0.is_empty());
    assert!(google.list(JANUARY).await.0.is_empty());
    assert_eq!(google.get("calendars/primary/events/regular_20270125T080000Z").await.status, 404);
}

#[tokio::test]
async fn a_series_that_is_split_or_moved_loses_the_exceptions_it_no_longer_has_room_for() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=4")).await;
    for day in ["11", "25"] {
        google
            .patch(&format!("calendars/primary/events/regular_202701{day}T080000Z"), json!({ "summary": day }))
            .await
            .ok();
    }
    let cut = json!({ "recurrence": ["RRULE:FREQ=WEEKLY;UNTIL=20270117T225959Z"] });
    google.patch("calendars/primary/events/regular", cut).await.ok();
    google.insert(series("regularr", 18, 14, "RRULE:FREQ=WEEKLY;COUNT=2")).await;
    let (plain, _) = google.list("").await;
    assert_eq!(sorted_ids(&plain), ["regular", "regular_20270111T080000Z", "regularr"]);
    assert_eq!(google.list(JANUARY).await.0.len(), 4);
}

#[tokio::test]
async fn a_loaded_calendar_keeps_its_exceptions_whatever_their_order() {
    let mut exception = timed("moved", 13, 9);
    exception["recurringEventId"] = json!("regular");
    exception["originalStartTime"] = json!({ "dateTime": "2027-01-11T08:00:00Z" });
    let hole = json!({
        "id": "whatever", "status": "cancelled", "recurringEventId": "regular",
        "originalStartTime": { "dateTime": "2027-01-18T09:00:00", "timeZone": "Europe/Berlin" },
    });
    let days = json!({
        "id": "allout", "start": { "date": "2027-01-29" }, "end": { "date": "2027-01-30" }, "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"],
    });
    let days_hole =
        json!({ "status": "cancelled", "recurringEventId": "allout", "originalStartTime": { "date": "2027-01-30" } });
    let events = vec![exception, hole, series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=4"), days, days_hole];
    let google = Google::with(Options::default(), events).await;
    let (items, _) = google.list(JANUARY).await;
    let wanted = [
        "regular_20270104T080000Z",
        "regular_20270111T080000Z",
        "regular_20270125T080000Z",
        "allout_20270129",
        "allout_20270131",
    ];
    assert_eq!(ids(&items), wanted);
}

#[tokio::test]
async fn free_busy_merges_what_blocks_and_names_what_it_cannot_know() {
    let google = Google::start().await;
    let with = |mut event: Value, field: &str, value: Value| {
        event[field] = value;
        event
    };
    google.insert(timed("a", 4, 9)).await;
    google.insert(timed("b", 4, 10)).await;
    google.insert(with(timed("tentative", 4, 13), "status", json!("tentative"))).await;
    google.insert(with(timed("free", 4, 15), "transparency", json!("transparent"))).await;
    let declined = json!([{ "email": ANNA, "responseStatus": "declined" }]);
    google.insert(with(timed("declined", 4, 17), "attendees", declined)).await;
    google.insert(json!({ "start": { "date": "2027-01-05" }, "end": { "date": "2027-01-06" } })).await;
    google.insert(series("regular", 4, 20, "RRULE:FREQ=DAILY;COUNT=3")).await;
    google.delete("calendars/primary/events/regular_20270104T190000Z").await;
    let body = json!({
        "timeMin": "2027-01-04T09:30:00+01:00", "timeMax": "2027-01-06T23:00:00+01:00", "timeZone": "Europe/Berlin",
        "items": [{ "id": ANNA }, { "id": "nobody@example.com" }],
    });
    let answer = google.post("freeBusy", body).await.ok();
    let block = |start: &str, end: &str| json!({ "start": format!("2027-01-{start}:00+01:00"), "end": format!("2027-01-{end}:00+01:00") });
    let wanted = [
        block("04T09:30", "04T11:00"),
        block("04T13:00", "04T14:00"),
        block("05T00:00", "06T00:00"),
        block("06T20:00", "06T21:00"),
    ];
    assert_eq!(answer["calendars"][ANNA]["busy"], json!(wanted));
    let unknown = json!({ "errors": [{ "domain": "global", "reason": "notFound" }], "busy": [] });
    assert_eq!(answer["calendars"]["nobody@example.com"], unknown);
    for (body, reason) in [
        (json!({ "timeMax": "2027-01-06T23:00:00Z" }), "required"),
        (json!({ "timeMin": "2027-01-06T23:00:00Z", "timeMax": "2027-01-06T23:00:00Z" }), "timeRangeEmpty"),
        (json!({ "timeMin": "2027-01-06T23:00:00Z", "timeMax": "2027-12-06T23:00:00Z" }), "timeRangeTooLong"),
    ] {
        assert_eq!(google.post("freeBusy", body).await.refusal(), (400, reason.into()));
    }
}
