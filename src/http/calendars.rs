//! Calendars: which are mirrored, and for whom.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, api::Api, calendar_body::CalendarBody};
use crate::{
    auth::{Caller, entry_calendar},
    domain::{AccountId, BusinessId, CalendarId, ResourceId, access},
    google::{self, AccountKey, CalendarEntry},
    store::{
        self, Lane,
        accounts::{Account, AccountStatus},
        api_keys::Scope,
        calendars::Calendar,
        resources::Resource,
    },
};

/// The calendars of a business: those that are mirrored, and those that could be.
#[derive(Debug, Serialize)]
pub(super) struct CalendarsBody {
    calendars: Vec<CalendarBody>,
    /// What the connected accounts see and nobody mirrors yet.
    available: Vec<AvailableBody>,
}

#[derive(Debug, Serialize)]
struct AvailableBody {
    account: AccountId,
    google_id: String,
    summary: String,
    time_zone: Option<String>,
    access_role: Option<String>,
    primary: bool,
}

/// Lists calendars.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<CalendarsBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let (office, _) = api.desk.standing(business).await?;
    let mut available = Vec::new();
    for account in api.accounts(business).await?.iter().filter(|a| a.status == AccountStatus::Connected) {
        for entry in api.entries(account).await? {
            let known = |c: &Calendar| c.account == account.id && c.google_id == entry.id;
            if !office.calendars.iter().any(known) {
                available.push(AvailableBody {
                    account: account.id,
                    google_id: entry.id,
                    summary: entry.title.unwrap_or_default(),
                    time_zone: entry.time_zone,
                    access_role: entry.access_role,
                    primary: entry.primary,
                });
            }
        }
    }
    let questions = api.questions(business).await?;
    let body = |calendar: Calendar| {
        let asked = questions.get(&calendar.id).copied().unwrap_or_default();
        CalendarBody::new(calendar, asked, &[])
    };
    Ok(Json(CalendarsBody { calendars: office.calendars.into_iter().map(body).collect(), available }))
}

/// Body of `POST calendars`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarInput {
    /// As `GET calendars` lists it under `available`.
    google_id: String,
    account: Option<AccountId>,
    /// Id or name.
    resource: String,
    #[serde(default = "yes")]
    blocks: bool,
    #[serde(default)]
    target: bool,
}

const fn yes() -> bool {
    true
}

/// Mirrors a calendar from now on.
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<CalendarInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let zone = api.business(business).await?.time_zone;
    let accounts = api.accounts(business).await?;
    let asked = |account: &&Account| body.account.is_none_or(|id| id == account.id);
    let (mut found, now) = (None, api.clock.now());
    for account in accounts.iter().filter(asked).filter(|account| account.status == AccountStatus::Connected) {
        let entry = api.entries(account).await?.into_iter().find(|entry| entry.id == body.google_id);
        if let Some(entry) = entry {
            found = Some(entry_calendar(CalendarId::new(api.chance.uuid(now)), account, &entry, zone));
            break;
        }
    }
    let unseen = || Problem::invalid("/google_id", "no connected account sees a calendar with this id");
    let mut calendar = found.ok_or_else(unseen)?;
    writable(body.target, &calendar)?;
    (calendar.blocks, calendar.target) = (body.blocks, body.target);
    let add = store::work::<Calendar, Problem, _>(move |tx| {
        Box::pin(async move {
            calendar.resource = Some(resource(tx, business, &body.resource).await?);
            tx.insert_calendar(&calendar).await.map_err(taken)?;
            Ok(calendar)
        })
    });
    let calendar = api.store.write(Lane::Caller, add).await?;
    api.mirrors.wake();
    Ok((StatusCode::CREATED, Json(CalendarBody::new(calendar, 0, &[]))).into_response())
}

fn taken(error: store::Error) -> Problem {
    match error {
        store::Error::Exists => Problem::conflict(
            "calendar",
            "this calendar is mirrored already, or bookings of this resource go to another calendar",
        ),
        other => other.into(),
    }
}

async fn resource(tx: &mut store::Tx, business: BusinessId, text: &str) -> Result<ResourceId, Problem> {
    let known = tx.resources(business).await?;
    let unknown = || Problem::invalid("/resource", "there is no such resource: its id or name is expected");
    Ok(Resource::find(&known, text).ok_or_else(unknown)?.id)
}

