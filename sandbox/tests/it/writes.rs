use axum::http::Method;
use serde_json::json;
use slotd_sandbox::{NewCalendar, Role};

use crate::harness::{ANNA, Google, timed};

#[tokio::test]
async fn an_inserted_event_comes_back_whole_and_in_the_calendars_zone() {
    let google = Google::start().await;
    let answer = google
        .post(
            "calendars/primary/events?fields=*",
            json!({
                "summary": "Cut", "start": { "dateTime": "2027-07-01T08:00:00Z" }, "end": { "dateTime": "2027-07-01T09:00:00Z" },
                "attendees": [{ "email": ANNA, "responseStatus": "accepted" }, { "email": "kim@example.com", "self": true }],
            }),
        )
        .await
        .ok();
    assert_eq!(answer["start"], json!({ "dateTime": "2027-07-01T10:00:00+02:00", "timeZone": "Europe/Berlin" }));
    assert_eq!(answer["attendees"][0]["self"], true);
    assert!(answer["attendees"][1].get("self").is_none());
    let id = answer["id"].as_str().unwrap();
    assert_eq!(answer["iCalUID"], format!("{id}@google.com"));
    assert_eq!(answer["organizer"], json!({ "email": ANNA, "self": true }));
    for (field, value) in [("kind", "calendar#event"), ("status", "confirmed"), ("eventType", "default")] {
        assert_eq!(answer[field], value);
    }
    let updated = answer["updated"].as_str().unwrap();
    assert_eq!(updated.len(), "2027-01-01T00:00:00.000Z".len(), "{updated}");
    let shown = google.get(&format!("calendars/anna%40salon.example/events/{id}?timeZone=America/New_York")).await.ok();
    assert_eq!(shown["start"]["dateTime"], "2027-07-01T04:00:00-04:00");
}

#[tokio::test]
async fn an_id_is_taken_for_good_and_deleting_twice_says_so() {
    let google = Google::start().await;
    let mut event = timed("Cut", 4, 9);
    event["id"] = json!("a0b1c2");
    google.insert(event.clone()).await;
    assert_eq!(google.post("calendars/primary/events", event.clone()).await.refusal(), (409, "duplicate".into()));
    let gone = google.delete("calendars/primary/events/a0b1c2").await;
    assert_eq!((gone.status, gone.bytes.len()), (204, 0));
    assert_eq!(google.delete("calendars/primary/events/a0b1c2").await.refusal(), (410, "deleted".into()));
    assert_eq!(google.post("calendars/primary/events", event).await.refusal(), (409, "duplicate".into()));
    assert_eq!(google.delete("calendars/primary/events/zzzzz").await.refusal(), (404, "notFound".into()));
    assert_eq!(google.get("calendars/primary/events/a0b1c2").await.ok()["status"], "cancelled");

    let revived = google.patch("calendars/primary/events/a0b1c2", json!({ "status": "confirmed" })).await.ok();
    assert_eq!((&revived["status"], &revived["summary"]), (&json!("confirmed"), &json!("Cut")));
    let cancelled = google.patch("calendars/primary/events/a0b1c2", json!({ "status": "cancelled" })).await.ok();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(google.delete("calendars/primary/events/a0b1c2").await.status, 410);
}

#[tokio::test]
async fn ids_of_clients_have_googles_alphabet_and_length() {
    let google = Google::start().await;
    let long = "a".repeat(1025);
    for id in ["abcd", "ABCDE", "wxyz0", "with-dash", long.as_str()] {
        let mut event = timed("Cut", 4, 9);
        event["id"] = json!(id);
        let answer = google.post("calendars/primary/events", event).await;
        assert_eq!(answer.refusal(), (400, "invalid".into()), "{id}");
        assert_eq!(answer.json()["error"]["message"], "Invalid resource id value.");
    }
}

