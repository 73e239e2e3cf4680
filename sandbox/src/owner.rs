//! What owners do with whole calendars, for tests and scripts: the library's face of it, and the routes.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{NewCalendar, RefusedEvents, Role, parse_zone};
use crate::state::AppState;
use crate::{Sandbox, api};

impl Sandbox {
    /// Makes a calendar with its events, or fills the owner's empty primary calendar. Returns Google's id for it.
    ///
    /// # Errors
    ///
    /// When the owner or zone is unknown, the id is taken, or an event cannot be stored; nothing is kept then.
    pub fn add_calendar(&self, owner_email: &str, calendar: NewCalendar) -> Result<String, RefusedEvents> {
        self.state().add_calendar(owner_email, calendar)
    }

    /// Gives a user a role in a calendar, or another role, and puts it into that user's list. As with Google, the sync
    /// tokens of the calendar end. Returns whether there are such a calendar and user.
    #[must_use]
    pub fn share(&self, calendar: &str, email: &str, role: Role) -> bool {
        self.state().share(calendar, email, role)
    }

    /// Takes a user's role in a calendar away. It is gone from the user's list then, every call for it is answered with
    /// 404, and its channels of this user end. Returns whether the user had a role.
    #[must_use]
    pub fn unshare(&self, calendar: &str, email: &str) -> bool {
        self.state().unshare(calendar, email)
    }

    /// Moves a calendar to another IANA zone: its days begin at other instants, timed events stay where they are. As
    /// with Google, neither a push nor an incremental list of calendars tells it. Returns whether there are such a
    /// calendar and zone.
    #[must_use]
    pub fn set_time_zone(&self, calendar: &str, zone: &str) -> bool {
        self.state().set_time_zone(calendar, zone)
    }

    /// Gives a calendar another title, which incremental lists of calendars do not tell. Returns whether there is such a
    /// calendar.
    #[must_use]
    pub fn set_title(&self, calendar: &str, title: &str) -> bool {
        self.state().set_title(calendar, title)
    }

    /// Takes a calendar out of a user's list ("unsubscribe"). The user may still read it. Returns whether it was in the
    /// list; a user's primary calendar stays there.
    #[must_use]
    pub fn remove_calendar(&self, calendar: &str, email: &str) -> bool {
        self.state().arrange(|model| model.unlist(email, calendar))
    }

    /// Hides a calendar in a user's list, or shows it again. Returns whether it is in the list.
    #[must_use]
    pub fn hide_calendar(&self, calendar: &str, email: &str, hidden: bool) -> bool {
        self.state().arrange(|model| model.hide(email, calendar, hidden))
    }

    /// Deletes a calendar with its events for everybody. Returns whether it could be deleted: primary calendars cannot.
    #[must_use]
    pub fn delete_calendar(&self, calendar: &str) -> bool {
        self.state().delete_calendar(calendar)
    }
}

impl AppState {
    fn add_calendar(&self, owner: &str, calendar: NewCalendar) -> Result<String, RefusedEvents> {
        self.arrange(|model| model.add_calendar(owner, calendar))
    }

    fn share(&self, calendar: &str, email: &str, role: Role) -> bool {
        let shared = self.arrange(|model| model.share(calendar, email, role));
        if shared {
            self.faults.expire_sync_tokens(calendar);
        }
        shared
    }

    fn unshare(&self, calendar: &str, email: &str) -> bool {
        let unshared = self.arrange(|model| model.unshare(calendar, email));
        if unshared {
            self.faults.expire_sync_tokens(calendar);
            self.channels.end(|channel| channel.calendar == calendar && channel.user == email);
        }
        unshared
    }

    fn set_time_zone(&self, calendar: &str, zone: &str) -> bool {
        let mut model = self.model();
        let (Some(calendar), Ok(zone)) = (model.calendars.get_mut(calendar), parse_zone(zone)) else { return false };
        calendar.moved |= calendar.zone != zone;
        calendar.zone = zone;
        true
    }

