//! How the connection to Google stands, and the wish to look at Google now.

use axum::{extract::State, http::StatusCode};
use serde::Serialize;

use super::{
    Json, Path, Problem,
    api::Api,
    audits::AuditBody,
    calendar_body::CalendarBody,
    wire::{StandingBody, local},
};
use crate::{
    auth::Caller,
    booking::Freshness,
    domain::{AccountId, BusinessId},
    store::{
        self, Lane,
        accounts::{Account, AccountStatus},
        api_keys::Scope,
        calendars::Calendar,
        limited::LimitedSeries,
        quota::AccountPause,
    },
};

/// Series that cannot be mirrored in full, of all calendars together, that the status reads.
const LIMITED_READ_MAX: usize = 200;

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

/// How many deliveries were given up.
#[derive(Debug, Serialize)]
struct GivenUpBody {
    /// Events that Google did not take.
    google_dead: i64,
    /// Notices that endpoints did not take.
    webhook_dead: i64,
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
    /// Deliveries that were given up and wait for a person: `GET …/deliveries?state=dead`.
    deliveries: GivenUpBody,
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
    let limited = api.store.read(read).await?;
    let read = store::work::<(i64, i64), store::Error, _>(move |tx| {
        Box::pin(async move { tx.dead_deliveries(business).await })
    });
    let (google_dead, webhook_dead) = api.store.read(read).await?;
    let mirrored = office.calendars.iter().any(|calendar| calendar.blocks && calendar.resource.is_some());
    let (questions, audits) = (api.questions(business).await?, api.audits(business).await?);
    let body = |calendar: Calendar| {
        let asked = questions.get(&calendar.id).copied().unwrap_or_default();
        let audit = AuditBody::find(&audits, calendar.id, calendar.time_zone);
        CalendarBody::new(calendar, asked, &limited).audited(audit)
    };
    let calendars: Vec<CalendarBody> = office.calendars.into_iter().map(body).collect();
    let most_urgent = calendars.iter().max_by_key(|calendar| calendar.urgency()).and_then(CalendarBody::advice);
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
        deliveries: GivenUpBody { google_dead, webhook_dead },
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