#[tokio::test]
async fn an_etag_changes_with_every_write_and_guards_it() {
    let google = Google::start().await;
    let first = google.insert(timed("Cut", 4, 9)).await;
    let path = format!("calendars/primary/events/{}", first["id"].as_str().unwrap());
    let old = first["etag"].as_str().unwrap();
    assert!(old.starts_with('"') && old.ends_with('"'));

    let second =
        google.call(Method::PATCH, &path, &[("if-match", old)], Some(json!({ "summary": "Color" }))).await.ok();
    let new = second["etag"].as_str().unwrap();
    assert_ne!(old, new);
    for (method, body) in [
        (Method::PATCH, Some(json!({ "summary": "x" }))),
        (Method::PUT, Some(timed("x", 4, 9))),
        (Method::DELETE, None),
    ] {
        let answer = google.call(method, &path, &[("if-match", old)], body).await;
        assert_eq!(answer.refusal(), (412, "conditionNotMet".into()));
    }
    assert_eq!(google.call(Method::GET, &path, &[("if-none-match", new)], None).await.status, 304);
    assert_eq!(google.call(Method::GET, &path, &[("if-none-match", old)], None).await.header("etag"), new);
    assert_eq!(google.call(Method::DELETE, &path, &[("if-match", "*")], None).await.status, 204);
}

#[tokio::test]
async fn a_patch_merges_and_an_update_replaces() {
    let google = Google::start().await;
    let mut event = timed("Cut", 4, 9);
    event["description"] = json!("short");
    event["extendedProperties"] = json!({ "private": { "slotd": "7", "other": "8" } });
    let inserted = google.insert(event).await;
    let path = format!("calendars/primary/events/{}", inserted["id"].as_str().unwrap());

    let change =
        json!({ "description": null, "extendedProperties": { "private": { "other": null } }, "location": "Main St" });
    let patched = google.patch(&path, change).await.ok();
    assert!(patched.get("description").is_none());
    assert_eq!(patched["extendedProperties"], json!({ "private": { "slotd": "7" } }));
    assert_eq!(
        (&patched["summary"], &patched["location"], &patched["sequence"]),
        (&json!("Cut"), &json!("Main St"), &json!(0))
    );

    let updated = google.call(Method::PUT, &path, &[], Some(timed("Cut", 5, 9))).await.ok();
    assert!(updated.get("location").is_none() && updated.get("extendedProperties").is_none());
    assert_eq!((&updated["sequence"], &updated["created"]), (&json!(1), &inserted["created"]));
    let mut stale = timed("Cut", 5, 9);
    stale["sequence"] = json!(0);
    let refused = google.call(Method::PUT, &path, &[], Some(stale)).await;
    assert!(refused.json()["error"]["message"].as_str().unwrap().starts_with("Invalid sequence value."));
}

#[tokio::test]
async fn a_calendar_exists_only_for_those_with_a_role_and_shows_what_the_role_may_see() {
    let google = Google::start().await;
    google.sandbox.add_user("ben@salon.example", "Ben");
    let mut private = timed("Doctor", 5, 9);
    private["visibility"] = json!("private");
    let chair = NewCalendar {
        id: Some("chair@group.calendar.google.com".to_owned()),
        summary: "Chair".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        primary: false,
        events: vec![timed("Cut", 4, 9), private],
    };
    let id = google.sandbox.add_calendar("ben@salon.example", chair).unwrap();
    let path = format!("calendars/{id}/events?singleEvents=true");
    assert_eq!(google.get(&path).await.refusal(), (404, "notFound".into()));

    for (role, summaries) in [
        (Role::FreeBusyReader, [None, None]),
        (Role::Reader, [Some("Cut"), None]),
        (Role::Writer, [Some("Cut"), Some("Doctor")]),
    ] {
        assert!(google.sandbox.share(&id, ANNA, role));
        let answer = google.get(&path).await.ok();
        assert_eq!(answer["accessRole"], role.name());
        let shown = [&answer["items"][0], &answer["items"][1]].map(|item| item["summary"].as_str());
        assert_eq!(shown, summaries, "{role:?}");
        assert!(answer["items"][1]["start"]["dateTime"].is_string());
        let write = google.post(&format!("calendars/{id}/events"), timed("New", 6, 9)).await;
        assert_eq!(write.status, if role == Role::Writer { 200 } else { 403 });
    }
    let list = google.get("users/me/calendarList").await.ok();
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(listed, [ANNA, id.as_str()]);
    assert_eq!(google.get("users/me/calendarList/primary").await.ok()["id"], ANNA);
    assert_eq!(google.get("calendars/primary").await.ok()["timeZone"], "Europe/Berlin");
}
