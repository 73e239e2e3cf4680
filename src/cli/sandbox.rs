//! `slotd sandbox`: only the stand-in for Google.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;
use slotd_sandbox::{NewCalendar, Options, Sandbox, ics::import};

use super::{output, start_logs};
use crate::{config::Config, lifecycle::Lifecycle};

/// Whose calendars these are.
pub(super) const OWNER: &str = "owner@example.com";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A calendar exported from Google; may be given several times
    #[arg(long, value_name = "FILE")]
    ics: Vec<PathBuf>,
    /// Where to listen, on loopback; 0 for any free port
    #[arg(long, default_value_t = 8090)]
    port: u16,
    /// Let every consent pass without asking
    #[arg(long)]
    auto_approve: bool,
    /// Also accept parameters and fields that Google's discovery document does not know
    #[arg(long)]
    lenient: bool,
    /// Add every exchange with Google's methods to this file, a line of JSON each; tokens are masked
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Print one JSON line for scripts
    #[arg(long)]
    json: bool,
}

/// A calendar that came from a file.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    /// Google's id of it.
    pub(super) id: String,
    /// Its title.
    pub(super) name: String,
    /// Its zone.
    pub(super) time_zone: String,
    /// Where it came from.
    pub(super) file: PathBuf,
    /// Events that were read.
    pub(super) events: usize,
}

/// Reads exported calendars into a stand-in.
pub(super) fn load(
    sandbox: &Sandbox,
    owner: &str,
    files: &[PathBuf],
    fallback_zone: &str,
) -> anyhow::Result<Vec<Loaded>> {
    let mut loaded = Vec::with_capacity(files.len());
    for file in files {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", file.display()))?;
        let calendar = import(&text, fallback_zone).with_context(|| format!("{}", file.display()))?;
        for skipped in &calendar.skipped {
            let line = skipped.line.map(|line| format!(":{line}")).unwrap_or_default();
            output::complain(&format!("{}{line}: an event was left out: {}", file.display(), skipped.why));
        }
        for zone in &calendar.unknown_zones {
            output::complain(&format!("{}: nobody knows the zone `{zone}`; the calendar's is used", file.display()));
        }
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, events) = (calendar.name.unwrap_or(stem), calendar.events.len());
        let new = NewCalendar {
            id: None,
            summary: name.clone(),
            time_zone: calendar.time_zone.clone(),
            primary: false,
            events: calendar.events,
        };
        let id = sandbox.add_calendar(owner, new).with_context(|| format!("{}", file.display()))?;
        loaded.push(Loaded { id, name, time_zone: calendar.time_zone, file: file.clone(), events });
    }
    Ok(loaded)
}

/// Runs the stand-in until it is told to stop.
pub(super) async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    start_logs(config)?;
    let bind = SocketAddr::from(([127, 0, 0, 1], arguments.port));
    let options = Options {
        bind,
        auto_approve: arguments.auto_approve,
        strict: !arguments.lenient,
        record: arguments.record.clone(),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.with_context(|| format!("cannot listen on {bind}"))?;
    sandbox.add_user(OWNER, "Owner");
    let loaded = load(&sandbox, OWNER, &arguments.ics, "UTC")?;
    let (root, client, token) = (sandbox.root(), sandbox.client(), sandbox.bearer_token(OWNER));
    let primary = json!({ "id": OWNER, "time_zone": "UTC" });
    let files = loaded.iter().map(|one| json!({ "id": one.id, "time_zone": one.time_zone, "file": one.file }));
    let calendars: Vec<_> = std::iter::once(primary).chain(files).collect();
    if arguments.json {
        let line = json!({
            "sandbox": root, "google_token": token, "calendars": calendars,
            "client_id": client.client_id, "client_secret": client.client_secret,
        });
        output::say(&line.to_string());
    } else {
        output::say(&format!("Google's stand-in: {root}\n  week page      {root}/page/\n  bearer token   {token}"));
        output::say(&format!("  OAuth client   {} / {}", client.client_id, client.client_secret));
        for one in &loaded {
            output::say(&format!("  {} events of {} as {}", one.events, one.file.display(), one.id));
        }
    }
    let life = Lifecycle::new();
    let code = life.run_until_stopped().await;
    sandbox.stop().await;
    Ok(code)
}
