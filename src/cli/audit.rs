//! `slotd audit`: lets the running daemon compare mirrors with Google, and waits for what it finds.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::json;
use tokio::time::Instant;

use super::{keys::master_keys, output};
use crate::{
    app,
    config::Config,
    domain::{BusinessId, CalendarId, drift::whole_seconds},
    store::{
        self, Lane, Store,
        accounts::AccountStatus,
        audits::{Audit, AuditOutcome},
        businesses::Business,
    },
};

/// How often the results are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Businesses read at once.
const BUSINESSES: u32 = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only the calendars of this business
    #[arg(long, value_name = "ID")]
    business: Option<BusinessId>,
    /// Only this calendar, by slotd's id
    #[arg(long, value_name = "ID")]
    calendar: Option<CalendarId>,
    /// How long to wait for the results, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait_s: u32,
    /// Print one JSON document for scripts
    #[arg(long)]
    json: bool,
}

/// Calendars whose audits are asked for, each with the start of its last one.
type Asked = BTreeMap<(BusinessId, CalendarId), Option<DateTime<Utc>>>;

/// Exits with 0 when all are equal, 1 when an audit failed or did not end in time, 2 when one found drift.
pub(super) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let store = app::open_store(config, Arc::new(master_keys(config)?)).await?;
    let done = audit(&store, arguments).await;
    store.close().await;
    done
}

async fn audit(store: &Store, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut asked = Asked::new();
    for business in every_business(store).await? {
        if arguments.business.is_none_or(|only| only == business) {
            asked.extend(ask(store, business, arguments.calendar).await?);
        }
    }
    anyhow::ensure!(!asked.is_empty(), "there is no such calendar that is mirrored and whose account is connected");
    let end = Instant::now() + Duration::from_secs(arguments.wait_s.into());
    let mut results = Vec::new();
    loop {
        results.extend(new_results(store, &mut asked).await?);
        if asked.is_empty() || Instant::now() >= end {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tell(&results, &asked, arguments.json);
    let has = |outcome| results.iter().any(|audit| audit.outcome == outcome);
    Ok(match (has(AuditOutcome::Drift), has(AuditOutcome::Failed) || !asked.is_empty()) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// Every business, oldest first.
pub(super) async fn every_business(store: &Store) -> store::Result<Vec<BusinessId>> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let read = store::work::<Vec<Business>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.businesses(after, BUSINESSES).await })
        });
        let page = store.read(read).await?;
        let Some(last) = page.last().map(|business| business.id) else { return Ok(all) };
        all.extend(page.into_iter().map(|business| business.id));
        after = Some(last);
    }
}

/// Asks for the audits of a business's calendars that can be audited.
async fn ask(store: &Store, business: BusinessId, only: Option<CalendarId>) -> store::Result<Asked> {
    let ask = store::work::<Asked, store::Error, _>(move |tx| {
        Box::pin(async move {
            let (now, mut asked) = (tx.now(), Asked::new());
            let known = tx.latest_audits(business).await?;
            for calendar in tx.calendars(business).await? {
                let ready = calendar.mirror.as_of.is_some()
                    && calendar.mirror.account_status == AccountStatus::Connected
                    && only.is_none_or(|only| only == calendar.id);
                if ready {
                    tx.order_audit(business, calendar.id, now).await?;
                    let last = known.iter().find(|audit| audit.calendar == calendar.id);
                    asked.insert((business, calendar.id), last.map(|audit| audit.started_at));
                }
            }
            Ok(asked)
        })
    });
    store.write(Lane::Caller, ask).await
}

/// What has come in since; it is no longer `asked` for.
async fn new_results(store: &Store, asked: &mut Asked) -> store::Result<Vec<Audit>> {
    let mut results = Vec::new();
    let mut businesses: Vec<BusinessId> = asked.keys().map(|(business, _)| *business).collect();
    businesses.dedup();
    for business in businesses {
        let read = store::work::<Vec<Audit>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.latest_audits(business).await })
        });
        for audit in store.read(read).await? {
            let key = (business, audit.calendar);
            if asked.get(&key).is_some_and(|before| before.is_none_or(|before| audit.started_at > before)) {
                asked.remove(&key);
                results.push(audit);
            }
        }
    }
    Ok(results)
}

fn tell(results: &[Audit], missing: &Asked, as_json: bool) {
    if as_json {
        let audits: Vec<_> = results
            .iter()
            .map(|audit| {
                json!({
                    "business": audit.business,
                    "calendar": audit.calendar,
                    "at": audit.started_at,
                    "outcome": audit.outcome,
                    "drift_s": { "missing": whole_seconds(audit.missing), "surplus": whole_seconds(audit.surplus) },
                    "events_differing": audit.events_differing,
                    "events_compared": audit.events_compared,
                    "why": audit.why,
                })
            })
            .collect();
        let waiting: Vec<CalendarId> = missing.keys().map(|(_, calendar)| *calendar).collect();
        return output::say(&json!({ "audits": audits, "waiting": waiting }).to_string());
    }
    for audit in results {
        let (calendar, compared) = (audit.calendar, audit.events_compared);
        output::say(&match audit.outcome {
            AuditOutcome::Equal => format!("equal   {calendar}: {compared} events compared"),
            AuditOutcome::Failed => format!("failed  {calendar}: {}", audit.why.as_deref().unwrap_or_default()),
            AuditOutcome::Drift => format!(
                "DRIFT   {calendar}: {} s missing, {} s surplus, {} of {compared} events differ",
                whole_seconds(audit.missing),
                whole_seconds(audit.surplus),
                audit.events_differing,
            ),
        });
    }
    for (_, calendar) in missing.keys() {
        output::say(&format!("waits   {calendar}: is `slotd serve` running on this database?"));
    }
}
