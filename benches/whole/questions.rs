//! How fast questions are answered over HTTP.

use anyhow::{Context, Result};
use chrono::{Days, TimeDelta};
use tokio::time::Instant;

use super::{
    calendar,
    http::encoded,
    process::{Daemon, Database, Standin},
    sample::{Sample, middle, ms},
};

const RUNS: usize = 5;
const ASKED: i32 = 1_000;

pub(crate) async fn measure(databases: &[Database]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("some.ics");
    calendar::write(&file, 2_000)?;
    let standin = Standin::start(&[&file])?;
    let google_id = standin.calendars.last().context("the stand-in has no calendar")?;
    println!("## Questions\n");
    println!(
        "One client, one question at a time over a kept connection; a calendar of 2,000 events. Medians of {RUNS} runs \
         of {ASKED} questions.\n"
    );
    println!("| question | database | median | p99 |\n|---|---|---|---|");
    for database in databases {
        let daemon = Daemon::start(&standin, database).await?;
        daemon.mirror(google_id, "one").await?;
        daemon.mirrored(google_id).await?;
        for (name, question) in [
            ("`GET availability`", "availability?resource=one&duration_min=30&start={from}"),
            ("`GET slots` of a week", "slots?resource=one&duration_min=30&limit=20&from={from}&to={to}"),
            ("`GET busy` of a week", "busy?resource=one&from={from}&to={to}"),
        ] {
            let mut runs = Vec::new();
            for _ in 0..RUNS {
                runs.push(ask(&daemon, question).await?);
            }
            let (p50, p99) = (runs.iter().map(Sample::median), runs.iter().map(|run| run.percentile(99)));
            println!("| {name} | {} | {} | {} |", database.name(), ms(middle(p50)), ms(middle(p99)));
        }
    }
    println!();
    Ok(())
}

async fn ask(daemon: &Daemon, question: &str) -> Result<Sample> {
    let mut sample = Sample::default();
    for number in 0..ASKED {
        let from = calendar::today() + Days::new(1) + TimeDelta::minutes(15) * (number * 7 % 9_000);
        let to = from + TimeDelta::weeks(1);
        let question =
            question.replace("{from}", &encoded(&from.to_rfc3339())).replace("{to}", &encoded(&to.to_rfc3339()));
        let at = daemon.at(&question);
        let started = Instant::now();
        daemon.http.get(&at).await?;
        sample.add(started.elapsed());
    }
    Ok(sample)
}
