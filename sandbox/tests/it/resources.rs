//! What becomes of event resources: kinds, properties, copies of others, moves between calendars, the trash.

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{NewCalendar, Options, Role};

use crate::harness::{ANNA, Google, ids, series, timed};

const EVENTS: &str = "calendars/primary/events";

fn spa(google: &Google) -> String {
    let spa = NewCalendar { summary: "Spa".to_owned(), time_zone: "Asia/Tokyo".to_owned(), ..Default::default() };
    google.sandbox.add_calendar(ANNA, spa).unwrap()
}

#[tokio::test]
async fn status_events_are_for_primary_calendars_and_their_type_stays() {
    let google = Google::start().await;
    let spa = spa(&google);
    let mut away = timed("Away", 4, 9);
    away["eventType"] = json!("outOfOffice");
    let elsewhere = google.post(&format!("calendars/{spa}/events"), away.clone()).await;
    assert_eq!(elsewhere.refusal(), (400, "invalid".into()));
    let made = google.insert(away).await;
    let path = format!("{EVENTS}/{}", made["id"].as_str().unwrap());
    for change in [json!({ "eventType": "default" }), json!({ "transparency": "transparent" })] {
        assert_eq!(google.patch(&path, change.clone()).await.refusal(), (400, "invalid".into()), "{change}");
    }
    let mut far = json!({ "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-06" } });
    far["eventType"] = json!("workingLocation");
    assert_eq!(google.post(EVENTS, far).await.refusal(), (400, "malformedWorkingLocationEvent".into()));
}

#[tokio::test]
async fn extended_properties_have_googles_limits() {
    let google = Google::start().await;
    let with = |count: usize, length: usize| {
        let all: serde_json::Map<_, _> = (0..count).map(|n| (format!("k{n}"), json!("x".repeat(length)))).collect();
        let mut event = timed("Cut", 4, 9);
        event["extendedProperties"] = json!({ "private": all });
        event
    };
    for (count, length, fine) in [(300, 1, true), (301, 1, false), (30, 1024, true), (40, 1024, false)] {
        let answer = google.post(EVENTS, with(count, length)).await;
        assert_eq!(answer.status, if fine { 200 } else { 400 }, "{count} of {length}");
    }
    let mut event = timed("Cut", 4, 9);
    event["extendedProperties"] = json!({ "shared": { "k".repeat(45): "dropped", "k".repeat(44): "é".repeat(1025) } });
    let shared = google.insert(event).await["extendedProperties"]["shared"].clone();
    assert_eq!(shared, json!({ "k".repeat(44): "é".repeat(1024) }));
}

#[tokio::test]
async fn an_import_is_a_copy_known_by_its_uid_whose_shared_properties_are_the_organizers() {
    let google = Google::start().await;
    let mut congress = timed("Congress", 4, 9);
    congress["iCalUID"] = json!("congress@elsewhere.example");
    congress["organizer"] = json!({ "email": "host@elsewhere.example", "displayName": "Host" });
    congress["extendedProperties"] = json!({ "shared": { "room": "1" } });
    let import = "calendars/primary/events/import";
    let copy = google.post(import, congress.clone()).await.ok();
    assert_eq!(copy["organizer"], json!({ "email": "host@elsewhere.example", "displayName": "Host" }));
    congress["summary"] = json!("Congress, moved");
    let again = google.post(import, congress.clone()).await.ok();
    assert_eq!((&again["id"], &again["summary"]), (&copy["id"], &json!("Congress, moved")));
    let (found, _) = google.list("iCalUID=congress@elsewhere.example").await;
    assert_eq!(ids(&found), [copy["id"].as_str().unwrap()]);
    assert_eq!(google.list("q=elsewhere.example").await.0.len(), 1, "organizers are searched");

    let path = format!("{EVENTS}/{}", copy["id"].as_str().unwrap());
    let reset = google.call(Method::PUT, &path, &[], Some(timed("Mine", 4, 9))).await;
    assert_eq!(reset.refusal(), (403, "forbiddenForNonOrganizer".into()));
    let own = google.patch(&path, json!({ "summary": "Mine" })).await.ok();
    assert_eq!((&own["summary"], &own["organizer"]["email"]), (&json!("Mine"), &json!("host@elsewhere.example")));
    congress.as_object_mut().unwrap().remove("iCalUID");
    assert_eq!(google.post(import, congress).await.refusal(), (400, "required".into()));
}

