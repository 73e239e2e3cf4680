use serde_json::{Value, json};
use slotd_sandbox::{NewCalendar, Options};

use crate::harness::{ANNA, Google, ids, series, sorted_ids, timed};

#[tokio::test]
async fn paging_covers_everything_once_and_loses_no_change_made_meanwhile() {
    let google = Google::start().await;
    let mut made = Vec::new();
    for hour in 0..23 {
        made.push(google.insert(timed("Cut", 4, hour)).await["id"].as_str().unwrap().to_owned());
    }
    let mut seen = Vec::new();
    let mut page = String::new();
    let token = loop {
        let answer = google.get(&format!("calendars/primary/events?maxResults=5{page}")).await.ok();
        seen.extend(ids(answer["items"].as_array().unwrap()).into_iter().map(str::to_owned));
        if seen.len() == 5 {
            // One already listed, one not yet, and a new one.
            for id in [&made[22], &made[0]] {
                google.patch(&format!("calendars/primary/events/{id}"), json!({ "summary": "changed" })).await.ok();
            }
            made.push(google.insert(timed("late", 5, 9)).await["id"].as_str().unwrap().to_owned());
        }
        match answer["nextPageToken"].as_str() {
            Some(token) => page = format!("&pageToken={token}"),
            None => break answer["nextSyncToken"].as_str().unwrap().to_owned(),
        }
    };
    let listed = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), listed, "an event was listed twice");
    let (changed, _) = google.changes(&token).await;
    let mut both: Vec<&str> = seen.iter().map(String::as_str).chain(ids(&changed)).collect();
    both.sort_unstable();
    both.dedup();
    made.sort();
    assert_eq!(both, made);
    assert_eq!(changed.len(), 3);
}

#[tokio::test]
async fn an_incremental_list_has_the_latest_state_of_each_change_and_skeletons_of_the_deleted() {
    let google = Google::start().await;
    let kept = google.insert(timed("kept", 4, 9)).await;
    let gone = google.insert(timed("gone", 4, 10)).await;
    google.insert(timed("untouched", 4, 11)).await;
    let token = google.sync_token().await;
    assert_eq!(google.changes(&token).await.0, Vec::<Value>::new());

    let path = |event: &Value| format!("calendars/primary/events/{}", event["id"].as_str().unwrap());
    google.patch(&path(&kept), json!({ "summary": "first" })).await.ok();
    google.patch(&path(&kept), json!({ "summary": "second" })).await.ok();
    google.delete(&path(&gone)).await;
    let (changed, next) = google.changes(&token).await;
    assert_eq!(changed.len(), 2);
    let tombstone = changed.iter().find(|item| item["id"] == gone["id"]).unwrap();
    let fields: Vec<_> = tombstone.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["etag", "id", "kind", "status"]);
    assert_eq!(changed.iter().find(|item| item["id"] == kept["id"]).unwrap()["summary"], "second");
    // The same token again gives the same again; the next one gives nothing.
    assert_eq!(google.changes(&token).await.0, changed);
    assert!(google.changes(&next).await.0.is_empty());

    let (plain, _) = google.list("").await;
    assert!(!ids(&plain).contains(&gone["id"].as_str().unwrap()));
    let (all, _) = google.list("showDeleted=true").await;
    assert_eq!(all.iter().find(|item| item["id"] == gone["id"]).unwrap()["summary"], "gone");
}

#[tokio::test]
async fn a_sync_token_is_good_for_its_query_only_and_ends_on_demand() {
    let google = Google::start().await;
    google.insert(timed("Cut", 4, 9)).await;
    let token = google.sync_token().await;
    let refused = async |query: &str| google.get(&format!("calendars/primary/events?{query}")).await.refusal();
    for parameter in [
        "iCalUID=x",
        "orderBy=updated",
        "privateExtendedProperty=a%3Db",
        "q=x",
        "sharedExtendedProperty=a%3Db",
        "timeMin=2027-01-01T00:00:00Z",
        "timeMax=2027-01-01T00:00:00Z",
        "updatedMin=2027-01-01T00:00:00Z",
        "showDeleted=false",
    ] {
        assert_eq!(refused(&format!("syncToken={token}&{parameter}")).await, (400, "badRequest".into()), "{parameter}");
    }
    for query in [
        "syncToken=garbage".to_owned(),
        format!("syncToken={token}&singleEvents=true"),
        format!("syncToken={token}&eventTypes=default"),
    ] {
        let answer = google.get(&format!("calendars/primary/events?{query}")).await;
        assert_eq!(answer.json()["error"]["message"], "Invalid sync token value.", "{query}");
    }
    assert_eq!(refused("pageToken=garbage").await, (400, "invalid".into()));

    google.sandbox.faults().expire_sync_tokens(crate::harness::ANNA);
    assert_eq!(refused(&format!("syncToken={token}")).await, (410, "fullSyncRequired".into()));
    let fresh = google.sync_token().await;
    assert!(google.changes(&fresh).await.0.is_empty());
}

