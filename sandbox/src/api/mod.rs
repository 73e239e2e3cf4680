//! Calendar API v3 and OAuth over HTTP: which methods there are, and how a call runs.

mod asked;
mod calendars;
mod channels;
mod disorder;
mod dispatch;
mod events;
mod fields;
mod free_busy;
mod lag;
mod list;
mod query;

use axum::Router;
use axum::http::Method as Verb;
use axum::response::Response;
use axum::routing::{MethodFilter, on};

pub(crate) use channels::list_resource_id;
pub(crate) use dispatch::{Aborted, Call};
pub(crate) use query::Query;

use crate::oauth;
use crate::refusal::Refusal;
use crate::state::AppState;

/// What a method does once the caller is known.
pub(crate) type Action = fn(&Call) -> Result<Response, Refusal>;

/// One method of the API.
pub(crate) struct Method {
    /// Google's name for it, as faults and the call log use it.
    pub(crate) id: &'static str,
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    /// The scopes of which a token needs one, without their common beginning; `None` when no token is needed.
    pub(crate) scopes: Scopes,
    pub(crate) action: Action,
}

/// What all scopes of the calendar begin with.
pub(crate) const SCOPE_PREFIX: &str = "https://www.googleapis.com/auth/";

const READ: &[&str] = &[
    "calendar",
    "calendar.readonly",
    "calendar.events",
    "calendar.events.readonly",
    "calendar.events.owned",
    "calendar.events.owned.readonly",
    "calendar.events.freebusy",
    "calendar.events.public.readonly",
    "calendar.app.created",
];
const WRITE: &[&str] = &["calendar", "calendar.events", "calendar.events.owned", "calendar.app.created"];
const LIST: &[&str] = &["calendar", "calendar.readonly", "calendar.calendarlist", "calendar.calendarlist.readonly"];
const LIST_ENTRY: &[&str] = &[
    "calendar",
    "calendar.readonly",
    "calendar.calendarlist",
    "calendar.calendarlist.readonly",
    "calendar.app.created",
];
const CALENDARS: &[&str] =
    &["calendar", "calendar.readonly", "calendar.calendars", "calendar.calendars.readonly", "calendar.app.created"];
const FREE_BUSY: &[&str] = &["calendar", "calendar.readonly", "calendar.freebusy", "calendar.events.freebusy"];

/// Whoever may open a channel may end it.
const CHANNELS: &[&str] = &[
    "calendar",
    "calendar.readonly",
    "calendar.acls",
    "calendar.acls.readonly",
    "calendar.app.created",
    "calendar.calendarlist",
    "calendar.calendarlist.readonly",
    "calendar.events",
    "calendar.events.freebusy",
    "calendar.events.owned",
    "calendar.events.owned.readonly",
    "calendar.events.public.readonly",
    "calendar.events.readonly",
    "calendar.settings",
    "calendar.settings.readonly",
];

type Scopes = Option<&'static [&'static str]>;

const fn method(id: &'static str, verb: Verb, path: &'static str, scopes: Scopes, action: Action) -> Method {
    Method { id, verb, path, scopes, action }
}

/// Every method.
#[rustfmt::skip]
static METHODS: &[Method] = &[
    method("calendar.calendarList.list", Verb::GET, "/calendar/v3/users/me/calendarList", Some(LIST), calendars::list),
    method("calendar.calendarList.get", Verb::GET, "/calendar/v3/users/me/calendarList/{calendar}", Some(LIST_ENTRY), calendars::get_entry),
    method("calendar.calendarList.watch", Verb::POST, "/calendar/v3/users/me/calendarList/watch", Some(LIST), channels::watch_list),
    method("calendar.calendars.get", Verb::GET, "/calendar/v3/calendars/{calendar}", Some(CALENDARS), calendars::get),
    method("calendar.events.list", Verb::GET, "/calendar/v3/calendars/{calendar}/events", Some(READ), list::list),
    method("calendar.events.insert", Verb::POST, "/calendar/v3/calendars/{calendar}/events", Some(WRITE), events::insert),
    method("calendar.events.watch", Verb::POST, "/calendar/v3/calendars/{calendar}/events/watch", Some(READ), channels::watch),
    method("calendar.events.get", Verb::GET, "/calendar/v3/calendars/{calendar}/events/{event}", Some(READ), events::get),
    method("calendar.events.patch", Verb::PATCH, "/calendar/v3/calendars/{calendar}/events/{event}", Some(WRITE), events::patch),
    method("calendar.events.update", Verb::PUT, "/calendar/v3/calendars/{calendar}/events/{event}", Some(WRITE), events::update),
    method("calendar.events.delete", Verb::DELETE, "/calendar/v3/calendars/{calendar}/events/{event}", Some(WRITE), events::delete),
    method("calendar.events.instances", Verb::GET, "/calendar/v3/calendars/{calendar}/events/{event}/instances", Some(READ), list::instances),
    method("calendar.channels.stop", Verb::POST, "/calendar/v3/channels/stop", Some(CHANNELS), channels::stop),
    method("calendar.freebusy.query", Verb::POST, "/calendar/v3/freeBusy", Some(FREE_BUSY), free_busy::query),
    method("oauth2.authorize", Verb::GET, "/o/oauth2/v2/auth", None, oauth::authorize),
    method("oauth2.consent", Verb::POST, "/o/oauth2/v2/auth", None, oauth::consent),
    method("oauth2.token", Verb::POST, "/token", None, oauth::token),
    method("oauth2.revoke", Verb::POST, "/revoke", None, oauth::revoke),
    method("oauth2.userinfo", Verb::GET, "/v1/userinfo", Some(&["openid", "userinfo.email", "userinfo.profile"]), oauth::userinfo),
];

/// The ids of all methods.
pub(crate) fn method_ids() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.id)
}

/// The routes of all methods.
pub(crate) fn routes(state: &AppState) -> Router {
    METHODS.iter().fold(Router::new(), |router, method| {
        let state = state.clone();
        // Every verb in the table is one that a filter exists for.
        let filter = MethodFilter::try_from(method.verb.clone()).unwrap_or(MethodFilter::OPTIONS);
        router.route(method.path, on(filter, move |path, request| dispatch::run(state, method, path, request)))
    })
}
