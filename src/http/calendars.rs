//! Calendars: which are mirrored, for whom, and how they stand.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Json, Path, Problem,
    api::Api,
    audits::AuditBody,
    wire::{StandingBody, local},
};
use crate::{
    auth::{Caller, entry_calendar},
    booking::Freshness,
    domain::{AccountId, BusinessId, CalendarId, ResourceId, access},
    google::{self, AccountKey, CalendarEntry},
    store::{
        self, Lane,
        accounts::{Account, AccountStatus},
        api_keys::Scope,
        calendars::Calendar,
        limited::LimitedSeries,
        quota::AccountPause,
        resources::Resource,
    },
};

/// Series of one calendar that the status names, and of all together that it reads.
const LIMITED_SHOWN_MAX: usize = 5;
const LIMITED_READ_MAX: usize = 200;

/// A mirrored calendar as answers tell it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Serialize)]
pub(super) struct CalendarBody {
    id: CalendarId,
    account: AccountId,
    /// Google's id.
    google_id: String,
    summary: String,
    time_zone: &'static str,
    /// Google's word for what the account may do with it.
    access_role: String,
    /// Whether the account's list of calendars names it.
    listed: bool,
    /// Whether the owner hides it there.
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceId>,
    blocks: bool,
    target: bool,
    /// `waiting` for its first sync, `syncing` it, `mirrored`, `failing`, or `lost` when Google does not show it any more.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_since: Option<String>,
    /// What to do about it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<&'static str>,
    /// Bookings whose events are gone, and about which the owner is asked.
    #[serde(skip_serializing_if = "is_zero")]
    asked_bookings: i64,
    /// Items read by the first sync so far, or by the last pass.
    synced_events: i64,
    as_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watched_until: Option<String>,
    /// Items that could only be read in part; they count as busy where their times can be told.
    odd_events: i64,
    /// Series that are not mirrored in full, when there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_series: Option<LimitedBody>,
    next_sync_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// What its last audit found; only in the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<AuditBody>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// What the owner should do about a calendar with so many bookings to be asked about, the most urgent first.
fn advice(calendar: &Calendar, asked_bookings: i64) -> Option<&'static str> {
    let mirror = &calendar.mirror;
    if asked_bookings > 0 {
        return Some(
            "Many events of bookings were deleted at once, and the bookings stand. Say whether they end: POST \
             /api/v1/settings/{business_id}/calendar/{calendar_id}/cancellations with cancel or keep.",
        );
    }
    if mirror.lost_at.is_some() {
        return Some(
            "Google does not show this calendar any more. Share it with the account again, or mirror another one; what was \
             known stays busy meanwhile.",
        );
    }
    if calendar.target && !access::may_write(&calendar.access_role) {
        return Some(
            "Bookings cannot be written to this calendar. Let the account change its events, or choose another target.",
        );
    }
    if !mirror.listed {
        return Some(
            "The account's list of calendars lacks this one, though it can still be read. Add it there again, or mirror \
             another one.",
        );
    }
    None
}

/// Series of a calendar that are not mirrored in full.
#[derive(Debug, Default, Serialize)]
struct LimitedBody {
    count: i64,
    /// Some of them, when the status was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<LimitedEventBody>,
}

#[derive(Debug, Serialize)]
struct LimitedEventBody {
    event_id: String,
    /// `odd`: some of its rules cannot be read. `truncated`: it repeats more often than slotd follows.
    why: String,
}

impl LimitedBody {
    fn new(calendar: &Calendar, series: &[LimitedSeries]) -> Option<Self> {
        let id = calendar.id.to_string();
        let events = series.iter().filter(|(calendar, ..)| *calendar == id).take(LIMITED_SHOWN_MAX);
        let events = events.map(|(_, id, why)| LimitedEventBody { event_id: id.clone(), why: why.clone() }).collect();
        let count = calendar.mirror.limited_series;
        (count > 0).then_some(Self { count, events })
    }
}

impl CalendarBody {
    fn new(calendar: Calendar, asked_bookings: i64, series: &[LimitedSeries]) -> Self {
        let limited_series = LimitedBody::new(&calendar, series);
        let what_to_do = advice(&calendar, asked_bookings);
        let (zone, mirror) = (calendar.time_zone, calendar.mirror);
        Self {
            id: calendar.id,
            account: calendar.account,
            google_id: calendar.google_id,
            summary: calendar.summary,
            time_zone: zone.name(),
            access_role: calendar.access_role,
            listed: mirror.listed,
            hidden: mirror.hidden,
            lost_since: mirror.lost_at.map(|at| local(at, zone)),
            what_to_do,
            asked_bookings,
            resource: calendar.resource,
            blocks: calendar.blocks,
            target: calendar.target,
            state: match (mirror.as_of, mirror.failures, mirror.synced_events) {
                _ if mirror.lost_at.is_some() => "lost",
                (_, 1.., _) => "failing",
                (Some(_), _, _) => "mirrored",
                (None, _, 0) => "waiting",
                (None, _, _) => "syncing",
            },
            synced_events: mirror.synced_events,
            as_of: mirror.as_of.map(|at| local(at, zone)),
            watched_until: mirror.watched_until.map(|at| local(at, zone)),
            odd_events: mirror.odd_events,
            limited_series,
            next_sync_at: local(mirror.due_at, zone),
            last_error: mirror.last_error,
            audit: None,
        }
    }
}

/// An account as answers tell it.
#[derive(Debug, Serialize)]
struct AccountBody {
    id: AccountId,
    email: String,
    status: AccountStatusBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    connected_at: String,
    /// Google asked slotd to leave the account alone until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_until: Option<String>,
    /// Google asked slotd to write no events until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes_paused_until: Option<String>,
    /// Google's word for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum AccountStatusBody {
    Connected,
    NeedsReconnect,
    Disconnected,
}

