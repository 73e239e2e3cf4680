//! How much memory the daemon keeps when it has mirrored many calendars and nothing happens.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Result, bail};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    calendar,
    process::{Daemon, Database, Memory, Process, Standin},
};

/// Numbers of calendars at which one daemon is looked at, one after the other.
const STEPS: [usize; 3] = [50, 250, 500];
const EVENTS: usize = 200;
/// The longest wait for one step's calendars.
const SYNC_MAX: Duration = Duration::from_mins(3);
/// Between two looks at the status, which is an answer of a megabyte in the end.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Memory is steady when it has moved by less than a hundredth in so many looks, a second apart.
const STEADY_LOOKS: usize = 5;
/// The longest wait for that.
const STEADY_MAX: Duration = Duration::from_mins(1);

pub(crate) async fn measure(databases: &[Database]) -> Result<()> {
    println!("## Memory\n");
    println!(
        "One daemon takes on calendars of {EVENTS} events each, one in fifty of them a series; all of one account and with \
         live notification channels. Looked at when all are mirrored and the memory stands still. Resident is `VmRSS`; \
         its own part is `RssAnon`, and most of the rest are pages of files, which the kernel takes back when it wants \
         to. Per 1,000 calendars is what the last row has more than that of {} calendars.\n",
        STEPS[0]
    );
    println!("| calendars | database | resident | of that its own | at most so far |\n|---|---|---|---|---|");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("calendar.ics");
    calendar::write(&file, EVENTS)?;
    let most = STEPS.last().copied().unwrap_or_default();
    for database in databases {
        let standin = Standin::start(&vec![file.as_path(); most])?;
        let daemon = Daemon::start(&standin, database).await?;
        print(0, database, steady(&daemon.process).await?);
        // The first is the account's own calendar, which is empty.
        let mut ids = standin.calendars.iter().skip(1);
        let (mut mirrored, mut first, mut last) = (0, None, Memory::default());
        for step in STEPS {
            for google_id in ids.by_ref().take(step - mirrored) {
                let wanted = json!({ "google_id": google_id, "resource": "one", "blocks": true });
                daemon.http.post(&daemon.at("calendars"), &wanted).await?;
            }
            mirrored = step;
            all_watched(&daemon, step).await?;
            last = steady(&daemon.process).await?;
            first.get_or_insert(last);
            print(step, database, last);
        }
        let first = first.unwrap_or_default();
        println!(
            "| per 1,000 | {} | **{}** | **{}** | |",
            database.name(),
            per_thousand(first.resident, last.resident, most - STEPS[0])?,
            per_thousand(first.own, last.own, most - STEPS[0])?,
        );
    }
    println!();
    Ok(())
}

fn print(calendars: usize, database: &Database, memory: Memory) {
    println!(
        "| {calendars} | {} | {} MiB | {} MiB | {} MiB |",
        database.name(),
        memory.resident / 1024,
        memory.own / 1024,
        memory.peak / 1024
    );
}

/// What a thousand calendars take, from what `calendars` more of them took.
fn per_thousand(before_kib: u64, after_kib: u64, calendars: usize) -> Result<String> {
    let more = i64::try_from(after_kib)? - i64::try_from(before_kib)?;
    Ok(format!("{} MiB", more * 1_000 / i64::try_from(calendars)? / 1024))
}

/// Waits until so many calendars are mirrored and have a notification channel.
async fn all_watched(daemon: &Daemon, calendars: usize) -> Result<()> {
    let (status, started) = (format!("/settings/{}/calendar/status", daemon.business), Instant::now());
    loop {
        let body = daemon.http.get(&status).await?;
        let all = body["calendars"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(error) = all.iter().find_map(|one| one["last_error"].as_str()) {
            bail!("a sync failed: {error}");
        }
        let done = all.iter().filter(|one| one["as_of"].is_string() && one["watched_until"].is_string()).count();
        if done >= calendars {
            return Ok(());
        }
        if started.elapsed() > SYNC_MAX {
            bail!("only {done} of {calendars} calendars were mirrored and watched in {} s", SYNC_MAX.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The memory once it stands still.
async fn steady(process: &Process) -> Result<Memory> {
    let (mut looks, started) = (VecDeque::new(), Instant::now());
    loop {
        let memory = process.memory()?;
        looks.push_back(memory.resident);
        if looks.len() > STEADY_LOOKS {
            looks.pop_front();
            let (least, most) = (looks.iter().min().copied(), looks.iter().max().copied());
            let moved = most.unwrap_or_default() - least.unwrap_or_default();
            if moved * 100 < memory.resident {
                return Ok(memory);
            }
        }
        if started.elapsed() > STEADY_MAX {
            bail!(
                "the memory did not stand still in {} s; it was {} KiB at last",
                STEADY_MAX.as_secs(),
                memory.resident
            );
        }
        sleep(Duration::from_secs(1)).await;
    }
}
