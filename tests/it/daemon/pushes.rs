//! Pushes, true and forged, one and a thousand.

use bytes::Bytes;
use hyper::Method;
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, event, eventually},
};

const HOOK: &str = "/webhooks/google-calendar";
const CHANGES: &str = "SELECT CAST(SUM(dirty + seen + version + fence) AS BIGINT) FROM calendar";

on_both_engines! {
    async fn a_forged_push_asks_google_nothing_and_writes_nothing(db: Db) {
        let stage = Stage::open(db).await;
        let channels: Vec<(String,)> = stage.raw.rows(slotd::store::Sql::same("SELECT id FROM channel")).await;
        let known = channels[0].0.as_str();
        let (lists, before) = (stage.google.lists(), stage.raw.count(CHANGES).await);
        let stranger = "01890000-0000-7000-8000-000000000000";
        for (channel, token) in [(known, "wrong"), (known, ""), (stranger, "x"), ("'; DROP TABLE channel", "x"), ("", "")] {
            let headers = [
                ("x-goog-channel-id", channel),
                ("x-goog-channel-token", token),
                ("x-goog-resource-state", "exists"),
                ("x-goog-message-number", "7"),
            ];
            let answer = stage.api.with_bearer("").send(Method::POST, HOOK, &headers, Bytes::new()).await;
            assert_eq!((answer.status, answer.bytes.len()), (204, 0), "{channel} {token}");
        }
        assert_eq!(stage.api.with_bearer("").send(Method::POST, HOOK, &[], Bytes::new()).await.status, 204);
        // A pass would begin within moments; a true push shows that nothing came before it.
        stage.google.insert(&event("Visit", at(2, 10, 0), 30)).await;
        stage.expect_free(at(2, 10, 0), 30, false).await;
        stage.idle().await;
        assert!(stage.google.lists() <= lists + 2);
        // One push noted, one pass claimed and finished, one change published.
        assert!(stage.raw.count(CHANGES).await - before <= 8);
    }

    async fn a_thousand_pushes_lead_to_a_handful_of_passes(db: Db) {
        let stage = Stage::open(db).await;
        let caught = Catcher::watch(&stage).await;
        let lists = stage.google.lists();
        let mut pushes = JoinSet::new();
        for number in 0..1_000 {
            let (api, channel, token) = (stage.api.with_bearer(""), caught.channel.clone(), caught.token.clone());
            pushes.spawn(async move {
                let number = number.to_string();
                let headers = [
                    ("x-goog-channel-id", channel.as_str()),
                    ("x-goog-channel-token", token.as_str()),
                    ("x-goog-resource-state", "exists"),
                    ("x-goog-message-number", number.as_str()),
                ];
                api.send(Method::POST, HOOK, &headers, Bytes::new()).await.status
            });
        }
        let statuses = pushes.join_all().await;
        assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
        stage.idle().await;
        let passes = stage.google.lists() - lists;
        eprintln!("{passes} passes for 1,000 pushes");
        assert!((1..=10).contains(&passes), "{passes}");
        stage.google.insert(&event("Visit", at(2, 10, 0), 30)).await;
        stage.expect_free(at(2, 10, 0), 30, false).await;
    }
}

/// A channel whose token the test knows: the daemon's own, with the hash of another token in the database.
struct Catcher {
    channel: String,
    token: String,
}

impl Catcher {
    async fn watch(stage: &Stage) -> Self {
        let channels: Vec<(String,)> = stage.raw.rows(slotd::store::Sql::same("SELECT id FROM channel")).await;
        let token = "a token that the test knows".to_owned();
        let hash = slotd::crypto::sha256(token.as_bytes());
        let hex = data_encoding::HEXLOWER.encode(&hash);
        let literal = if stage.is_postgres() { format!("'\\x{hex}'") } else { format!("x'{hex}'") };
        // Another row, so that the daemon's own channel goes on working.
        let copy = format!(
            "INSERT INTO channel (business_id, id, calendar_id, token_hash, google_resource_id, state, expires_at, created_at)
             SELECT business_id, '01890000-0000-7000-8000-000000000001', calendar_id, {literal}, google_resource_id, state, expires_at, created_at
               FROM channel WHERE id = '{}'",
            channels[0].0
        );
        stage.raw.execute(&copy).await.unwrap();
        eventually("the channel is there", async || {
            (stage.raw.count("SELECT COUNT(*) FROM channel").await == 2).then_some(())
        })
        .await;
        Self { channel: "01890000-0000-7000-8000-000000000001".to_owned(), token }
    }
}
