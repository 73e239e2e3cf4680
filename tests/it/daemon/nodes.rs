//! Two daemons on one PostgreSQL database.

use serde_json::json;

use crate::{
    harness::Db,
    stage::{Stage, at, event, eventually, id, url_time, wish},
};

/// A node that took no push looks for changes of others about once a second; a pass of its own takes far less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_one_node_is_known_to_the_other_and_read_once() {
    let mut stage = Stage::open(Db::postgres().await).await;
    let other = stage.add_node().await;
    stage.idle().await;
    let lists = stage.google.lists();
    for hour in 8..18 {
        stage.google.insert(&event("Visit", at(2, hour, 0), 30)).await;
        let path = stage.at(&format!("/availability?start={}&duration_min=30", url_time(at(2, hour, 0))));
        eventually("the other node knows", async || (other.get(&path).await.ok()["available"] == false).then_some(()))
            .await;
        assert_eq!(stage.availability(at(2, hour, 0), 30).await["available"], false);
        stage.idle().await;
    }
    let read = stage.google.lists() - lists;
    assert!((10..=20).contains(&read), "{read} lists for 10 changes on two nodes");
}

/// The lock is the database's, so it does not matter who is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_two_nodes_share_one_set_of_slots() {
    let mut stage = Stage::open(Db::postgres().await).await;
    let other = stage.add_node().await;
    let mut requests = tokio::task::JoinSet::new();
    for caller in 0..40_u32 {
        let api = if caller % 2 == 0 { stage.api.clone() } else { other.clone() };
        let (path, start) = (stage.at("/bookings"), at(3, 8 + caller / 4, 0));
        requests.spawn(async move { api.post(&path, &wish(start)).await.status });
    }
    let statuses = requests.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 10, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
    eventually("each booking is written once", async || (stage.google.events().await.len() == 10).then_some(())).await;

    let booked = other.post(&stage.at("/bookings"), &wish(at(4, 9, 0))).await.ok();
    stage.synced(&booked).await;
    stage.google.delete(booked["event_id"].as_str().unwrap()).await;
    let path = stage.at(&format!("/bookings/{}", id(&booked)));
    eventually("the other node knows that the owner called it off", async || {
        (other.get(&path).await.ok()["status"] == json!("cancelled")).then_some(())
    })
    .await;
}
