//! What all requests share.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::faults::{Faults, Shape};
use crate::model::{Calendar, Model, Role};
use crate::oauth::Grants;
use crate::push::Channels;
use crate::refusal::Refusal;
use crate::tokens::Sealer;

/// Most calls that are remembered.
const CALLS_MAX: usize = 20_000;
/// Most changes that a slow listener may lag behind before it misses some.
const CHANGES_MAX: usize = 1024;

/// A call that the stand-in received, for tests.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Call {
    /// The method's id, such as `calendar.events.list`.
    pub method: &'static str,
    /// The calendar that the path names, `primary` resolved.
    pub calendar: Option<String>,
    /// In whose name the call was made.
    pub user: Option<String>,
    /// The page of a list that was asked for, from 1.
    pub page: Option<u32>,
    /// Whether a list asked for everything or for what has changed.
    pub shape: Option<Shape>,
    /// The watch channel that the call was to open or to stop.
    pub channel: Option<String>,
    /// The fault that struck the call, by the name under which it is counted.
    pub fault: Option<String>,
    /// The HTTP status of the answer; 0 when there was none.
    pub status: u16,
    /// When the answer was ready.
    pub at: chrono::DateTime<chrono::Utc>,
}

/// A write to a calendar.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The calendar's id.
    pub(crate) calendar: String,
}

/// A calendar as scripts see it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CalendarSummary {
    pub(crate) id: String,
    pub(crate) summary: String,
    pub(crate) time_zone: String,
    pub(crate) owner: String,
}

/// A user as scripts see it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct UserSummary {
    pub(crate) email: String,
    pub(crate) name: String,
}

/// A handle on everything a running stand-in holds.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) address: SocketAddr,
    pub(crate) faults: Faults,
    pub(crate) channels: Channels,
    pub(crate) sealer: Sealer,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    model: Mutex<Model>,
    grants: Mutex<Grants>,
    calls: Mutex<VecDeque<Call>>,
    changes: broadcast::Sender<Change>,
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AppState {
    pub(crate) fn new(options: Options, address: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        Self(Arc::new(Shared {
            faults: Faults::default(),
            channels: Channels::default(),
            sealer: Sealer::default(),
            model: Mutex::default(),
            grants: Mutex::new(Grants::new(options.access_token_ttl)),
            calls: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            options,
            address,
            stop,
            tasks,
        }))
    }

    /// Where the stand-in answers, without a trailing slash.
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything stored. Hold it briefly, and never across an await.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        locked(&self.model)
    }

    pub(crate) fn grants(&self) -> MutexGuard<'_, Grants> {
        locked(&self.grants)
    }

    /// Changes a calendar that the user may write, and tells everybody who watches it.
    pub(crate) fn write<T>(
        &self,
        email: &str,
        calendar: &str,
        change: impl FnOnce(&mut Calendar, Role) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut model = self.model();
        let (calendar, role) = model.calendar_to_write(email, calendar)?;
        let before = calendar.revision;
        let done = change(calendar, role);
        if calendar.revision != before {
            // Under the lock, so that messages are numbered in the order of the writes.
            self.channels.notify(&calendar.resource_id());
            let change = Change { calendar: calendar.id.clone() };
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
        done
    }

    /// Every write from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// A token for scripts with all scopes; the same at each call, without an end.
    pub(crate) fn bearer_token(&self, email: &str) -> String {
        self.grants().script_token(email)
    }

    pub(crate) fn users(&self) -> Vec<UserSummary> {
        let model = self.model();
        model.users.iter().map(|(email, user)| UserSummary { email: email.clone(), name: user.name.clone() }).collect()
    }

    pub(crate) fn calendars(&self) -> Vec<CalendarSummary> {
        let model = self.model();
        let summary = |calendar: &Calendar| CalendarSummary {
            id: calendar.id.clone(),
            summary: calendar.summary.clone(),
            time_zone: calendar.zone.name().to_owned(),
            owner: calendar.owner.clone(),
        };
        model.calendars.values().map(summary).collect()
    }

    /// Ends a user's grant as if the user had removed the app from the Google account. Channels end with it.
    pub(crate) fn revoke_user(&self, user: &str) {
        self.grants().revoke_user(user);
        self.channels.stop_all_of(user);
    }

    pub(crate) fn note(&self, call: Call) {
        let mut calls = locked(&self.calls);
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        locked(&self.calls).iter().cloned().collect()
    }
}

/// A panic elsewhere does not make the data wrong: every change of it is one step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