    fn set_title(&self, calendar: &str, title: &str) -> bool {
        let mut model = self.model();
        let Some(calendar) = model.calendars.get_mut(calendar) else { return false };
        title.clone_into(&mut calendar.summary);
        true
    }

    fn delete_calendar(&self, calendar: &str) -> bool {
        let deleted = self.arrange(|model| model.delete_calendar(calendar));
        if deleted {
            self.channels.end(|channel| channel.calendar == calendar);
        }
        deleted
    }

    /// Changes who sees which calendars, and tells everybody who watches a list that has become another.
    fn arrange<T>(&self, change: impl FnOnce(&mut crate::model::Model) -> T) -> T {
        let mut model = self.model();
        let revisions: Vec<u64> = model.users.values().map(|user| user.list_revision).collect();
        let done = change(&mut model);
        for ((email, user), before) in model.users.iter().zip(revisions) {
            if user.list_revision != before {
                self.channels.notify(&api::list_resource_id(email));
            }
        }
        done
    }
}

/// Routes below `/sandbox` that change calendars as a whole.
pub(crate) fn routes(state: AppState) -> Router {
    Router::new()
        .route("/sandbox/calendars", post(add))
        .route("/sandbox/calendars/{calendar}", patch(change).delete(remove))
        .route("/sandbox/calendars/{calendar}/roles/{user}", put(set_role).delete(remove_role))
        .route("/sandbox/users/{user}/calendars/{calendar}", put(set_entry).delete(remove_entry))
        .with_state(state)
}

/// 204, or 404 where there is nothing of that name.
fn answer(done: bool) -> StatusCode {
    if done { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Added {
    owner: String,
    summary: String,
    time_zone: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    events: Vec<Value>,
}

async fn add(State(state): State<AppState>, Json(wanted): Json<Added>) -> (StatusCode, Json<Value>) {
    let Added { owner, summary, time_zone, id, events } = wanted;
    match state.add_calendar(&owner, NewCalendar { id, summary, time_zone, primary: false, events }) {
        Ok(id) => (StatusCode::CREATED, Json(json!({ "id": id }))),
        Err(why) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": why.to_string() }))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Changed {
    #[serde(default)]
    summary: Option<String>,
    #[serde(default)]
    time_zone: Option<String>,
}

async fn change(
    State(state): State<AppState>,
    Path(calendar): Path<String>,
    Json(wanted): Json<Changed>,
) -> StatusCode {
    let zoned = wanted.time_zone.is_none_or(|zone| state.set_time_zone(&calendar, &zone));
    let titled = wanted.summary.is_none_or(|title| state.set_title(&calendar, &title));
    answer(zoned && titled)
}

async fn remove(State(state): State<AppState>, Path(calendar): Path<String>) -> StatusCode {
    answer(state.delete_calendar(&calendar))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedRole {
    role: Role,
}

async fn set_role(
    State(state): State<AppState>,
    Path((calendar, user)): Path<(String, String)>,
    Json(wanted): Json<WantedRole>,
) -> StatusCode {
    answer(state.share(&calendar, &user, wanted.role))
}

async fn remove_role(State(state): State<AppState>, Path((calendar, user)): Path<(String, String)>) -> StatusCode {
    answer(state.unshare(&calendar, &user))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedEntry {
    hidden: bool,
}

async fn set_entry(
    State(state): State<AppState>,
    Path((user, calendar)): Path<(String, String)>,
    Json(wanted): Json<WantedEntry>,
) -> StatusCode {
    answer(state.arrange(|model| model.hide(&user, &calendar, wanted.hidden)))
}

async fn remove_entry(State(state): State<AppState>, Path((user, calendar)): Path<(String, String)>) -> StatusCode {
    answer(state.arrange(|model| model.unlist(&user, &calendar)))
}
