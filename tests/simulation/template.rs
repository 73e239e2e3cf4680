//! The database that every run begins with, made once, and a node on it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use slotd::{
    availability::{Policy, Rules, WhenStale, WhenUnknown},
    booking::{self, Desk},
    config,
    crypto::MasterKeys,
    domain::{
        BusinessId, Chance, Id, ResourceId, ServiceId, SharedClock,
        clock::{SeededChance, TestClock},
        reconcile,
    },
    google::{self, Endpoints, Limits, Transport},
    outbox::{self, Outbox},
    store::{
        self, Lane, Options, Store, accounts::Account, businesses::Business, calendars::Calendar, resources::Resource,
        services::Service,
    },
    sync::{self, Mirrors},
    telemetry::Metrics,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    gate::{Bearer, CALENDARS, Gate, Google, Wire},
    harness::samples,
};

/// How many bookings each chair takes at once.
pub(crate) const CAPACITIES: [i64; 2] = [1, 2];
/// Name, minutes, and minutes of buffer before and after.
pub(crate) const SERVICES: [(&str, i64, i64, i64); 2] = [("Cut", 30, 5, 10), ("Talk", 60, 0, 0)];
/// How long a node may keep a calendar or a delivery to itself.
pub(crate) const LEASE: TimeDelta = TimeDelta::seconds(60);
/// So many connections read at once; one is enough where one works at a time.
const READERS: u32 = 1;
/// Nothing waits so long; real time plays no part.
const NEVER: Duration = Duration::from_hours(1);

pub(crate) const BUSINESS: BusinessId = Id::new(id(1));

const fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0192_f5f4_7c1e_7000_8000_0000_0000_0000 + number)
}

pub(crate) fn resource(chair: usize) -> ResourceId {
    Id::new(id(10 + u128::try_from(chair).unwrap()))
}

pub(crate) fn service(number: usize) -> ServiceId {
    Id::new(id(20 + u128::try_from(number).unwrap()))
}

/// Which chair a resource's id names.
pub(crate) fn chair_of(id: &str) -> usize {
    (0..CAPACITIES.len()).find(|chair| resource(*chair).to_string() == id).unwrap()
}

fn master() -> Arc<MasterKeys> {
    Arc::new(MasterKeys::generate("test", &*SeededChance::new(7)).unwrap())
}

fn options(file: &Path) -> Options {
    Options { url: format!("sqlite:{}", file.display()), connections_max: READERS, acquire_timeout: NEVER }
}

/// A folder in memory where there is one: durability is no subject here, and waiting for a disk only costs time.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A business with two chairs, each with a calendar of its own, and two services.
async fn fill(store: &Store) {
    let business = Business {
        id: BUSINESS,
        event_body: "Phone: {phone}\n{notes}".to_owned(),
        // Nobody waits for Google before a booking: that wait goes by real time.
        freshness: Policy { stale: WhenStale::Answer, unknown: WhenUnknown::Answer },
        calendar_changes: reconcile::Policy::OwnerWins,
        ..samples::business()
    };
    let account = Account { id: Id::new(id(2)), ..samples::account(BUSINESS) };
    let chairs: Vec<Resource> = (0..CAPACITIES.len())
        .map(|chair| Resource {
            id: resource(chair),
            name: format!("Chair {}", chair + 1),
            ..samples::resource(BUSINESS, u32::try_from(CAPACITIES[chair]).unwrap())
        })
        .collect();
    let services: Vec<Service> = (0..SERVICES.len())
        .map(|number| {
            let (name, minutes, before, after) = SERVICES[number];
            let sample = samples::service(BUSINESS, Vec::new());
            let rules = Rules {
                duration: TimeDelta::minutes(minutes),
                buffer_before: TimeDelta::minutes(before),
                buffer_after: TimeDelta::minutes(after),
                slot_step: TimeDelta::minutes(15),
                minimum_notice: TimeDelta::zero(),
                ..sample.rules
            };
            Service { id: service(number), name: name.to_owned(), rules, ..sample }
        })
        .collect();
    let calendars: Vec<Calendar> = (0..CALENDARS.len())
        .map(|chair| Calendar {
            id: Id::new(id(30 + u128::try_from(chair).unwrap())),
            google_id: CALENDARS[chair].to_owned(),
            ..samples::calendar(&account, Some(resource(chair)))
        })
        .collect();
    let work = store::work::<(), store::Error, _>(move |tx| {
        Box::pin(async move {
            tx.insert_business(&business).await?;
            tx.save_account(&account).await?;
            for chair in &chairs {
                tx.insert_resource(chair).await?;
            }
            for service in &services {
                tx.insert_service(service).await?;
            }
            for calendar in &calendars {
                tx.insert_calendar(calendar).await?;
            }
            Ok(())
        })
    });
    store.write(Lane::Caller, work).await.unwrap();
}

