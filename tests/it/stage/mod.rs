//! The whole product in one test: a daemon on a fresh database, the stand-in as Google, and a business that was set up
//! and connected as its owner would.
//!
//! When a stage is dropped, everything owed to Google must have been delivered, the daemon must stop in order, and its
//! log must hold no line at error level.

mod client;
mod events;
mod garble;
mod node;
mod owner;
mod receiver;
mod restart;

use std::{net::Ipv4Addr, time::Duration};

use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use hyper::Method;
use serde_json::{Value, json};
use slotd::{
    auth::NewKey,
    config::{Config, DatabaseUrl},
    domain::{Clock, clock::SystemClock, zone::local_to_utc},
    store::api_keys::Scope,
};
use slotd_sandbox::{NewCalendar, Options, Sandbox};
use tempfile::TempDir;
use tokio::time::Instant;
use url::Url;

use crate::harness::{Db, Raw};
pub(crate) use client::{Answer, Client};
pub(crate) use events::{Event, Events};
pub(crate) use garble::garble;
pub(crate) use node::Node;
pub(crate) use owner::{EDITOR, OWNER, Owner};
pub(crate) use receiver::{Receiver, Reply};
pub(crate) use restart::Ending;

/// The zone of the business, with daylight saving.
pub(crate) const ZONE: Tz = Tz::Europe__Berlin;
/// How long anything may take that has to happen in the end.
const DEADLINE: Duration = Duration::from_secs(40);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Busy time, in order.
pub(crate) type Intervals = Vec<(DateTime<Utc>, DateTime<Utc>)>;

/// A business on a running daemon. Its one resource, Mia, has the owner's primary calendar.
pub(crate) struct Stage {
    /// Google, as its owner and its faults.
    pub(crate) google: Owner,
    /// The API with a key for everything.
    pub(crate) api: Client,
    pub(crate) business: String,
    pub(crate) resource: String,
    /// The first is the one that Google pushes to.
    pub(crate) nodes: Vec<Node>,
    pub(crate) raw: Raw,
    config: Config,
    /// Holds the client's secret.
    _folder: TempDir,
    db: Db,
}

/// `hour:minute` in the business's zone, `day` days from today.
pub(crate) fn at(day: u64, hour: u32, minute: u32) -> DateTime<Utc> {
    let date = SystemClock.now().with_timezone(&ZONE).date_naive() + Days::new(day);
    local_to_utc(date.and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap()), ZONE)
}

/// The time as the API and Google write it.
pub(crate) fn text(at: DateTime<Utc>) -> String {
    at.with_timezone(&ZONE).to_rfc3339()
}

