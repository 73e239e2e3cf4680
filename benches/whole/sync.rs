//! How long the daemon itself works on a first sync, apart from the stand-in.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::{Method, header};
use slotd::google::EVENTS_FIELDS;
use tokio::time::Instant;

use super::{
    calendar,
    http::encoded,
    process::{Daemon, Database, Standin},
    sample::{middle, s},
};

/// Calendars by their numbers of events, and how often each is synced.
const SIZES: [(usize, usize); 2] = [(10_000, 5), (100_000, 3)];

/// What one first sync took.
struct Run {
    wall: Duration,
    cpu: Duration,
    standin_cpu: Duration,
    memory_mib: u64,
}

pub(crate) async fn measure(databases: &[Database]) -> Result<()> {
    println!("## First sync\n");
    println!(
        "From adopting the calendar to its being served. The stand-in's time is what a client that throws the answers \
         away waits for the same pages, one after the other; slotd's own time is the rest. Every event lies inside the \
         mirrored time. Medians of {} and {} runs on empty databases.\n",
        SIZES[0].1, SIZES[1].1
    );
    println!(
        "| events | database | whole | stand-in | **slotd's own** | slotd's processor time | stand-in's processor time | memory at most |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let folder = tempfile::tempdir()?;
    for (events, runs) in SIZES {
        let file = folder.path().join(format!("{events}.ics"));
        calendar::write(&file, events)?;
        let standin = Standin::start(&[&file])?;
        let calendar = standin.calendars.last().context("the stand-in has no calendar")?;
        let mut bare = Vec::new();
        for _ in 0..runs {
            bare.push(fetch(&standin, calendar).await?);
        }
        let bare = middle(bare);
        for database in databases {
            let mut all = Vec::new();
            for _ in 0..runs {
                all.push(sync(&standin, database, calendar).await?);
            }
            let wall = middle(all.iter().map(|run| run.wall));
            println!(
                "| {events} | {} | {} | {} | **{}** | {} | {} | {} MiB |",
                database.name(),
                s(wall),
                s(bare),
                s(wall.saturating_sub(bare)),
                s(middle(all.iter().map(|run| run.cpu))),
                s(middle(all.iter().map(|run| run.standin_cpu))),
                all.iter().map(|run| run.memory_mib).max().unwrap_or_default(),
            );
        }
    }
    println!();
    Ok(())
}

async fn sync(standin: &Standin, database: &Database, calendar: &str) -> Result<Run> {
    let daemon = Daemon::start(standin, database).await?;
    let (cpu, standin_cpu) = (daemon.process.cpu()?, standin.process.cpu()?);
    let started = Instant::now();
    daemon.mirror(calendar, "one").await?;
    daemon.mirrored(calendar).await?;
    Ok(Run {
        wall: started.elapsed(),
        cpu: daemon.process.cpu()?.saturating_sub(cpu),
        standin_cpu: standin.process.cpu()?.saturating_sub(standin_cpu),
        memory_mib: daemon.process.memory()?.peak / 1024,
    })
}

/// Asks for all pages as the daemon does. Only the token of the next page is looked for.
async fn fetch(standin: &Standin, calendar: &str) -> Result<Duration> {
    let list = format!(
        "/calendar/v3/calendars/{}/events?singleEvents=false&maxResults=2500&fields={}",
        encoded(calendar),
        encoded(EVENTS_FIELDS)
    );
    // The tokens are known from a first round, so that the second need not unpack what it gets.
    let mut pages = vec![list.clone()];
    loop {
        let page = standin.http.get(pages.last().unwrap_or(&list)).await?;
        let Some(token) = page["nextPageToken"].as_str() else { break };
        pages.push(format!("{list}&pageToken={}", encoded(token)));
    }
    let started = Instant::now();
    for page in &pages {
        let agent = (header::USER_AGENT, "bench (gzip)");
        standin.http.send(Method::GET, page, &[(header::ACCEPT_ENCODING, "gzip"), agent], None).await?;
    }
    Ok(started.elapsed())
}
