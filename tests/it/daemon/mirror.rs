//! What the owner does in Google decides when somebody is busy.

use serde_json::json;

use crate::{
    harness::{Db, on_both_engines},
    stage::{OWNER, Stage, at, event, id, times},
};

on_both_engines! {
    async fn what_the_owner_does_to_an_event_is_known_by_a_push(db: Db) {
        let stage = Stage::with(db, vec![event("Before slotd came", at(2, 8, 0), 60)], |_| {}).await;
        assert_eq!(stage.availability(at(2, 8, 30), 30).await["reason"], "busy");
        assert_eq!(stage.availability(at(2, 9, 0), 30).await["available"], true);

        let dentist = id(&stage.google.insert(&event("Dentist", at(2, 10, 0), 60)).await);
        stage.expect_free(at(2, 10, 30), 30, false).await;
        assert_eq!(stage.busy(at(2, 9, 30), at(2, 23, 0)).await, [(at(2, 10, 0), at(2, 11, 0))]);

        stage.google.patch(&dentist, &times(at(2, 14, 0), 60)).await;
        stage.expect_free(at(2, 14, 0), 30, false).await;
        assert_eq!(stage.availability(at(2, 10, 0), 60).await["available"], true);

        stage.google.patch(&dentist, &json!({ "transparency": "transparent" })).await;
        stage.expect_free(at(2, 14, 0), 60, true).await;
        stage.google.patch(&dentist, &json!({ "transparency": "opaque" })).await;
        stage.expect_free(at(2, 14, 0), 60, false).await;
        let declined = json!({ "attendees": [{ "email": OWNER, "responseStatus": "declined" }] });
        stage.google.patch(&dentist, &declined).await;
        stage.expect_free(at(2, 14, 0), 60, true).await;
        stage.google.patch(&dentist, &json!({ "attendees": [] })).await;
        stage.expect_free(at(2, 14, 0), 60, false).await;
        stage.google.delete(&dentist).await;
        stage.expect_free(at(2, 14, 0), 60, true).await;
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
    }

    async fn a_series_is_busy_each_time_but_where_the_owner_made_an_exception(db: Db) {
        let stage = Stage::open(db).await;
        let mut lunch = event("Lunch", at(1, 13, 0), 45);
        lunch["recurrence"] = json!(["RRULE:FREQ=DAILY;COUNT=20"]);
        let series = id(&stage.google.insert(&lunch).await);
        stage.expect_free(at(20, 13, 0), 30, false).await;
        assert_eq!(stage.availability(at(21, 13, 0), 30).await["available"], true);

        let days = stage.google.instances(&series).await;
        stage.google.delete(&id(&days[3])).await;
        stage.expect_free(at(4, 13, 0), 45, true).await;
        stage.google.patch(&id(&days[4]), &times(at(5, 17, 0), 30)).await;
        stage.expect_free(at(5, 17, 0), 30, false).await;
        assert_eq!(stage.availability(at(5, 13, 0), 45).await["available"], true);

        stage.google.patch(&series, &times(at(1, 11, 0), 45)).await;
        stage.expect_free(at(7, 11, 0), 45, false).await;
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;

        stage.google.delete(&series).await;
        stage.same_as_google(at(0, 0, 0), at(30, 0, 0)).await;
        assert_eq!(stage.busy(at(1, 0, 0), at(30, 0, 0)).await, []);
    }
}
