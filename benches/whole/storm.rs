//! Two hundred clients who want the same fifty slots.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Days, TimeDelta, Utc};
use hyper::Method;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use slotd::{
    app,
    booking::{Asked, BookingError, Desk, NewBooking, What, Wish},
    config::{Config, DatabaseUrl},
    crypto::MasterKeys,
    domain::{BusinessId, clock::SystemChance},
    lifecycle::Lifecycle,
    store::bookings::Customer,
};
use tokio::{net::TcpListener, sync::Barrier, task::JoinSet, time::Instant};

use super::{
    calendar,
    process::{Daemon, Database, Standin},
    sample::{Sample, middle, ms},
};

const RUNS: u64 = 5;
const CLIENTS: u64 = 200;
const SLOTS: i32 = 50;

/// What one client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Booked,
    Taken,
}

/// What one run gave.
struct Run {
    tries: Sample,
    bookings: Sample,
    took: Duration,
}

/// One way to book.
trait Counter: Clone + Send + 'static {
    fn book(&self, start: DateTime<Utc>) -> impl Future<Output = Result<Told>> + Send;
}

/// Past HTTP.
#[derive(Clone)]
struct AtTheDesk {
    desk: Desk,
    business: BusinessId,
}

impl Counter for AtTheDesk {
    async fn book(&self, start: DateTime<Utc>) -> Result<Told> {
        let wish =
            Wish { what: What::Lasting(TimeDelta::minutes(30)), resource: Some("one".to_owned()), call_id: None };
        let new = NewBooking {
            asked: Asked::Time { wish, start },
            customer: serde_json::from_value::<Customer>(json!({ "name": "Nobody", "phone": "+49301234567" }))?,
            reference: None,
            call_id: None,
        };
        match self.desk.book(self.business, new, None, |booked| booked.booking.id.to_string().into_bytes()).await {
            Ok(_) => Ok(Told::Booked),
            Err(BookingError::Refused(_)) => Ok(Told::Taken),
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Clone)]
struct OverHttp(Arc<Daemon>);

impl Counter for OverHttp {
    async fn book(&self, start: DateTime<Utc>) -> Result<Told> {
        let booking = json!({
            "start": start, "duration_min": 30, "resource": "one",
            "customer": { "name": "Nobody", "phone": "+49 30 1234567" },
        });
        let answer = self.0.http.send(Method::POST, &self.0.at("bookings"), &[], Some(&booking)).await?;
        match answer.status.as_u16() {
            201 => Ok(Told::Booked),
            409 => Ok(Told::Taken),
            _ => bail!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
        }
    }
}

pub(crate) async fn measure(databases: &[Database]) -> Result<()> {
    println!("## Booking storm\n");
    println!(
        "{CLIENTS} clients at once, each trying {SLOTS} slots of one resource in an order of its own: {} tries, \
         {SLOTS} bookings. Every commit is durable (`synchronous=FULL`, `fsync=on`). No calendar is connected. Medians \
         of {RUNS} runs.\n",
        CLIENTS * u64::from(SLOTS.unsigned_abs())
    );
    println!("| way | database | tries a second | median of a try | **p99 of a try** | p99 of the bookings |");
    println!("|---|---|---|---|---|---|");
    let standin = Standin::start(&[])?;
    for database in databases {
        let folder = tempfile::tempdir()?;
        let place = Place::open(database, folder.path()).await?;
        let runs = storms(&place.counter).await?;
        row("in process", database, &runs);
        place.close().await;
        let daemon = Daemon::start(&standin, database).await?;
        let runs = storms(&OverHttp(Arc::new(daemon))).await?;
        row("over HTTP", database, &runs);
    }
    println!();
    Ok(())
}

fn row(way: &str, database: &Database, runs: &[Run]) {
    let rates = runs.iter().map(|run| run.took / u32::try_from(run.tries.len()).unwrap_or(u32::MAX));
    let told =
        |percent: usize, which: fn(&Run) -> &Sample| middle(runs.iter().map(|run| which(run).percentile(percent)));
    println!(
        "| {way} | {} | {:.0} | {} | **{}** | {} |",
        database.name(),
        1.0 / middle(rates).as_secs_f64(),
        ms(told(50, |run| &run.tries)),
        ms(told(99, |run| &run.tries)),
        ms(told(99, |run| &run.bookings)),
    );
}

/// Each run wants slots of its own days.
async fn storms(counter: &impl Counter) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    // The first makes connections, statements and caches, and does not count.
    for number in 0..=RUNS {
        let first = calendar::today() + Days::new(2 + 2 * number);
        let starts: Vec<DateTime<Utc>> =
            (0..SLOTS).map(|slot| (first + TimeDelta::minutes(30) * slot).with_timezone(&Utc)).collect();
        let run = storm(counter, &starts, number).await?;
        if number > 0 {
            runs.push(run);
        }
    }
    Ok(runs)
}

async fn storm(counter: &impl Counter, starts: &[DateTime<Utc>], number: u64) -> Result<Run> {
    let all_there = Arc::new(Barrier::new(usize::try_from(CLIENTS)?));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (counter, mut starts, all_there) = (counter.clone(), starts.to_vec(), Arc::clone(&all_there));
        starts.shuffle(&mut StdRng::seed_from_u64(number * CLIENTS + client));
        clients.spawn(async move {
            let (mut tries, mut bookings) = (Sample::default(), Sample::default());
            all_there.wait().await;
            let began = Instant::now();
            for start in starts {
                let asked = Instant::now();
                let told = counter.book(start).await?;
                tries.add(asked.elapsed());
                if told == Told::Booked {
                    bookings.add(asked.elapsed());
                }
            }
            anyhow::Ok((tries, bookings, began.elapsed()))
        });
    }
    let mut run = Run { tries: Sample::default(), bookings: Sample::default(), took: Duration::ZERO };
    while let Some(client) = clients.join_next().await {
        let (tries, bookings, took) = client??;
        run.tries.extend(tries);
        run.bookings.extend(bookings);
        run.took = run.took.max(took);
    }
    ensure!(run.bookings.len() == starts.len(), "{} bookings of {} slots", run.bookings.len(), starts.len());
    Ok(run)
}

/// A daemon in this process.
struct Place {
    counter: AtTheDesk,
    daemon: app::Daemon,
    life: Lifecycle,
}

impl Place {
    async fn open(database: &Database, folder: &std::path::Path) -> Result<Self> {
        let mut config = Config::default();
        config.database.url = DatabaseUrl::new(&database.url(folder).await?).map_err(anyhow::Error::msg)?;
        config.metrics.bind = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let master = Arc::new(MasterKeys::generate("bench", &SystemChance).context("no master key")?);
        let life = Lifecycle::new();
        let daemon = app::start(&config, master, listener, &life).await?;
        let key = daemon.keys.create(super::process::admin()).await?.1;
        let http = super::http::Http::new(format!("http://{}/api/v1", daemon.api), key.reveal());
        let made = json!({ "name": "Bench", "time_zone": "Europe/Berlin", "region": "DE" });
        let business = super::process::id(&http.post("/businesses", &made).await?)?;
        http.post(&format!("/businesses/{business}/resources"), &json!({ "name": "one" })).await?;
        let counter = AtTheDesk { desk: daemon.desk.clone(), business: business.parse()? };
        Ok(Self { counter, daemon, life })
    }

    async fn close(self) {
        self.life.stop();
        self.life.run_until_stopped().await;
        self.daemon.store.close().await;
    }
}
