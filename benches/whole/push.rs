//! How soon the owner's event is busy, and how soon a booking stands in the owner's calendar.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    calendar,
    http::encoded,
    process::{Daemon, Database, Standin},
    sample::{Sample, ms},
};

const TRIES: usize = 200;
/// The longest wait in one try.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two looks, so that looking is not what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Between two tries: owners and callers are not machines.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("some.ics");
    calendar::write(&file, 500)?;
    let standin = Standin::start(&[&file])?;
    let google_id = standin.calendars.last().context("the stand-in has no calendar")?;
    let daemon = Daemon::start(&standin, &Database::Sqlite).await?;
    daemon.mirror(google_id, "one").await?;
    daemon.mirrored(google_id).await?;
    watched(&daemon).await?;

    let bench = Tries {
        standin: &standin,
        daemon: &daemon,
        list: format!("/calendar/v3/calendars/{}/events", encoded(google_id)),
    };
    let (mut busy, mut shown) = (Sample::default(), Sample::default());
    for (number, start) in bench.free_starts(2 * TRIES).await?.into_iter().enumerate() {
        if number % 2 == 0 {
            busy.add(bench.event_to_busy(start).await?);
        } else {
            shown.add(bench.booking_to_calendar(start).await?);
        }
        sleep(PAUSE).await;
    }
    println!("## From one side to the other\n");
    println!(
        "A calendar of 500 events with a live notification channel; {TRIES} tries each, one at a time. The clock starts \
         before the first request is sent, and the answer is looked at every {} ms.\n",
        LOOK_EVERY.as_millis()
    );
    println!("| way | median | p99 | slowest |\n|---|---|---|---|");
    let ways = [
        ("event made in Google → `GET availability` says busy", busy),
        ("`POST bookings` → event in Google's list", shown),
    ];
    for (way, sample) in ways {
        println!(
            "| {way} | {} | {} | {} |",
            ms(sample.median()),
            ms(sample.percentile(99)),
            ms(sample.percentile(100))
        );
    }
    println!();
    Ok(())
}

/// Waits until Google pushes.
async fn watched(daemon: &Daemon) -> Result<()> {
    let status = format!("/settings/{}/calendar/status", daemon.business);
    super::process::until("the notification channel", async || {
        let status = daemon.http.get(&status).await?;
        Ok(status["calendars"].as_array().into_iter().flatten().any(|one| one["watched_until"].is_string()))
    })
    .await
}

struct Tries<'a> {
    standin: &'a Standin,
    daemon: &'a Daemon,
    /// The events of the calendar at the stand-in.
    list: String,
}

impl Tries<'_> {
    /// Starts of half hours that are free and do not touch.
    async fn free_starts(&self, count: usize) -> Result<Vec<DateTime<Utc>>> {
        let mut starts = Vec::with_capacity(count);
        let mut next = calendar::today() + Days::new(2);
        while starts.len() < count {
            if self.available(next).await? {
                starts.push(next);
            }
            next += TimeDelta::minutes(30);
        }
        Ok(starts)
    }

    async fn available(&self, start: DateTime<Utc>) -> Result<bool> {
        let at = encoded(&start.to_rfc3339());
        let asked = self.daemon.at(&format!("availability?resource=one&duration_min=30&start={at}"));
        let answer = self.daemon.http.get(&asked).await?;
        answer["available"].as_bool().with_context(|| format!("nobody knows: {answer}"))
    }

    async fn event_to_busy(&self, start: DateTime<Utc>) -> Result<Duration> {
        let end = start + TimeDelta::minutes(30);
        let event = json!({ "summary": "Dentist", "start": { "dateTime": start }, "end": { "dateTime": end } });
        let started = Instant::now();
        self.standin.http.post(&self.list, &event).await?;
        while self.available(start).await? {
            wait(started, "an event").await?;
        }
        Ok(started.elapsed())
    }

    async fn booking_to_calendar(&self, start: DateTime<Utc>) -> Result<Duration> {
        let booking = json!({
            "start": start, "duration_min": 30, "resource": "one",
            "customer": { "name": "Nobody", "phone": "+49 30 1234567" },
        });
        let bound = |at: DateTime<Utc>| encoded(&at.to_rfc3339());
        let (from, to) = (bound(start), bound(start + TimeDelta::minutes(30)));
        let week = format!("{}?singleEvents=true&timeMin={from}&timeMax={to}", self.list);
        let started = Instant::now();
        self.daemon.http.post(&self.daemon.at("bookings"), &booking).await?;
        while self.standin.http.get(&week).await?["items"].as_array().is_none_or(Vec::is_empty) {
            wait(started, "a booking").await?;
        }
        Ok(started.elapsed())
    }
}

async fn wait(started: Instant, what: &str) -> Result<()> {
    if started.elapsed() > WAIT_MAX {
        bail!("{what} did not come through in {} s", WAIT_MAX.as_secs());
    }
    sleep(LOOK_EVERY).await;
    Ok(())
}
