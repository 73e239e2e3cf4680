//! Two hundred clients who want the same fifty slots.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    harness::{Db, on_both_engines},
    stage::{Client, Stage, at, eventually, text, wish},
};

const CLIENTS: usize = 200;
const SLOTS: i32 = 50;

/// Tries all slots, in an order of its own. Returns the bookings that it got.
async fn client(api: Client, path: String, mut starts: Vec<DateTime<Utc>>, go: Arc<Barrier>) -> Vec<Value> {
    starts.shuffle(&mut rand::rng());
    let mut booked = Vec::new();
    go.wait().await;
    for start in starts {
        let answer = api.post(&path, &wish(start)).await;
        match answer.status {
            201 => booked.push(answer.json()),
            _ => assert_eq!((answer.status, answer.json()["reason"].as_str()), (409, Some("busy"))),
        }
    }
    booked
}

on_both_engines! {
    async fn two_hundred_clients_book_fifty_slots_once_each(db: Db) {
        let mut stage = Stage::open(db).await;
        let mut nodes = vec![stage.api.clone()];
        if stage.is_postgres() {
            nodes.push(stage.add_node().await);
        }
        let starts: Vec<DateTime<Utc>> = (0..SLOTS).map(|slot| at(2, 0, 0) + TimeDelta::minutes(30) * slot).collect();
        let go = Arc::new(Barrier::new(CLIENTS));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let api = nodes[number % nodes.len()].clone();
            clients.spawn(client(api, stage.at("/bookings"), starts.clone(), Arc::clone(&go)));
        }
        let told: Vec<Value> = clients.join_all().await.into_iter().flatten().collect();
        let of = |booking: &Value| (booking["id"].to_string(), booking["start"].to_string());
        let told: BTreeSet<_> = told.iter().map(of).collect();
        let wanted: BTreeSet<_> = starts.iter().map(|start| json!(text(*start)).to_string()).collect();
        assert_eq!(told.len(), starts.len());
        assert_eq!(told.iter().map(|(_, start)| start.clone()).collect::<BTreeSet<_>>(), wanted);

        let stored = stage.api.get(&stage.at("/bookings?limit=200")).await.ok();
        let stored: BTreeSet<_> = stored["bookings"].as_array().unwrap().iter().map(of).collect();
        assert_eq!(stored, told);
        eventually("Google shows each booking", async || {
            (stage.google.events().await.len() == starts.len()).then_some(())
        })
        .await;
    }
}
