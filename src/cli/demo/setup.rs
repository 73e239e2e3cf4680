//! Sets the demo's business up as its operator and owner would: through the API and Google's consent page.

use std::time::Duration;

use anyhow::{Context, bail};
use hyper::{Method, header};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Place, salon};
use crate::cli::client::Client;

/// How often the first sync is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest that a first sync may take.
const FIRST_SYNC_MAX: Duration = Duration::from_mins(10);

/// The business, once its calendars are mirrored.
pub(super) struct Business {
    pub(super) id: String,
    /// Resource ids, in the order of the places.
    pub(super) resources: Vec<String>,
    pub(super) mirrored_events: i64,
}

/// Makes the business, connects Google, assigns the calendars and waits for the first sync.
pub(super) async fn build(client: &Client, places: &[Place], quiet: bool) -> anyhow::Result<Business> {
    let made = client
        .call(
            Method::POST,
            "/businesses",
            Some(&json!({
                "name": salon::NAME, "time_zone": salon::ZONE.name(), "region": salon::REGION, "hours": salon::hours()
            })),
        )
        .await?;
    let business = id(&made)?;
    let at = format!("/businesses/{business}");
    let mut resources = Vec::with_capacity(places.len());
    for place in places {
        let made = client.call(Method::POST, &format!("{at}/resources"), Some(&place.resource())).await?;
        resources.push(id(&made)?);
    }
    for service in salon::services() {
        client.call(Method::POST, &format!("{at}/services"), Some(&service)).await?;
    }
    connect(client, &business).await?;
    // With one resource the primary calendar was taken on by itself; here each place has its own.
    let status = client.call(Method::GET, &format!("/settings/{business}/calendar/status"), None).await?;
    for calendar in status["calendars"].as_array().into_iter().flatten() {
        let unused = json!({ "blocks": false, "target": false });
        client.call(Method::PATCH, &format!("{at}/calendars/{}", id(calendar)?), Some(&unused)).await?;
    }
    for (place, resource) in places.iter().zip(&resources) {
        let wanted = json!({ "google_id": place.id, "resource": resource, "blocks": true, "target": true });
        client.call(Method::POST, &format!("{at}/calendars"), Some(&wanted)).await?;
    }
    let mirrored_events = first_sync(client, &business, quiet).await?;
    Ok(Business { id: business, resources, mirrored_events })
}

fn id(value: &Value) -> anyhow::Result<String> {
    Ok(value["id"].as_str().context("the daemon answered without an id")?.to_owned())
}

/// Goes the owner's way: to the consent page and back, with the cookie of the browser that left.
async fn connect(client: &Client, business: &str) -> anyhow::Result<()> {
    let body = json!({ "business_id": business });
    let started = client.ask(Method::POST, "/auth/google-calendar/start", Some(&body)).await?;
    let text = |answer: &crate::cli::client::Answer, name: header::HeaderName| {
        let value = answer.headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        value.with_context(|| format!("no {name} in the answer, status {}", answer.status))
    };
    let cookie = text(&started, header::SET_COOKIE)?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    let consent = client.send(Method::GET, &text(&started, header::LOCATION)?, &[], None).await?;
    let back = text(&consent, header::LOCATION)?;
    let done = client.send(Method::GET, &back, &[(header::COOKIE, cookie)], None).await?;
    if !done.status.is_success() {
        bail!("Google Calendar could not be connected: {}", done.status);
    }
    Ok(())
}

/// Waits until every calendar is mirrored, and shows how far it is.
async fn first_sync(client: &Client, business: &str, quiet: bool) -> anyhow::Result<i64> {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}")?);
    let waited = tokio::time::timeout(FIRST_SYNC_MAX, async {
        loop {
            let status = client.call(Method::GET, &format!("/settings/{business}/calendar/status"), None).await?;
            let calendars: Vec<&Value> =
                status["calendars"].as_array().into_iter().flatten().filter(|one| one["blocks"] == true).collect();
            let done = calendars.iter().filter(|one| one["as_of"].is_string()).count();
            let events: i64 = calendars.iter().filter_map(|one| one["synced_events"].as_i64()).sum();
            let watched = calendars.iter().filter(|one| one["watched_until"].is_string()).count();
            bar.set_message(format!("first sync: {done} of {} calendars, {events} events", calendars.len()));
            bar.tick();
            if let Some(error) = calendars.iter().find_map(|one| one["last_error"].as_str()) {
                bail!("the first sync failed: {error}");
            }
            if done == calendars.len() && watched == calendars.len() {
                return Ok(events);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    let events = waited.await.context("the first sync takes too long")?;
    bar.finish_and_clear();
    events
}