/// How the connection to Google stands.
#[derive(Debug, Serialize)]
pub(super) struct StatusBody {
    /// `none` when no account was ever connected, else the worst of its accounts.
    connection: &'static str,
    /// What to do about it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<&'static str>,
    accounts: Vec<AccountBody>,
    calendars: Vec<CalendarBody>,
    #[serde(flatten)]
    standing: StandingBody,
}

/// How the connection to Google stands.
pub(super) async fn status(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<Json<StatusBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let (office, standing) = api.desk.standing(business).await?;
    let zone = office.business.time_zone;
    let accounts = api.accounts(business).await?;
    let pauses = store::work::<Vec<AccountPause>, Problem, _>(move |tx| {
        Box::pin(async move { Ok(tx.paused_accounts_of(business).await?) })
    });
    let (pauses, now) = (api.store.read(pauses).await?, api.clock.now());
    let has = |status| accounts.iter().any(|account| account.status == status);
    let connection = if has(AccountStatus::NeedsReconnect) {
        "needs_reconnect"
    } else if has(AccountStatus::Connected) {
        "connected"
    } else if accounts.is_empty() {
        "none"
    } else {
        "disconnected"
    };
    let read = store::work::<Vec<LimitedSeries>, store::Error, _>(move |tx| {
        Box::pin(async move { tx.limited_series(business, LIMITED_READ_MAX).await })
    });
    let limited = api.store.read(read).await.map_err(Problem::internal)?;
    let mirrored = office.calendars.iter().any(|calendar| calendar.blocks && calendar.resource.is_some());
    let (questions, audits) = (api.questions(business).await?, api.audits(business).await?);
    let body = |calendar: Calendar| {
        let asked = questions.get(&calendar.id).copied().unwrap_or_default();
        let audit = AuditBody::find(&audits, calendar.id, calendar.time_zone);
        CalendarBody { audit, ..CalendarBody::new(calendar, asked, &limited) }
    };
    let calendars: Vec<CalendarBody> = office.calendars.into_iter().map(body).collect();
    let urgency =
        |calendar: &&CalendarBody| (calendar.asked_bookings > 0, calendar.lost_since.is_some(), calendar.target);
    let troubled = calendars.iter().filter(|calendar| calendar.what_to_do.is_some());
    let most_urgent = troubled.max_by_key(urgency).and_then(|calendar| calendar.what_to_do);
    let what_to_do = match (connection, standing.freshness) {
        ("needs_reconnect", _) => Some("Connect the Google account again: POST /api/v1/auth/google-calendar/start."),
        ("none" | "disconnected", _) => Some("Connect a Google account: POST /api/v1/auth/google-calendar/start."),
        (_, _) if !mirrored => Some("Choose which calendars make whom busy: POST …/calendars."),
        _ if most_urgent.is_some() => most_urgent,
        (_, _) if pauses.iter().any(|pause| pause.writes_until > now) => {
            Some("Google takes no more events for a while; bookings are written to the calendar when it does again.")
        }
        (_, Freshness::Unknown) => Some("Wait for the first sync to end."),
        (_, Freshness::Stale) => Some("Google cannot be read at the moment; slotd goes on trying."),
        (_, Freshness::Fresh) if !limited.is_empty() => Some(
            "Look at the events under `limited_series` in Google Calendar: give them a simpler rule, or decline or \
             delete them. Times that they take beyond what slotd could read may be told as free.",
        ),
        (_, Freshness::Fresh) => None,
    };
    let later = |at| Some(at).filter(|at| *at > now).map(|at| local(at, zone));
    let pause = |id| pauses.iter().find(|pause| pause.account == id);
    let account = |account: Account| AccountBody {
        paused_until: pause(account.id).and_then(|pause| later(pause.until)),
        writes_paused_until: pause(account.id).and_then(|pause| later(pause.writes_until)),
        pause_reason: pause(account.id).and_then(|pause| pause.reason.clone()),
        id: account.id,
        email: account.email,
        status: match account.status {
            AccountStatus::Connected => AccountStatusBody::Connected,
            AccountStatus::NeedsReconnect => AccountStatusBody::NeedsReconnect,
            AccountStatus::Disconnected => AccountStatusBody::Disconnected,
        },
        last_error: account.last_error,
        connected_at: local(account.connected_at, zone),
    };
    Ok(Json(StatusBody {
        connection,
        what_to_do,
        accounts: accounts.into_iter().map(account).collect(),
        calendars,
        standing: StandingBody::new(&standing, zone),
    }))
}

/// Looks at Google now.
pub(super) async fn sync_now(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Owner)?;
    let wake = store::work::<(), Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            for calendar in tx.calendars(business).await? {
                tx.look_at_calendar(business, calendar.id).await?;
            }
            Ok(())
        })
    });
    api.store.write(Lane::Caller, wake).await?;
    api.mirrors.wake();
    Ok(StatusCode::ACCEPTED)
}

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
    async fn accounts(&self, business: BusinessId) -> Result<Vec<Account>, Problem> {
        let list = store::work::<Vec<Account>, Problem, _>(move |tx| {
            Box::pin(async move {
                tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
                Ok(tx.accounts(business).await?)
            })
        });
        self.store.read(list).await
    }

    /// Of each calendar with an open question, about how many bookings the owner is asked.
    async fn questions(&self, business: BusinessId) -> Result<BTreeMap<CalendarId, i64>, Problem> {
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