/// Body of `PATCH calendars/{id}`. What is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarPatch {
    resource: Option<String>,
    blocks: Option<bool>,
    target: Option<bool>,
}

/// Says whom a calendar concerns, whether it blocks, and whether bookings go there.
pub(super) async fn change(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, CalendarId)>,
    Json(body): Json<CalendarPatch>,
) -> Result<Json<CalendarBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let change = store::work::<Calendar, Problem, _>(move |tx| {
        Box::pin(async move {
            let mut calendar = tx.calendar(business, id).await?.ok_or_else(|| Problem::not_found("calendar"))?;
            writable(body.target == Some(true), &calendar)?;
            if let Some(text) = body.resource {
                calendar.resource = Some(resource(tx, business, &text).await?);
            }
            calendar.blocks = body.blocks.unwrap_or(calendar.blocks);
            calendar.target = body.target.unwrap_or(calendar.target);
            tx.assign_calendar(business, id, calendar.resource, calendar.blocks, calendar.target)
                .await
                .map_err(taken)?;
            Ok(calendar)
        })
    });
    let calendar = api.store.write(Lane::Caller, change).await?;
    let asked = api.questions(business).await?.get(&calendar.id).copied().unwrap_or_default();
    // It may want to be watched now, or not any more.
    api.mirrors.wake();
    Ok(Json(CalendarBody::new(calendar, asked, &[])))
}

/// Bookings go only where they can be written.
fn writable(target: bool, calendar: &Calendar) -> Result<(), Problem> {
    if target && !access::may_write(&calendar.access_role) {
        return Err(Problem::invalid(
            "/target",
            format!(
                "the account has the role {} there and cannot write; writer or owner is needed",
                calendar.access_role
            ),
        ));
    }
    Ok(())
}

impl Api {
    pub(super) async fn accounts(&self, business: BusinessId) -> Result<Vec<Account>, Problem> {
        let list = store::work::<Vec<Account>, Problem, _>(move |tx| {
            Box::pin(async move {
                tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
                Ok(tx.accounts(business).await?)
            })
        });
        self.store.read(list).await
    }

    /// Of each calendar with an open question, about how many bookings the owner is asked.
    pub(super) async fn questions(&self, business: BusinessId) -> Result<BTreeMap<CalendarId, i64>, Problem> {
        let read = store::work::<_, Problem, _>(move |tx| {
            Box::pin(async move { Ok(tx.cancellation_questions(business).await?) })
        });
        self.store.read(read).await
    }

    /// What an account sees, asked of Google now.
    async fn entries(&self, account: &Account) -> Result<Vec<CalendarEntry>, Problem> {
        let (business, id, asked_at) = (account.business, account.id, self.clock.now());
        let error = match self.google.calendar_list(AccountKey { business, account: id }).await {
            Ok(entries) => return Ok(entries),
            Err(error) => error,
        };
        if error.needs_consent() {
            let why = error.to_string();
            let mark = store::work::<bool, Problem, _>(move |tx| {
                Box::pin(async move { Ok(tx.mark_needs_reconnect(business, id, asked_at, &why).await?) })
            });
            if self.store.write(Lane::Caller, mark).await? {
                tracing::warn!(%business, account = %id, %error, "Google ended the grant");
            }
        }
        Err(google_problem(error))
    }
}

/// A failure of Google's, for somebody who waits for the answer.
pub(super) fn google_problem(error: google::Error) -> Problem {
    match error {
        google::Error::NeedsReconnect { .. } | google::Error::InsufficientScope => {
            Problem::conflict("needs_reconnect", "the Google account has to be connected again")
        }
        error @ google::Error::HeldBack { .. } => {
            Problem::unavailable(seconds(&error), "Google cannot be asked at the moment, to stay within its quotas")
        }
        error if error.is_transient() => Problem::unavailable(seconds(&error), "Google does not answer at the moment"),
        error => Problem::conflict("google", error.to_string()),
    }
}

/// When to come again: when Google or a quota says so, within a minute; else soon.
fn seconds(error: &google::Error) -> u32 {
    error.retry_after().map_or(5, |wait| u32::try_from(wait.as_secs() + 1).unwrap_or(60).min(60))
}