/// The bytes of the filled database.
fn template() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let make = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let folder = folder();
            let file = folder.path().join("slotd.db");
            runtime.block_on(async {
                let chance = SeededChance::new(8);
                let clock = TestClock::at(samples::START);
                let store = Store::open(&options(&file), clock, chance, master()).await.unwrap();
                fill(&store).await;
                store.close().await;
            });
            std::fs::read(&file).unwrap()
        };
        // Made by whoever needs it first, who is in a runtime.
        std::thread::spawn(make).join().unwrap()
    })
}

/// A copy of the template in `folder`.
pub(crate) fn copy(folder: &TempDir) -> PathBuf {
    let file = folder.path().join("slotd.db");
    std::fs::write(&file, template()).unwrap();
    file
}

/// One node: nothing in memory is shared with the other but time, the gate and Google.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) desk: Desk,
    pub(crate) outbox: Outbox,
    pub(crate) mirrors: Mirrors,
}

impl Node {
    pub(crate) async fn start(
        file: &Path,
        clock: Arc<TestClock>,
        chance: Arc<SeededChance>,
        gate: Arc<Gate>,
        google: Arc<Google>,
    ) -> Self {
        let clock: SharedClock = clock;
        let chance: Arc<dyn Chance> = chance;
        let store = Store::open(&options(file), Arc::clone(&clock), Arc::clone(&chance), master()).await.unwrap();
        let store = store.behind(Arc::clone(&gate) as _);
        let endpoints = Endpoints {
            api_base_url: "http://google.test/calendar/v3".parse().unwrap(),
            token_url: "http://google.test/token".parse().unwrap(),
            revoke_url: "http://google.test/revoke".parse().unwrap(),
            userinfo_url: "http://google.test/userinfo".parse().unwrap(),
            ..Endpoints::default()
        };
        let limits = Limits { request: NEVER, ..Limits::default() };
        let bearer = Bearer(google.bearer());
        let transport = Transport::new(&endpoints, limits, Arc::new(|_| {})).unwrap();
        let transport = transport.answered_by(Arc::new(Wire { gate, google }));
        let client = google::Google::new(transport, &endpoints, Arc::new(bearer));
        let metrics = Metrics::new();
        let outbox = Outbox::new(outbox::Foundation {
            store: store.clone(),
            google: client.clone(),
            clock: Arc::clone(&clock),
            chance: Arc::clone(&chance),
            metrics: metrics.clone(),
            // A delivery is never given up here: that Google fails in one try out of five is no reason to.
            config: config::Outbox { attempts_max: 1_000, ..config::Outbox::default() },
            event_link: None,
            wake: Arc::default(),
        });
        let mirrors = Mirrors::new(sync::Foundation {
            store: store.clone(),
            google: client,
            clock: Arc::clone(&clock),
            chance,
            config: config::Sync::default(),
            metrics: metrics.clone(),
            push_address: None,
            wake: Arc::default(),
            passes: Arc::default(),
            outbox: Arc::default(),
        });
        let desk = Desk::new(booking::Foundation {
            store: store.clone(),
            clock,
            metrics,
            outbox: Arc::default(),
            mirrors: Arc::default(),
            passes: Arc::default(),
            booking: config::Booking::default(),
            sync: config::Sync::default(),
            calls: config::Calls::default(),
        });
        Self { store, desk, outbox, mirrors }
    }
}

/// The half of the seeds with a night in which clocks change begins shortly before it.
pub(crate) fn start(seed: u64) -> DateTime<Utc> {
    let text = match seed % 4 {
        0 => "2027-03-27T21:30:00Z",
        1 => "2027-10-30T21:30:00Z",
        2 => "2027-03-01T09:00:00Z",
        _ => "2027-07-14T12:00:00Z",
    };
    text.parse().unwrap()
}