#[tokio::test]
async fn a_series_moves_with_its_exceptions_and_leaves_a_stub_of_which_only_the_id_is_left() {
    let google = Google::start().await;
    let spa = spa(&google);
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=3")).await;
    google.patch(&format!("{EVENTS}/regular_20270111T080000Z"), json!({ "summary": "other" })).await.ok();
    google.delete(&format!("{EVENTS}/regular_20270118T080000Z")).await;
    let token = google.sync_token().await;
    let to = |id: &str, calendar: &str| format!("{EVENTS}/{id}/move?destination={calendar}");
    let instance = google.post(&to("regular_20270104T080000Z", &spa), Value::Null).await;
    assert_eq!(instance.refusal(), (400, "invalid".into()));
    assert_eq!(google.post(&to("regular", ANNA), Value::Null).await.refusal(), (400, "invalid".into()));
    assert_eq!(google.post(&to("regular", "nowhere"), Value::Null).await.refusal(), (404, "notFound".into()));
    assert_eq!(google.post(&to("nothing", &spa), Value::Null).await.refusal(), (404, "notFound".into()));

    let moved = google.post(&to("regular", &spa), Value::Null).await.ok();
    assert_eq!((&moved["id"], &moved["iCalUID"]), (&json!("regular"), &json!("regular@google.com")));
    assert_eq!(moved["organizer"], json!({ "email": spa, "displayName": "Spa", "self": true }));
    let (left, _) = google.changes(&token).await;
    let stub = left[0].as_object().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(stub.keys().collect::<Vec<_>>(), ["etag", "id", "kind", "status"]);
    let there = google.get(&format!("calendars/{spa}/events?singleEvents=true")).await.ok();
    let there: Vec<_> = there["items"].as_array().unwrap().iter().map(|item| &item["summary"]).collect();
    assert_eq!(there, ["regular", "other"]);
    let back = google.post(&format!("calendars/{spa}/events/regular/move?destination=primary"), Value::Null).await;
    assert_eq!(back.refusal(), (409, "duplicate".into()), "the stub has the id");
}

#[tokio::test]
async fn what_was_in_an_emptied_trash_cannot_come_back_and_keeps_its_id() {
    let google = Google::start().await;
    let mut event = timed("Cut", 4, 9);
    event["id"] = json!("a0b1c2");
    google.insert(event.clone()).await;
    let token = google.sync_token().await;
    let path = format!("{EVENTS}/a0b1c2");
    google.delete(&path).await;
    assert!(google.sandbox.empty_trash(ANNA) && !google.sandbox.empty_trash("nowhere"));
    let revive = json!({ "status": "confirmed" });
    assert_eq!(google.patch(&path, revive).await.refusal(), (403, "forbidden".into()));
    assert_eq!(google.call(Method::PUT, &path, &[], Some(event.clone())).await.refusal(), (403, "forbidden".into()));
    assert_eq!(google.get(&path).await.refusal(), (404, "notFound".into()));
    assert_eq!(google.post(EVENTS, event).await.refusal(), (409, "duplicate".into()));
    assert!(google.list("showDeleted=true").await.0.is_empty());
    assert_eq!(ids(&google.changes(&token).await.0), ["a0b1c2"]);
}

#[tokio::test]
async fn incremental_lists_may_keep_the_details_of_the_deleted() {
    let google = Google::with(Options { full_tombstones: true, ..Options::default() }, Vec::new()).await;
    let id = google.insert(timed("Cut", 4, 9)).await["id"].as_str().unwrap().to_owned();
    let token = google.sync_token().await;
    google.delete(&format!("{EVENTS}/{id}")).await;
    let (changed, _) = google.changes(&token).await;
    assert_eq!((&changed[0]["status"], &changed[0]["summary"]), (&json!("cancelled"), &json!("Cut")));
}

#[tokio::test]
async fn a_quick_event_carries_its_text() {
    let google = Google::start().await;
    let added = google.post(&format!("{EVENTS}/quickAdd?text=Coffee+with+Kim"), Value::Null).await.ok();
    assert_eq!(added["summary"], "Coffee with Kim");
    assert!(added["start"]["dateTime"].as_str().unwrap().contains(":00:00+"));
    assert_eq!(google.post(&format!("{EVENTS}/quickAdd"), Value::Null).await.refusal(), (400, "required".into()));
}

#[tokio::test]
async fn what_is_hidden_from_a_reader_cannot_be_searched_by_the_reader() {
    let google = Google::start().await;
    google.sandbox.add_user("ben@salon.example", "Ben");
    let mut doctor = timed("Doctor", 4, 9);
    doctor["visibility"] = json!("private");
    let chair = NewCalendar {
        summary: "Chair".to_owned(),
        time_zone: "UTC".to_owned(),
        events: vec![doctor, timed("Cut", 4, 11)],
        ..Default::default()
    };
    let chair = google.sandbox.add_calendar("ben@salon.example", chair).unwrap();
    for (role, found) in [(Role::FreeBusyReader, [0, 0]), (Role::Reader, [0, 1]), (Role::Writer, [1, 1])] {
        assert!(google.sandbox.share(&chair, ANNA, role));
        for (word, found) in ["doctor", "cut"].into_iter().zip(found) {
            let answer = google.get(&format!("calendars/{chair}/events?q={word}")).await.ok();
            assert_eq!(answer["items"].as_array().unwrap().len(), found, "{word} as {role:?}");
        }
    }
}

