//! Calendars as a whole: who has which role, and what is in whose list.

use axum::http::Method;
use serde_json::{Value, json};
use slotd_sandbox::{NewCalendar, Role};

use crate::harness::{ANNA, Google, ids, timed};

const BEN: &str = "ben@salon.example";
const CHAIR: &str = "chair@group.calendar.google.com";

/// Ben's chair with one event and a day off, shared with Anna.
async fn with_chair() -> Google {
    let google = Google::start().await;
    google.sandbox.add_user(BEN, "Ben");
    let day = json!({ "summary": "Fair", "start": { "date": "2027-01-05" }, "end": { "date": "2027-01-06" } });
    let chair = NewCalendar {
        id: Some(CHAIR.to_owned()),
        summary: "Chair".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        primary: false,
        events: vec![timed("Cut", 4, 9), day],
    };
    google.sandbox.add_calendar(BEN, chair).unwrap();
    assert!(google.sandbox.share(CHAIR, ANNA, Role::Reader));
    google
}

async fn list(google: &Google, query: &str) -> (Vec<Value>, String) {
    let answer = google.get(&format!("users/me/calendarList?{query}")).await.ok();
    let token = answer["nextSyncToken"].as_str().unwrap_or_default().to_owned();
    (answer["items"].as_array().unwrap().clone(), token)
}

#[tokio::test]
async fn a_role_that_changes_ends_sync_tokens_and_shows_other_things() {
    let google = with_chair().await;
    let events = format!("calendars/{CHAIR}/events");
    let token = async || google.get(&events).await.ok()["nextSyncToken"].as_str().unwrap().to_owned();
    let old = token().await;
    let (_, listed) = list(&google, "").await;

    assert!(google.sandbox.share(CHAIR, ANNA, Role::FreeBusyReader));
    let ended = google.get(&format!("{events}?syncToken={old}")).await;
    assert_eq!(ended.refusal(), (410, "fullSyncRequired".into()));
    let stripped = google.get(&events).await.ok();
    assert_eq!(stripped["accessRole"], "freeBusyReader");
    assert!(stripped["items"].as_array().unwrap().iter().all(|event| event.get("summary").is_none()));
    let fresh = token().await;
    assert_eq!(google.get(&format!("{events}?syncToken={fresh}")).await.status, 200);
    // A role is no part of the entry that an incremental list of calendars would tell.
    assert!(list(&google, &format!("syncToken={listed}")).await.0.is_empty());
    assert_eq!(google.get(&format!("users/me/calendarList/{CHAIR}")).await.ok()["accessRole"], "freeBusyReader");

    assert!(google.sandbox.unshare(CHAIR, ANNA));
    assert!(!google.sandbox.unshare(CHAIR, ANNA));
    let insert = google.post(&events, timed("New", 6, 9)).await;
    for answer in [google.get(&events).await, insert, google.get(&format!("users/me/calendarList/{CHAIR}")).await] {
        assert_eq!(answer.refusal(), (404, "notFound".into()));
    }
    assert_eq!(ids(&list(&google, "").await.0), [ANNA]);
    let (changed, _) = list(&google, &format!("syncToken={listed}")).await;
    assert_eq!((changed.len(), &changed[0]["id"], &changed[0]["deleted"]), (1, &json!(CHAIR), &json!(true)));
}

#[tokio::test]
async fn a_calendar_may_leave_a_list_and_stay_readable_until_it_is_deleted() {
    let google = with_chair().await;
    let events = format!("calendars/{CHAIR}/events");
    let (_, token) = list(&google, "").await;
    assert!(google.sandbox.remove_calendar(CHAIR, ANNA));
    assert!(!google.sandbox.remove_calendar(ANNA, ANNA), "a primary calendar stays");
    assert_eq!(google.get(&events).await.status, 200);
    assert_eq!(ids(&list(&google, "").await.0), [ANNA]);
    assert_eq!(list(&google, "showDeleted=true").await.0[1]["deleted"], true);
    let (changed, token) = list(&google, &format!("syncToken={token}")).await;
    assert_eq!((ids(&changed), &changed[0]["deleted"]), (vec![CHAIR], &json!(true)));

    assert!(google.sandbox.share(CHAIR, ANNA, Role::Writer));
    assert!(google.sandbox.hide_calendar(CHAIR, ANNA, true));
    assert_eq!(ids(&list(&google, "").await.0), [ANNA]);
    assert_eq!(list(&google, "showHidden=true").await.0[1]["hidden"], true);
    let (changed, token) = list(&google, &format!("syncToken={token}")).await;
    assert_eq!((changed[0].get("deleted"), &changed[0]["hidden"]), (None, &json!(true)));

    assert!(google.sandbox.delete_calendar(CHAIR));
    assert!(!google.sandbox.delete_calendar(CHAIR) && !google.sandbox.delete_calendar(ANNA));
    assert_eq!(google.get(&events).await.refusal(), (404, "notFound".into()));
    assert_eq!(list(&google, &format!("syncToken={token}")).await.0[0]["deleted"], true);
}

