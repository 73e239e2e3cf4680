//! Stopping as systemd does.

use std::time::Duration;

use chrono::TimeDelta;
use hyper::Method;
use serde_json::json;
use tokio::time::Instant;

use super::{
    installation::Installation,
    salon::{Salon, text, tomorrow},
    wait_for,
};
use crate::harness::{Home, on_both_engines};

/// What systemd and a person who waits are content with; the daemon itself allows more.
const STOP_MAX: Duration = Duration::from_secs(10);

on_both_engines! {
    async fn sigterm_ends_the_daemon_well_and_soon_and_loses_nothing(home: Home) {
        let installation = Installation::new(home).await;
        let daemon = installation.start().await;
        let salon = Salon::open(&installation, &daemon, Vec::new()).await;
        salon.connect(&daemon).await;
        wait_for("the first sync", || async { salon.is_mirrored(&daemon.api).await.then_some(()) }).await;

        let api = daemon.api.clone();
        let booking = async {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let start = tomorrow() + TimeDelta::hours(n);
                let customer = json!({ "name": "Ada Lovelace", "phone": "+4930123456" });
                let body = json!({ "start": text(start), "duration_min": 60, "customer": customer });
                let Some(answer) = api.send(Method::POST, &format!("{}/bookings", salon.path), &[], Some(&body)).await
                else {
                    break;
                };
                assert_eq!(answer.status, 201, "{:?}", answer.body);
                acknowledged.push(answer.json()["id"].clone());
            }
            acknowledged
        };
        let stop = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let began = Instant::now();
            (daemon.terminate().await, began.elapsed())
        };
        let (acknowledged, (status, took)) = tokio::join!(booking, stop);
        assert_eq!(status.code(), Some(0));
        assert!(took < STOP_MAX, "{took:?}");
        assert!(!acknowledged.is_empty());

        let daemon = installation.start().await;
        let stored: Vec<_> = salon.bookings(&daemon.api).await.iter().map(|one| one["id"].clone()).collect();
        assert!(acknowledged.iter().all(|id| stored.contains(id)), "{acknowledged:?} {stored:?}");
        assert!(stored.len() <= acknowledged.len() + 1, "one request at most was in hand");
        assert_eq!(daemon.terminate().await.code(), Some(0));
    }
}
