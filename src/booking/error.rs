//! Why the desk did not do what was asked.

use chrono::{DateTime, Utc};

use super::{Standing, together::Wanted};
use crate::{
    availability::{Alternative, Reason, Voice},
    domain::{ServiceId, booking},
    store,
};

/// A time that cannot be had, and what can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, for programs.
    pub reason: Reason,
    /// The nearest other times.
    pub alternatives: Vec<Alternative>,
    /// Of which service they are; a bare time when absent.
    pub service: Option<ServiceId>,
    /// How the mirror stands.
    pub standing: Standing,
    /// How to speak of them.
    pub voice: Voice,
    /// The instant to speak from.
    pub now: DateTime<Utc>,
    /// What to look for instead, until that is done.
    pub(super) wanted: Option<Wanted>,
}

/// Why the desk did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// There is no such thing in this business; its word.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// A parameter names nothing in this business.
    #[error("`{field}`: {detail}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// What would be right.
        detail: String,
    },
    /// The time cannot be had.
    #[error("the time cannot be had: {}", .0.reason.as_str())]
    Refused(Box<Refusal>),
    /// The call holds as many slots as one may.
    #[error("the call holds as many slots as it may")]
    TooManyHolds,
    /// The booking's state does not allow it.
    #[error(transparent)]
    State(#[from] booking::Refused),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Too many searches found nothing.
    #[error("too many searches found nothing")]
    TooManyTries {
        /// When one may be tried again.
        retry_after: std::time::Duration,
    },
    /// A fault on our side.
    #[error(transparent)]
    Store(#[from] store::Error),
}