/// Looks until there is something to return.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in {DEADLINE:?} it did not happen: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Stage {
    /// A connected, mirrored business with an empty calendar.
    pub(crate) async fn open(db: Db) -> Self {
        Self::with(db, Vec::new(), |_| {}).await
    }

    /// With events in the calendar, and with other settings.
    pub(crate) async fn with(db: Db, events: Vec<Value>, settings: impl FnOnce(&mut Config)) -> Self {
        Self::before(Options::default(), db, events, settings).await
    }

    /// With a stand-in for Google that runs as it is told; consent is always given.
    pub(crate) async fn before(
        options: Options,
        db: Db,
        events: Vec<Value>,
        settings: impl FnOnce(&mut Config),
    ) -> Self {
        let sandbox = Sandbox::start(Options { auto_approve: true, ..options }).await.unwrap();
        sandbox.add_user(OWNER, "Aurora");
        let calendar = NewCalendar {
            summary: "Salon".to_owned(),
            time_zone: ZONE.name().to_owned(),
            primary: true,
            events,
            ..NewCalendar::default()
        };
        sandbox.add_calendar(OWNER, calendar).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&db, &sandbox, &folder);
        settings(&mut config);
        let raw = db.raw(2).await;
        let node = Node::start(config.clone(), db.master()).await;
        let new = NewKey { business: None, scope: Scope::Admin, label: "test".to_owned(), expires_at: None };
        let (_, key) = node.daemon.keys.create(new).await.unwrap();
        let api = Client::new(format!("{}/api/v1", node.root()), key.reveal());
        let mut stage = Self {
            google: Owner::new(sandbox),
            api,
            business: String::new(),
            resource: String::new(),
            nodes: vec![node],
            raw,
            config,
            _folder: folder,
            db,
        };
        stage.set_up().await;
        stage
    }

    async fn set_up(&mut self) {
        let salon = json!({ "name": "Salon Aurora", "time_zone": ZONE.name(), "region": "DE" });
        self.business = id(&self.api.post("/businesses", &salon).await.ok());
        let mia = self.api.post(&self.at("/resources"), &json!({ "name": "Mia" })).await.ok();
        self.resource = id(&mia);
        let cut = json!({ "name": "Haircut", "duration_min": 30, "slot_step_min": 30 });
        self.api.post(&self.at("/services"), &cut).await.ok();
        self.connect().await;
        self.mirrored().await;
    }

    /// A path of this business.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("/businesses/{}{path}", self.business)
    }

    /// Goes the owner's way: to the consent page and back, with the cookie of the browser that left.
    pub(crate) async fn connect(&self) {
        self.connect_as(OWNER).await;
    }

    /// The same for another account of Google.
    pub(crate) async fn connect_as(&self, email: &str) {
        self.connect_business(&self.business, email).await;
    }

    /// The same for another business.
    pub(crate) async fn connect_business(&self, business: &str, email: &str) {
        let back = self.try_connect(business, email).await;
        assert_eq!(back.status, 200, "{}", String::from_utf8_lossy(&back.bytes));
    }

    /// What the owner sees in the end.
    pub(crate) async fn try_connect(&self, business: &str, email: &str) -> Answer {
        let started = self.api.post("/auth/google-calendar/start", &json!({ "business_id": business })).await;
        assert_eq!(started.status, 303, "{}", started.json());
        let cookie = started.header("set-cookie").split(';').next().unwrap();
        let browser = self.api.with_bearer("");
        let consent = browser.get(&format!("{}&login_hint={email}", started.header("location"))).await;
        browser.send(Method::GET, consent.header("location"), &[("cookie", cookie)], "".into()).await
    }

    /// Waits until each blocking calendar is mirrored and watched, and nothing is due.
    pub(crate) async fn mirrored(&self) {
        eventually("each calendar is mirrored and watched", async || {
            let status = self.status().await;
            let calendars = status["calendars"].as_array().unwrap();
            let ready =
                |one: &Value| one["state"] == "mirrored" && one["watched_until"].is_string() && one["blocks"] == true;
            (!calendars.is_empty() && calendars.iter().all(ready)).then_some(())
        })
        .await;
        self.idle().await;
    }

    /// Waits until no calendar is being looked at, nor is to be.
    pub(crate) async fn idle(&self) {
        eventually("no calendar is due", async || {
            let due = "SELECT COUNT(*) FROM calendar WHERE dirty > seen OR lease_until > 0";
            (self.raw.count(due).await == 0).then_some(())
        })
        .await;
    }

    pub(crate) async fn status(&self) -> Value {
        self.api.get(&format!("/settings/{}/calendar/status", self.business)).await.ok()
    }

    /// The busy intervals of Mia, as the API tells them.
    pub(crate) async fn busy(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Intervals {
        let query = format!("from={}&to={}&resource={}", url_time(from), url_time(to), self.resource);
        let answer = self.api.get(&self.at(&format!("/busy?{query}"))).await.ok();
        owner::intervals(&answer["busy"])
    }

    /// Waits until the API tells the same busy time as Google's own freeBusy.
    pub(crate) async fn same_as_google(&self, from: DateTime<Utc>, to: DateTime<Utc>) {
        let mut seen = None;
        let same = async {
            loop {
                let (ours, theirs) = (self.busy(from, to).await, self.google.busy(from, to).await);
                if ours == theirs {
                    return;
                }
                seen = Some((ours, theirs));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(DEADLINE, same).await.is_err() {
            let (ours, theirs) = seen.unwrap();
            let only =
                |a: &Intervals, b: &Intervals| a.iter().filter(|one| !b.contains(one)).copied().collect::<Vec<_>>();
            let status = self.status().await;
            panic!("only ours: {:?}\nonly Google's: {:?}\n{status:#}", only(&ours, &theirs), only(&theirs, &ours));
        }
    }

    /// The answer to "is it free?" for so many minutes.
    pub(crate) async fn availability(&self, start: DateTime<Utc>, minutes: i64) -> Value {
        let query = format!("start={}&duration_min={minutes}", url_time(start));
        self.api.get(&self.at(&format!("/availability?{query}"))).await.ok()
    }

    /// Waits until a time is free, or is not.
    pub(crate) async fn expect_free(&self, start: DateTime<Utc>, minutes: i64, free: bool) {
        eventually(&format!("{start} is {}", if free { "free" } else { "busy" }), async || {
            (self.availability(start, minutes).await["available"] == free).then_some(())
        })
        .await;
    }

    /// Books half an hour for Ada, and returns the answer.
    pub(crate) async fn try_book(&self, start: DateTime<Utc>) -> Answer {
        self.api.post(&self.at("/bookings"), &wish(start)).await
    }

    /// Books half an hour for Ada.
    pub(crate) async fn book(&self, start: DateTime<Utc>) -> Value {
        self.try_book(start).await.ok()
    }

    /// Books, and waits until Google has it.
    pub(crate) async fn book_and_write(&self, start: DateTime<Utc>) -> Value {
        let booked = self.book(start).await;
        self.synced(&booked).await
    }

    /// Waits until Google was told of a booking as it is.
    pub(crate) async fn synced(&self, booking: &Value) -> Value {
        let id = id(booking);
        eventually("the booking is written to Google", async || {
            Some(self.booking(&id).await).filter(|booking| booking["calendar_sync"] == "synced")
        })
        .await
    }

    pub(crate) async fn booking(&self, id: &str) -> Value {
        self.api.get(&self.at(&format!("/bookings/{id}"))).await.ok()
    }

    /// Waits until a booking is as it has to be.
    pub(crate) async fn booking_becomes(&self, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || Some(self.booking(id).await).filter(&is)).await
    }

    /// Starts another daemon on the same database. Google goes on pushing to the first.
    pub(crate) async fn add_node(&mut self) -> Client {
        let mut config = self.config.clone();
        config.google.push_url = Some(Url::parse(&self.nodes[0].root()).unwrap().join(node::PUSH_PATH).unwrap());
        let node = Node::start(config, self.db.master()).await;
        let new = NewKey { business: None, scope: Scope::Admin, label: "second".to_owned(), expires_at: None };
        let (_, key) = node.daemon.keys.create(new).await.unwrap();
        let client = Client::new(format!("{}/api/v1", node.root()), key.reveal());
        self.nodes.push(node);
        client
    }

    /// Looks at Google now.
    pub(crate) async fn sync_now(&self) {
        self.api.post(&format!("/settings/{}/calendar/sync", self.business), &json!({})).await.ok();
    }

    /// Whether the database is on PostgreSQL.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.raw, Raw::Postgres(_))
    }

    /// The first daemon.
    pub(crate) fn node(&self) -> &Node {
        &self.nodes[0]
    }
}

