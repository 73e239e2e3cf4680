//! What owners do to series, step by step: after each the busy time is what Google itself tells.

use serde_json::{Value, json};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, event, times},
};

fn daily(id: &str, day: u64, count: u32) -> Value {
    let mut series = event("Break", at(day, 12, 0), 30);
    series["id"] = json!(id);
    series["recurrence"] = json!([format!("RRULE:FREQ=DAILY;COUNT={count}")]);
    series
}

async fn same(stage: &Stage) {
    stage.same_as_google(at(0, 0, 0), at(60, 0, 0)).await;
}

/// The id of the instance of a series at a place.
async fn instance(stage: &Stage, series: &str, place: usize) -> String {
    stage.google.instances(series).await[place]["id"].as_str().unwrap().to_owned()
}

on_both_engines! {
    async fn this_and_following_comes_out_alike_whichever_half_arrives_first(db: Db) {
        let stage = Stage::with(db, vec![daily("aaaaa0", 2, 10), daily("bbbbb0", 20, 10)], |_| {}).await;
        let moved = instance(&stage, "aaaaa0", 7).await;
        stage.google.patch(&moved, &times(at(9, 18, 0), 60)).await;
        same(&stage).await;
        let shorter = json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=5"] });
        // The first half, then the second.
        stage.google.patch("aaaaa0", &shorter).await;
        same(&stage).await;
        stage.google.insert(&daily("aaaaa1", 7, 5)).await;
        same(&stage).await;
        // The second half, then the first.
        stage.google.insert(&daily("bbbbb1", 25, 5)).await;
        same(&stage).await;
        stage.google.patch("bbbbb0", &shorter).await;
        same(&stage).await;
        stage.expect_free(at(27, 12, 0), 30, false).await;
    }

    async fn exceptions_leave_the_window_come_back_and_go_with_their_series(db: Db) {
        let stage = Stage::with(db, vec![daily("ccccc0", 2, 10)], |_| {}).await;
        let (far, gone) = (instance(&stage, "ccccc0", 3).await, instance(&stage, "ccccc0", 4).await);
        // Beyond the horizon, which is 400 days, and back on another day.
        stage.google.patch(&far, &times(at(700, 9, 0), 30)).await;
        stage.expect_free(at(5, 12, 0), 30, true).await;
        same(&stage).await;
        stage.google.patch(&far, &times(at(30, 23, 45), 60)).await;
        stage.expect_free(at(31, 0, 15), 15, false).await;
        stage.google.delete(&gone).await;
        stage.expect_free(at(6, 12, 0), 30, true).await;
        same(&stage).await;
        // A new time of day leaves no place for the exceptions.
        stage.google.patch("ccccc0", &times(at(2, 15, 0), 30)).await;
        stage.expect_free(at(6, 15, 0), 30, false).await;
        same(&stage).await;
        stage.google.delete("ccccc0").await;
        stage.expect_free(at(3, 15, 0), 30, true).await;
        assert_eq!(stage.busy(at(0, 0, 0), at(60, 0, 0)).await, []);
    }
}
