//! Faults that a test switches on.
//!
//! A fault names the calls it strikes (method, calendar, user), lets some of them pass, strikes some, and says what then
//! happens. The first fault in the list that strikes decides.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// A fault: which calls it strikes, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method's id, such as `calendar.events.list`, `oauth2.refresh` or `push`; a trailing `*` stands for any rest.
    pub method: String,
    /// Strikes only calls for this calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// Strikes only calls in the name of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How many matching calls pass before the first is struck.
    #[serde(default)]
    pub skip: u32,
    /// How many calls it strikes; until it is removed when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What happens to a call that is struck.
    pub effect: Effect,
}

/// What happens to a call that is struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Refused with Google's error envelope, before anything is written.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The reason in `errors[0]`.
        reason: String,
        /// The domain in `errors[0]`; `global` when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        /// The message; a plain one when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Seconds for a `Retry-After` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// Refused with the error body of the OAuth endpoints.
    RefuseOauth {
        /// The HTTP status.
        status: u16,
        /// The `error` code, such as `invalid_grant`.
        error: String,
    },
    /// Answered by something in front of Google: a status and a page.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// Answered with a status and nothing else.
    Empty {
        /// The HTTP status.
        status: u16,
    },
    /// Served, but late.
    Delay {
        /// Milliseconds before the call is looked at.
        ms: u64,
    },
    /// Never answered, and not done.
    HangBefore,
    /// Done, and never answered.
    HangAfter,
    /// The connection is closed without an answer, and nothing was done.
    ResetBefore,
    /// The connection is closed without an answer after the work was done.
    ResetAfter,
    /// Done, and the connection closed half way through the answer.
    Truncate,
    /// A list of events answers with an empty page before the page it should give; for ever it is a page-token loop.
    EmptyPage,
    /// An incremental list of events does not see the latest writes yet.
    Stale,
    /// A push that is lost on the way (method `push` only).
    Drop,
    /// A push that comes twice (method `push` only).
    Twice,
}

/// The faults of a running stand-in.
#[derive(Debug, Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    armed: Vec<Armed>,
    down: bool,
    token_epochs: HashMap<String, u64>,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
}

/// A fault in the list, with the number to remove it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The number that [`Faults::add`] gave it.
    pub id: u64,
    /// What is left of it.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Faults {
    /// Switches a fault on. Returns a number to remove it by.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        inner.armed.push(Armed { id, fault });
        id
    }

    /// Switches a fault off. Returns whether it was still on.
    pub fn remove(&self, id: u64) -> bool {
        let mut inner = self.lock();
        let before = inner.armed.len();
        inner.armed.retain(|armed| armed.id != id);
        inner.armed.len() < before
    }

    /// Switches everything off, also being down. Sync tokens that have expired stay so.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.armed.clear();
        inner.down = false;
    }

    /// The faults that still strike.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.lock().armed.iter().map(|armed| Listed { id: armed.id, fault: armed.fault.clone() }).collect()
    }

    /// Answers everything with 503, or stops doing so.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Whether everything is answered with 503.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Makes every sync token handed out so far for a calendar's events end in 410 `fullSyncRequired`.
    pub fn expire_sync_tokens(&self, calendar: &str) {
        *self.lock().token_epochs.entry(calendar.to_owned()).or_default() += 1;
    }

    pub(crate) fn token_epoch(&self, calendar: &str) -> u64 {
        self.lock().token_epochs.get(calendar).copied().unwrap_or(0)
    }

    /// Refuses to refresh a user's tokens with `error`, until cleared: `invalid_grant` with 400, or a 5xx.
    pub fn refuse_refresh(&self, email: &str, status: u16, error: &str) -> u64 {
        self.add(Fault {
            method: "oauth2.refresh".to_owned(),
            calendar: None,
            user: Some(email.to_owned()),
            skip: 0,
            times: None,
            effect: Effect::RefuseOauth { status, error: error.to_owned() },
        })
    }

    /// The effect on this call, if it is struck; uses up one of the fault's times.
    pub(crate) fn strike(&self, method: &str, calendar: Option<&str>, user: Option<&str>) -> Option<Effect> {
        let mut inner = self.lock();
        let mut struck = None;
        for armed in &mut inner.armed {
            let fault = &mut armed.fault;
            if !fault.matches(method, calendar, user) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
            }
            struck = Some(fault.effect.clone());
            break;
        }
        inner.armed.retain(|armed| armed.fault.times != Some(0));
        struck
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// A fault that strikes every call of a method once.
    #[must_use]
    pub fn once(method: &str, effect: Effect) -> Self {
        Self { method: method.to_owned(), calendar: None, user: None, skip: 0, times: Some(1), effect }
    }

    fn matches(&self, method: &str, calendar: Option<&str>, user: Option<&str>) -> bool {
        let method_fits = match self.method.strip_suffix('*') {
            Some(prefix) => method.starts_with(prefix),
            None => self.method == method,
        };
        let fits =
            |wanted: &Option<String>, given: Option<&str>| wanted.as_deref().is_none_or(|wanted| given == Some(wanted));
        self.times != Some(0) && method_fits && fits(&self.calendar, calendar) && fits(&self.user, user)
    }
}

impl Effect {
    /// Google's own refusals, with the status and domain that belong to the reason.
    #[must_use]
    pub fn refuse(status: u16, domain: &str, reason: &str) -> Self {
        Self::Refuse {
            status,
            reason: reason.to_owned(),
            domain: Some(domain.to_owned()),
            message: None,
            retry_after_s: None,
        }
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let Self::Refuse { status, reason, domain, message, retry_after_s } = self else { return None };
        let domain = domain.clone().unwrap_or_else(|| "global".to_owned());
        let message = message.clone().unwrap_or_else(|| format!("The stand-in was told to refuse: {reason}"));
        let mut refusal = Refusal::new(*status, domain, reason.clone(), message);
        refusal.retry_after_s = *retry_after_s;
        Some(refusal)
    }
}