#[tokio::test]
async fn a_moved_calendar_keeps_its_instants_and_gives_its_days_other_ones() {
    let google = with_chair().await;
    let (_, listed) = list(&google, "").await;
    let events = format!("calendars/{CHAIR}/events?orderBy=updated");
    assert!(google.sandbox.set_time_zone(CHAIR, "America/New_York"));
    assert!(!google.sandbox.set_time_zone(CHAIR, "Mars/Base") && !google.sandbox.set_time_zone("none", "UTC"));
    let shown = google.get(&events).await.ok();
    assert_eq!(shown["timeZone"], "America/New_York");
    assert_eq!(shown["items"][0]["start"]["dateTime"], "2027-01-04T03:00:00-05:00");
    assert_eq!(shown["items"][1]["start"], json!({ "date": "2027-01-05" }));
    let busy =
        json!({ "timeMin": "2027-01-05T00:00:00Z", "timeMax": "2027-01-07T00:00:00Z", "items": [{ "id": CHAIR }] });
    let busy = google.post("freeBusy", busy).await.ok();
    assert_eq!(busy["calendars"][CHAIR]["busy"][0]["start"], "2027-01-05T05:00:00Z");
    assert_eq!(google.get(&format!("users/me/calendarList/{CHAIR}")).await.ok()["timeZone"], "America/New_York");
    // Neither zone nor title come with an incremental list of calendars.
    assert!(google.sandbox.set_title(CHAIR, "Stool"));
    assert!(list(&google, &format!("syncToken={listed}")).await.0.is_empty());
    assert_eq!(list(&google, "").await.0[1]["summary"], "Stool");
}

#[tokio::test]
async fn the_list_of_calendars_has_googles_rules_for_tokens_and_roles() {
    let google = with_chair().await;
    let (_, token) = list(&google, "showHidden=true").await;
    let refused = async |query: &str| google.get(&format!("users/me/calendarList?{query}")).await.refusal();
    for forbidden in ["minAccessRole=reader", "showOwnOrganizationOnly=true", "showDeleted=false", "showHidden=false"] {
        assert_eq!(refused(&format!("syncToken={token}&{forbidden}")).await, (400, "badRequest".into()), "{forbidden}");
    }
    assert_eq!(refused("syncToken=garbage").await, (400, "invalid".into()));
    assert_eq!(refused("pageToken=garbage").await, (400, "invalid".into()));
    let events_token = google.sync_token().await;
    assert_eq!(refused(&format!("syncToken={events_token}")).await, (400, "invalid".into()), "another list's token");
    assert_eq!(ids(&list(&google, "minAccessRole=writer").await.0), [ANNA]);
    assert_eq!(ids(&list(&google, "minAccessRole=reader").await.0), [ANNA, CHAIR]);
    let page = google.get("users/me/calendarList?maxResults=1").await.ok();
    let page = page["nextPageToken"].as_str().unwrap();
    assert_eq!(refused(&format!("pageToken={page}&minAccessRole=reader")).await, (400, "invalid".into()));
    google.sandbox.faults().expire_sync_tokens("calendarList");
    assert_eq!(refused(&format!("syncToken={token}")).await, (410, "fullSyncRequired".into()));
    assert_eq!(list(&google, &format!("syncToken={}", list(&google, "").await.1)).await.0, Vec::<Value>::new());
}

#[tokio::test]
async fn scripts_change_calendars_over_http() {
    let google = with_chair().await;
    let send = async |method: Method, path: &str, body: Value| {
        let headers = [("content-type", "application/json")];
        let answer = google.try_send(method, &format!("/sandbox/{path}"), &headers, &body.to_string()).await.unwrap();
        (answer.status, answer.json())
    };
    let new = json!({ "owner": ANNA, "summary": "Spa", "timeZone": "UTC", "events": [timed("Bath", 4, 9)] });
    let (status, made) = send(Method::POST, "calendars", new).await;
    let spa = made["id"].as_str().unwrap();
    assert_eq!(status, 201);
    assert_eq!(google.get(&format!("calendars/{spa}/events")).await.ok()["items"][0]["summary"], "Bath");
    let mars = json!({ "owner": ANNA, "summary": "Spa", "timeZone": "Mars/Base" });
    assert_eq!(send(Method::POST, "calendars", mars).await.0, 422);
    let table = [
        (Method::PATCH, format!("calendars/{spa}"), json!({ "summary": "Sauna", "timeZone": "Asia/Tokyo" }), 204),
        (Method::PATCH, format!("calendars/{spa}"), json!({ "timeZone": "Mars/Base" }), 404),
        (Method::PUT, format!("calendars/{spa}/roles/{BEN}"), json!({ "role": "freeBusyReader" }), 204),
        (Method::PUT, format!("calendars/{spa}/roles/{BEN}"), json!({ "role": "king" }), 422),
        (Method::PUT, format!("users/{BEN}/calendars/{spa}"), json!({ "hidden": true }), 204),
        (Method::DELETE, format!("users/{BEN}/calendars/{spa}"), Value::Null, 204),
        (Method::DELETE, format!("users/{BEN}/calendars/{spa}"), Value::Null, 404),
        (Method::DELETE, format!("calendars/{spa}/roles/{BEN}"), Value::Null, 204),
        (Method::DELETE, format!("calendars/{spa}/roles/{BEN}"), Value::Null, 404),
    ];
    for (method, path, body, status) in table {
        assert_eq!(send(method.clone(), &path, body).await.0, status, "{method} {path}");
    }
    let shown = google.get(&format!("users/me/calendarList/{spa}")).await.ok();
    assert_eq!((&shown["summary"], &shown["timeZone"]), (&json!("Sauna"), &json!("Asia/Tokyo")));
    assert_eq!(send(Method::DELETE, &format!("calendars/{spa}"), Value::Null).await.0, 204);
    assert_eq!(google.get(&format!("calendars/{spa}")).await.status, 404);
}