#[tokio::test]
async fn a_list_can_be_narrowed_and_ordered() {
    let google = Google::start().await;
    let mut away = timed("Away", 6, 9);
    away["eventType"] = json!("outOfOffice");
    let mut marked = timed("Marked appointment", 5, 9);
    marked["extendedProperties"] = json!({ "private": { "slotd": "b7" } });
    google.insert(marked).await;
    google.insert(away).await;
    google.insert(timed("Cut", 4, 9)).await;
    google.insert(series("regular", 4, 12, "RRULE:FREQ=WEEKLY;COUNT=3")).await;
    let table = [
        ("privateExtendedProperty=slotd%3Db7", vec!["Marked appointment"]),
        ("eventTypes=outOfOffice", vec!["Away"]),
        ("q=APPOINT", vec!["Marked appointment"]),
        ("timeMin=2027-01-05T10:00:00%2B01:00&timeMax=2027-01-06T09:30:00%2B01:00", vec!["Away"]),
        ("timeMin=2027-01-18T00:00:00Z", vec!["regular"]),
        (
            "singleEvents=true&orderBy=startTime&timeMax=2027-01-12T00:00:00Z",
            vec!["Cut", "regular", "Marked appointment", "Away", "regular"],
        ),
        ("orderBy=updated", vec!["Marked appointment", "Away", "Cut", "regular"]),
    ];
    for (query, wanted) in table {
        let (items, last) = google.list(&format!("maxResults=2&{query}")).await;
        let found: Vec<_> = items.iter().map(|item| item["summary"].as_str().unwrap()).collect();
        assert_eq!(found, wanted, "{query}");
        assert_eq!(last.get("nextSyncToken").is_none(), query.contains("orderBy"), "{query}");
    }
    let slim =
        google.get("calendars/primary/events?fields=items(id,start/dateTime),nextSyncToken&maxResults=1").await.ok();
    assert_eq!(slim.as_object().unwrap().keys().collect::<Vec<_>>(), ["items"]);
    assert_eq!(slim["items"][0].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn the_list_of_calendars_is_paged_and_has_sync_tokens() {
    let google = Google::start().await;
    let add = |name: &str| {
        let calendar = slotd_sandbox::NewCalendar {
            id: Some(format!("{name}@group.calendar.google.com")),
            summary: name.to_owned(),
            time_zone: "UTC".to_owned(),
            ..Default::default()
        };
        google.sandbox.add_calendar(crate::harness::ANNA, calendar).unwrap()
    };
    add("one");
    let first = google.get("users/me/calendarList?maxResults=1").await.ok();
    assert_eq!((first["items"].as_array().unwrap().len(), first.get("nextSyncToken")), (1, None));
    let page = first["nextPageToken"].as_str().unwrap();
    let second = google.get(&format!("users/me/calendarList?maxResults=1&pageToken={page}")).await.ok();
    let token = second["nextSyncToken"].as_str().unwrap();
    let two = add("two");
    let changed = google.get(&format!("users/me/calendarList?syncToken={token}")).await.ok();
    assert_eq!(ids(changed["items"].as_array().unwrap()), [two]);
}

#[tokio::test]
async fn deleted_events_are_shown_on_demand_in_their_time_and_never_as_series() {
    let google = Google::start().await;
    google.insert(series("regular", 4, 9, "RRULE:FREQ=WEEKLY;COUNT=3")).await;
    google.insert(series("another", 4, 12, "RRULE:FREQ=WEEKLY;COUNT=3")).await;
    let gone = google.insert(timed("gone", 5, 9)).await["id"].as_str().unwrap().to_owned();
    let hole = "regular_20270111T080000Z";
    for id in [gone.as_str(), hole, "another"] {
        assert_eq!(google.delete(&format!("calendars/primary/events/{id}")).await.status, 204);
    }
    let week = "timeMin=2027-01-04T00:00:00Z&timeMax=2027-01-11T00:00:00Z";
    let table = [
        ("", vec![hole, "regular"]),
        ("showDeleted=true", vec!["another", hole, &gone, "regular"]),
        (week, vec!["regular"]),
        (&format!("{week}&showDeleted=true"), vec!["another", &gone, "regular"]),
        (&format!("{week}&showDeleted=true&singleEvents=true"), vec!["regular_20270104T080000Z", &gone]),
    ];
    for (query, mut wanted) in table {
        wanted.sort_unstable();
        assert_eq!(sorted_ids(&google.list(query).await.0), wanted, "{query}");
    }
    let since = google.get("calendars/primary/events?updatedMin=2000-01-01T00:00:00Z").await.ok();
    assert_eq!(since["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_order_of_a_list_is_shuffled_by_its_seed_and_exceptions_may_come_first_and_on_other_pages() {
    let events: Vec<Value> =
        (0..20).map(|n| series(&format!("series{n:02}"), 4, 9, "RRULE:FREQ=WEEKLY;COUNT=3")).collect();
    let mut orders = Vec::new();
    for order_seed in [0, 0, 7] {
        let google = Google::with(Options { order_seed, ..Options::default() }, events.clone()).await;
        for n in 0..20 {
            let path = format!("calendars/primary/events/series{n:02}_20270111T080000Z");
            google.patch(&path, json!({ "summary": "other" })).await.ok();
        }
        let (items, _) = google.list("maxResults=7").await;
        let order: Vec<String> = ids(&items).into_iter().map(str::to_owned).collect();
        assert_eq!(order, ids(&google.list("").await.0), "the order does not depend on the pages");
        let place = |id: &str| order.iter().position(|known| known == id).unwrap();
        let places =
            (0..20).map(|n| (place(&format!("series{n:02}_20270111T080000Z")), place(&format!("series{n:02}"))));
        let places: Vec<_> = places.collect();
        let first = places.iter().filter(|(exception, master)| exception < master).count();
        assert!((8..20).contains(&first), "{first} of 20 exceptions come first");
        assert!(places.iter().any(|(exception, master)| exception < master && exception / 7 != master / 7));
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_ne!(orders[0], orders[2]);
}

#[tokio::test]
async fn tokens_are_bound_to_account_calendar_and_what_was_asked_for() {
    let google = Google::start().await;
    let spa = NewCalendar { summary: "Spa".to_owned(), time_zone: "UTC".to_owned(), ..Default::default() };
    let spa = google.sandbox.add_calendar(ANNA, spa).unwrap();
    google.sandbox.add_user("ben@salon.example", "Ben");
    assert!(google.sandbox.share(ANNA, "ben@salon.example", slotd_sandbox::Role::Owner));
    for hour in 9..12 {
        google.insert(timed("Cut", 4, hour)).await;
    }
    let events = "calendars/primary/events";
    let first = google.get(&format!("{events}?maxResults=1&maxAttendees=5&singleEvents=false")).await.ok();
    let page = first["nextPageToken"].as_str().unwrap().to_owned();
    let list = async |path: &str, query: &str| google.get(&format!("{path}?{query}&pageToken={page}")).await;
    // The number of results may change, and what is the default may be said or not.
    assert_eq!(list(events, "maxAttendees=5&maxResults=2").await.status, 200);
    for (path, query) in [
        (events, "maxAttendees=6"),
        (events, "maxAttendees=5&singleEvents=true"),
        (events, "maxAttendees=5&timeZone=UTC"),
        (&format!("calendars/{spa}/events"), "maxAttendees=5"),
        ("users/me/calendarList", ""),
    ] {
        assert_eq!(list(path, query).await.refusal(), (400, "invalid".into()), "{path} {query}");
    }
    let token = google.sync_token().await;
    let ben = format!("Bearer {}", google.sandbox.bearer_token("ben@salon.example"));
    let path = format!("/calendar/v3/calendars/{ANNA}/events?syncToken={token}");
    let foreign = google.try_send(axum::http::Method::GET, &path, &[("authorization", &ben)], "").await.unwrap();
    assert_eq!(foreign.refusal(), (400, "invalid".into()));
    for query in ["singleEvents=false", "showHiddenInvitations=false", "maxResults=1", "prettyPrint=false"] {
        assert_eq!(google.get(&format!("{events}?syncToken={token}&{query}")).await.status, 200, "{query}");
    }
    for query in ["showDeleted=true", "maxAttendees=1", "timeZone=UTC", "showHiddenInvitations=true"] {
        let answer = google.get(&format!("{events}?syncToken={token}&{query}")).await;
        assert_eq!(answer.refusal(), (400, "invalid".into()), "{query}");
    }
}