/// A time as a parameter of a query.
pub(crate) fn url_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339().replace('+', "%2B")
}

/// The id in an answer.
pub(crate) fn id(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

/// Half an hour for Ada.
pub(crate) fn wish(start: DateTime<Utc>) -> Value {
    json!({
        "start": text(start), "service": "Haircut",
        "customer": { "name": "Ada Lovelace", "phone": "0151 12345678" },
    })
}

/// An event of the owner's.
pub(crate) fn event(summary: &str, start: DateTime<Utc>, minutes: i64) -> Value {
    let time = |at: DateTime<Utc>| json!({ "dateTime": text(at), "timeZone": ZONE.name() });
    json!({ "summary": summary, "start": time(start), "end": time(start + TimeDelta::minutes(minutes)) })
}

/// The times of an event, to move it there.
pub(crate) fn times(start: DateTime<Utc>, minutes: i64) -> Value {
    let mut times = event("", start, minutes);
    times.as_object_mut().unwrap().remove("summary");
    times
}

fn config(db: &Db, sandbox: &Sandbox, folder: &TempDir) -> Config {
    let root = Url::parse(&sandbox.root()).unwrap();
    let client = sandbox.client();
    let secret = folder.path().join("client-secret");
    std::fs::write(&secret, client.client_secret).unwrap();
    let mut config = Config::default();
    config.database.url = DatabaseUrl::new(db.url()).unwrap();
    config.google.api_base_url = root.join("calendar/v3").unwrap();
    config.google.auth_url = root.join("o/oauth2/v2/auth").unwrap();
    config.google.token_url = root.join("token").unwrap();
    config.google.revoke_url = root.join("revoke").unwrap();
    config.google.userinfo_url = root.join("v1/userinfo").unwrap();
    config.google.client_id = Some(client.client_id);
    config.google.client_secret_file = Some(secret);
    config.metrics.bind = (Ipv4Addr::LOCALHOST, 0).into();
    // The stand-in has no quotas unless it is told to; tests of quotas set small ones.
    (config.google.account_calls_per_minute, config.google.project_calls_per_minute) = (1_000_000, 1_000_000);
    config
}

impl Drop for Stage {
    fn drop(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        if std::thread::panicking() {
            for (place, node) in nodes.into_iter().enumerate() {
                eprintln!("--- log of daemon {place} ---\n{}", node.log.text());
                node.runtime.shutdown_background();
            }
            return;
        }
        let db = &self.db;
        // Where nothing can be awaited, and where a runtime may end.
        std::thread::scope(|scope| {
            let ended = scope.spawn(move || {
                // Connections belong to the runtime that opened them, and those of the nodes end here.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let raw = runtime.block_on(db.raw(1));
                let owes = || runtime.block_on(raw.count("SELECT COUNT(*) FROM outbox"));
                let deadline = std::time::Duration::from_secs(20);
                for node in nodes {
                    let mut waited = Duration::ZERO;
                    while owes() > 0 && waited < deadline {
                        std::thread::sleep(LOOK_EVERY);
                        waited += LOOK_EVERY;
                    }
                    assert_eq!(owes(), 0, "deliveries are still owed\n{}", node.log.text());
                    node.stop();
                }
            });
            if let Err(panic) = ended.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}
