//! Whether bookings feel a large first sync of somebody else's calendar.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use chrono::{Days, TimeDelta};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    calendar,
    process::{Daemon, Database, Standin},
    sample::{Sample, middle, ms, s},
};

const RUNS: usize = 3;
const CLIENTS: [usize; 2] = [1, 4];
const EVENTS: usize = 100_000;
/// How long bookings are made while nothing else happens.
const IDLE: Duration = Duration::from_secs(10);
/// Between two bookings of one client: some twenty a second, far above what a telephone can bring. Without a pause the
/// bookings alone would fill both processors, and the idle machine would be as slow as the busy one.
const PAUSE: Duration = Duration::from_millis(50);

/// What one run gave.
struct Run {
    idle: Sample,
    during: Sample,
    sync: Duration,
}

pub(crate) async fn measure(databases: &[Database]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let large = folder.path().join("large.ics");
    calendar::write(&large, EVENTS)?;
    // Bookings of one run are events that the next would find, so each has a calendar of its own to book into.
    let mut files = vec![large];
    for number in 0..databases.len() * CLIENTS.len() * RUNS {
        let small = folder.path().join(format!("small-{number}.ics"));
        calendar::write(&small, 1)?;
        files.push(small);
    }
    let standin = Standin::start(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    // The first is the owner's primary calendar.
    let [_, large, small @ ..] = standin.calendars.as_slice() else { bail!("the stand-in has no calendars") };
    let mut small = small.iter();
    println!("## Bookings during a first sync\n");
    println!(
        "`POST bookings` for one resource while a calendar of {EVENTS} events of another is mirrored for the first time; \
         everything on one machine, the stand-in too. A client waits {} ms between two bookings. Each booking is also \
         written to the stand-in and comes back as a push. Medians of {RUNS} runs.\n",
        PAUSE.as_millis()
    );
    println!(
        "| clients | database | idle: median | p99 | during: median | p99 | **p99 during / idle** | bookings | sync took |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for database in databases {
        for clients in CLIENTS {
            let mut runs = Vec::new();
            for _ in 0..RUNS {
                let small = small.next().context("too few calendars")?;
                runs.push(run(&standin, database, clients, small, large).await?);
            }
            let told = |percent: usize, which: fn(&Run) -> &Sample| {
                middle(runs.iter().map(|run| which(run).percentile(percent)))
            };
            let (idle, during) = (told(99, |run| &run.idle), told(99, |run| &run.during));
            println!(
                "| {clients} | {} | {} | {} | {} | {} | **{:.1}** | {} | {} |",
                database.name(),
                ms(told(50, |run| &run.idle)),
                ms(idle),
                ms(told(50, |run| &run.during)),
                ms(during),
                during.as_secs_f64() / idle.as_secs_f64(),
                runs.iter().map(|run| run.idle.len() + run.during.len()).sum::<usize>(),
                s(middle(runs.iter().map(|run| run.sync))),
            );
        }
    }
    println!();
    Ok(())
}

async fn run(standin: &Standin, database: &Database, clients: usize, small: &str, large: &str) -> Result<Run> {
    let daemon = Arc::new(Daemon::start(standin, database).await?);
    daemon.mirror(small, "one").await?;
    daemon.mirrored(small).await?;
    let next = Arc::new(AtomicI32::new(0));
    // Connections, statements and caches are made here.
    book(&daemon, &next, clients, async {
        sleep(Duration::from_secs(1)).await;
        Ok(())
    })
    .await?;
    let (idle, ()) = book(&daemon, &next, clients, async {
        sleep(IDLE).await;
        Ok(())
    })
    .await?;
    let (during, sync) = book(&daemon, &next, clients, async {
        let started = Instant::now();
        daemon.mirror(large, "two").await?;
        while !daemon.is_mirrored(large).await? {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(started.elapsed())
    })
    .await?;
    Ok(Run { idle, during, sync })
}

/// Books with `clients` clients for as long as `meanwhile` lasts.
async fn book<T>(
    daemon: &Arc<Daemon>,
    next: &Arc<AtomicI32>,
    clients: usize,
    meanwhile: impl Future<Output = Result<T>>,
) -> Result<(Sample, T)> {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (daemon, next, over) = (Arc::clone(daemon), Arc::clone(next), Arc::clone(&over));
        tasks.spawn(async move {
            let mut sample = Sample::default();
            while !over.load(Ordering::Relaxed) {
                sample.add(book_one(&daemon, next.fetch_add(1, Ordering::Relaxed)).await?);
                sleep(PAUSE).await;
            }
            anyhow::Ok(sample)
        });
    }
    let outcome = meanwhile.await;
    over.store(true, Ordering::Relaxed);
    let mut all = Sample::default();
    while let Some(sample) = tasks.join_next().await {
        all.extend(sample??);
    }
    Ok((all, outcome?))
}

async fn book_one(daemon: &Daemon, number: i32) -> Result<Duration> {
    let start = calendar::today() + Days::new(2) + TimeDelta::minutes(15) * number;
    let booking = json!({
        "start": start, "duration_min": 15, "resource": "one",
        "customer": { "name": "Nobody", "phone": "+49 30 1234567" },
    });
    let at = daemon.at("bookings");
    let started = Instant::now();
    daemon.http.post(&at, &booking).await?;
    Ok(started.elapsed())
}
