//! Pushes, true and forged, one and a thousand.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use slotd::store::Sql;
use slotd_sandbox::Effect;
use tokio::task::JoinSet;

use crate::{
    harness::{Db, on_both_engines},
    stage::{Stage, at, event, eventually},
};

const HOOK: &str = "/webhooks/google-calendar";
const OLDEST: Sql = Sql::same("SELECT id FROM channel ORDER BY id DESC");
const RESOURCE: Sql = Sql::same("SELECT google_resource_id FROM channel");
const RUNNING: &str = "SELECT COUNT(*) FROM calendar WHERE lease_until > 0";
const PASSES: &str = "SELECT CAST(SUM(fence) AS BIGINT) FROM calendar";
/// How long the slow pass waits for Google: longer than a thousand pushes take on a busy machine.
const SLOW_MS: u64 = 12_000;

on_both_engines! {
    async fn a_forged_push_asks_google_nothing_and_writes_nothing(db: Db) {
        let stage = Stage::open(db).await;
        let caught = Catcher::watch(&stage).await;
        let ended = caught.copy(&stage, "01890000-0000-7000-8000-000000000002", "1").await;
        let own: Vec<(String,)> = stage.raw.rows(OLDEST).await;
        let own = own[0].0.as_str();
        stage.raw.meter().await;
        let asked = stage.google.sandbox.calls().len();
        let (stranger, long) = ("01890000-0000-7000-8000-00000000ffff", "x".repeat(200_000));
        let (known, token, resource) = (caught.channel.as_str(), caught.token.as_str(), caught.resource.as_str());
        for (what, channel, token, resource) in [
            ("a wrong token", known, "wrong", resource),
            ("no token", known, "", resource),
            ("a channel that nobody knows", stranger, token, resource),
            ("another channel's token", own, token, resource),
            ("another resource", known, token, "somebody's"),
            ("no resource", known, token, ""),
            ("a channel that has ended", ended.as_str(), token, resource),
            ("no id", "'; DROP TABLE channel", token, resource),
            ("nothing", "", "", ""),
            ("a long token", known, long.as_str(), resource),
        ] {
            let headers = [
                ("x-goog-channel-id", channel),
                ("x-goog-channel-token", token),
                ("x-goog-resource-id", resource),
                ("x-goog-resource-state", "exists"),
                ("x-goog-message-number", "7"),
            ];
            let answer = stage.api.with_bearer("").send(Method::POST, HOOK, &headers, Bytes::new()).await;
            let expected: &[u16] = if token.len() > 1_000 { &[431, 400, 204] } else { &[204] };
            assert!(expected.contains(&answer.status), "{what}: {}", answer.status);
            assert_eq!(answer.bytes.len(), 0, "{what}");
        }
        assert_eq!(stage.api.with_bearer("").send(Method::POST, HOOK, &[], Bytes::new()).await.status, 204);
        assert_eq!(stage.raw.written().await, BTreeMap::new());
        assert_eq!(stage.google.sandbox.calls().len(), asked);
        // A pass would have begun within moments; a true push shows that nothing came before it.
        let lists = stage.google.lists();
        stage.google.insert(&event("Visit", at(2, 10, 0), 30)).await;
        stage.expect_free(at(2, 10, 0), 30, false).await;
        stage.idle().await;
        assert_eq!(stage.google.lists(), lists + 1);
    }

    async fn a_thousand_pushes_during_a_pass_lead_to_one_more_and_are_noted_once(db: Db) {
        let stage = Stage::open(db).await;
        let caught = Catcher::watch(&stage).await;
        let (lists, passes) = (stage.google.lists(), stage.raw.count(PASSES).await);
        stage.google.strike("calendar.events.list", Effect::Delay { ms: SLOW_MS });
        stage.google.insert(&event("Visit", at(2, 10, 0), 30)).await;
        eventually("a pass is under way", async || (stage.raw.count(RUNNING).await == 1).then_some(())).await;
        stage.raw.meter().await;
        let mut pushes = JoinSet::new();
        for number in 0..1_000 {
            let (api, caught) = (stage.api.with_bearer(""), caught.clone());
            pushes.spawn(async move {
                let number = number.to_string();
                let headers = [
                    ("x-goog-channel-id", caught.channel.as_str()),
                    ("x-goog-channel-token", caught.token.as_str()),
                    ("x-goog-resource-id", caught.resource.as_str()),
                    ("x-goog-resource-state", "exists"),
                    ("x-goog-message-number", number.as_str()),
                ];
                api.send(Method::POST, HOOK, &headers, Bytes::new()).await.status
            });
        }
        let statuses = pushes.join_all().await;
        assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
        assert_eq!(stage.google.lists(), lists, "the pass took long enough to see them all come");
        assert_eq!(stage.raw.written().await, BTreeMap::from([("calendar update".to_owned(), 1)]));
        assert_eq!((stage.raw.count(RUNNING).await, stage.raw.count(PASSES).await), (1, passes + 1));

        stage.google.insert(&event("Another", at(2, 12, 0), 30)).await;
        stage.expect_free(at(2, 12, 0), 30, false).await;
        stage.idle().await;
        let more = (stage.google.lists() - lists, stage.raw.count(PASSES).await - passes);
        // The queued pass may find nothing left, and then looks once more after two seconds.
        assert!(more == (2, 2) || more == (3, 3), "{more:?}");
    }
}

/// A channel whose token the test knows: the daemon's own, with the hash of another token in the database.
#[derive(Clone)]
struct Catcher {
    channel: String,
    token: String,
    resource: String,
}

impl Catcher {
    async fn watch(stage: &Stage) -> Self {
        let resource: Vec<(String,)> = stage.raw.rows(RESOURCE).await;
        let caught = Self {
            channel: "01890000-0000-7000-8000-000000000001".to_owned(),
            token: "a token that the test knows".to_owned(),
            resource: resource[0].0.clone(),
        };
        caught.copy(stage, &caught.channel, "expires_at").await;
        caught
    }

    /// Another row with this token, so that the daemon's own channel goes on working. Returns its id.
    async fn copy(&self, stage: &Stage, id: &str, expires_at: &str) -> String {
        let hex = data_encoding::HEXLOWER.encode(&slotd::crypto::sha256(self.token.as_bytes()));
        let literal = if stage.is_postgres() { format!("'\\x{hex}'") } else { format!("x'{hex}'") };
        let copy = format!(
            "INSERT INTO channel (business_id, id, calendar_id, token_hash, google_resource_id, state, expires_at, created_at)
             SELECT business_id, '{id}', calendar_id, {literal}, google_resource_id, state, {expires_at}, created_at
               FROM channel ORDER BY created_at, id DESC LIMIT 1"
        );
        assert_eq!(stage.raw.execute(&copy).await.unwrap(), 1);
        id.to_owned()
    }
}