#[tokio::test]
async fn a_list_is_cut_at_2500_and_attendees_may_be_left_out_but_not_oneself() {
    let events = (0..2501).map(|number| timed("Cut", 1 + number % 28, number % 23)).collect();
    let google = Google::with(Options::default(), events).await;
    let page = google.get(&format!("{EVENTS}?maxResults=9999")).await.ok();
    assert_eq!(page["items"].as_array().unwrap().len(), 2500);
    assert!(page["nextPageToken"].is_string() && page.get("nextSyncToken").is_none());

    let mut team = timed("Team", 4, 9);
    let guests = ["kim@example.com", "lou@example.com", ANNA];
    team["attendees"] = guests.iter().map(|email| json!({ "email": email })).collect();
    let made = google.insert(team).await;
    assert!(made.get("attendeesOmitted").is_none());
    let shown = google.get(&format!("{EVENTS}/{}?maxAttendees=1", made["id"].as_str().unwrap())).await.ok();
    let shown_guests: Vec<_> =
        shown["attendees"].as_array().unwrap().iter().map(|guest| guest["email"].as_str().unwrap()).collect();
    assert_eq!((shown_guests.contains(&ANNA), &shown["attendeesOmitted"]), (true, &json!(true)));
    assert!(shown_guests.len() < 3);
}

#[tokio::test]
async fn what_the_owner_declined_or_made_free_is_not_busy() {
    let google = Google::start().await;
    let mut declined = timed("Declined", 4, 9);
    declined["attendees"] = json!([{ "email": ANNA, "responseStatus": "declined" }, { "email": "kim@example.com" }]);
    let mut unanswered = timed("Unanswered", 4, 11);
    unanswered["attendees"] = json!([{ "email": ANNA }]);
    let mut free = timed("Free", 4, 13);
    free["transparency"] = json!("transparent");
    let mut tentative = timed("Tentative", 4, 15);
    tentative["status"] = json!("tentative");
    for event in [declined, unanswered, free, tentative] {
        google.insert(event).await;
    }
    let day =
        json!({ "timeMin": "2027-01-04T00:00:00Z", "timeMax": "2027-01-05T00:00:00Z", "items": [{ "id": ANNA }] });
    let answer = google.post("freeBusy", day).await.ok();
    let busy: Vec<_> = answer["calendars"][ANNA]["busy"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["start"].as_str().unwrap())
        .collect();
    assert_eq!(busy, ["2027-01-04T10:00:00Z", "2027-01-04T14:00:00Z"]);
}

#[tokio::test]
async fn instances_of_whole_days_are_edited_by_their_ids() {
    let google = Google::start().await;
    let mut plants = json!({ "id": "plants", "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-05" } });
    plants["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=4"]);
    google.insert(plants).await;
    let moved = json!({ "start": { "date": "2027-01-20" }, "end": { "date": "2027-01-22" } });
    let moved = google.patch(&format!("{EVENTS}/plants_20270105"), moved).await.ok();
    assert_eq!(moved["originalStartTime"], json!({ "date": "2027-01-05" }));
    assert_eq!((&moved["recurringEventId"], &moved["iCalUID"]), (&json!("plants"), &json!("plants@google.com")));
    assert_eq!(google.delete(&format!("{EVENTS}/plants_20270106")).await.status, 204);
    let timed_instance = google.get(&format!("{EVENTS}/plants_20270105T000000Z")).await;
    assert_eq!(timed_instance.refusal(), (404, "notFound".into()));
    let window = "singleEvents=true&timeMin=2027-01-01T00:00:00Z&timeMax=2027-02-01T00:00:00Z";
    let (items, _) = google.list(window).await;
    assert_eq!(ids(&items), ["plants_20270104", "plants_20270107", "plants_20270105"]);
}

#[tokio::test]
async fn an_event_that_is_written_after_its_calendar_moved_has_not_moved_itself() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=3")).await;
    google.patch(&format!("{EVENTS}/regular_20270111T080000Z"), json!({ "summary": "other" })).await.ok();
    assert!(google.sandbox.set_time_zone(ANNA, "America/New_York"));
    let renamed = google.patch(&format!("{EVENTS}/regular"), json!({ "summary": "renamed" })).await.ok();
    assert_eq!((&renamed["sequence"], &renamed["start"]["timeZone"]), (&json!(0), &json!("Europe/Berlin")));
    assert_eq!(renamed["start"]["dateTime"], "2027-01-04T03:00:00-05:00");
    assert_eq!(google.list("").await.0.len(), 2, "the exception is still there");
}
