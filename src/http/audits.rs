//! Audits of mirrors: asking for them, and what the last ones found.

use axum::{extract::State, http::StatusCode};
use chrono_tz::Tz;
use serde::Serialize;

use super::{Path, Problem, api::Api, wire::local};
use crate::{
    auth::Caller,
    domain::{BusinessId, CalendarId, drift::whole_seconds},
    store::{
        self, Lane,
        api_keys::Scope,
        audits::{Audit, AuditOutcome},
    },
};

/// The last audit of a calendar as answers tell it.
#[derive(Debug, Serialize)]
pub(super) struct AuditBody {
    /// When it began.
    at: String,
    outcome: AuditOutcome,
    drift_s: DriftBody,
    /// Events that are missing in the mirror, too many, or not the same.
    events_differing: i64,
    events_compared: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    healed_at: Option<String>,
    /// Of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// The last audit that found drift, when it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_drift: Option<Box<AuditBody>>,
}

/// Seconds of busy time, rounded up.
#[derive(Debug, Serialize)]
struct DriftBody {
    /// Busy at Google and free here.
    missing: i64,
    /// Free at Google and busy here.
    surplus: i64,
}

impl AuditBody {
    /// What is known of a calendar among the latest audits of its business.
    pub(super) fn find(audits: &[Audit], calendar: CalendarId, zone: Tz) -> Option<Self> {
        let mut its = audits.iter().filter(|audit| audit.calendar == calendar);
        let latest = Self::new(its.next()?, zone);
        Some(Self { last_drift: its.next().map(|audit| Box::new(Self::new(audit, zone))), ..latest })
    }

    fn new(audit: &Audit, zone: Tz) -> Self {
        Self {
            at: local(audit.started_at, zone),
            outcome: audit.outcome,
            drift_s: DriftBody { missing: whole_seconds(audit.missing), surplus: whole_seconds(audit.surplus) },
            events_differing: audit.events_differing,
            events_compared: audit.events_compared,
            healed_at: audit.healed_at.map(|at| local(at, zone)),
            why: audit.why.clone(),
            last_drift: None,
        }
    }
}

/// Compares each calendar with Google, soon.
pub(super) async fn audit_now(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Owner)?;
    let order = store::work::<(), Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            let now = tx.now();
            for calendar in tx.calendars(business).await? {
                tx.order_audit(business, calendar.id, now).await?;
            }
            Ok(())
        })
    });
    api.store.write(Lane::Caller, order).await?;
    api.mirrors.wake_audits();
    Ok(StatusCode::ACCEPTED)
}

impl Api {
    /// The latest audits of a business.
    pub(super) async fn audits(&self, business: BusinessId) -> Result<Vec<Audit>, Problem> {
        let read = store::work::<Vec<Audit>, Problem, _>(move |tx| {
            Box::pin(async move { Ok(tx.latest_audits(business).await?) })
        });
        self.store.read(read).await
    }
}
