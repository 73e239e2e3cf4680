use serde_json::json;
use slotd_sandbox::Options;
use tokio::time::Instant;

use crate::harness::{Google, series, timed};

/// Work that grows with the square of the calendar would take minutes here, also in a debug build.
#[tokio::test]
async fn a_large_calendar_is_listed_and_changed_in_proportion_to_its_size() {
    let mut events: Vec<_> = (0..10_000).map(|number| timed("Cut", 1 + number % 28, number % 23)).collect();
    events.push(series("endless", 4, 9, "RRULE:FREQ=DAILY"));
    let begun = Instant::now();
    let google = Google::with(Options::default(), events).await;
    let (items, last) = google.list("maxResults=2500").await;
    assert_eq!(items.len(), 10_001);
    let mut token = last["nextSyncToken"].as_str().unwrap().to_owned();
    for _ in 0..50 {
        google.patch("calendars/primary/events/endless", json!({ "summary": "again" })).await.ok();
        let (changed, next) = google.changes(&token).await;
        assert_eq!(changed.len(), 1);
        token = next;
    }
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
