//! The life of a booking, and what it occupies.
//!
//! ```text
//! Held ──confirm──▶ Confirmed ──complete──▶ Completed
//!   ├────expire───▶ Expired  ├───cancel───▶ Cancelled
//!   └────release──▶ Released
//! ```

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    interval::Interval,
    sabotage::{Bug, sabotaged},
};

/// What a booking occupies: its time and the buffers around it. `None` when negative buffers leave nothing of it, or the
/// calendar ends.
#[must_use]
pub fn claim(booked: Interval, buffer_before: TimeDelta, buffer_after: TimeDelta) -> Option<Interval> {
    booked.widen(buffer_before, buffer_after)
}

/// Who called a booking off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The person on the phone, through the receptionist.
    Customer,
    /// The business, in Google or in the portal.
    Owner,
}

/// Where a booking stands. Each state carries exactly the facts that exist in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// The slot is reserved for a caller.
    Held {
        /// First instant at which the hold no longer counts.
        until: DateTime<Utc>,
    },
    /// Booked; the event is, or will be, in the owner's calendar.
    Confirmed {
        /// When.
        at: DateTime<Utc>,
    },
    /// Confirmed, and its time is over.
    Completed {
        /// When that was noticed.
        at: DateTime<Utc>,
    },
    /// Called off after it was confirmed.
    Cancelled {
        /// When.
        at: DateTime<Utc>,
        /// By whom.
        by: Party,
    },
    /// The hold ran out.
    Expired {
        /// When it ran out.
        at: DateTime<Utc>,
    },
    /// The hold was given back: the caller hung up, or chose another time.
    Released {
        /// When.
        at: DateTime<Utc>,
    },
}

/// A step that the current state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// The hold ran out before.
    #[error("the hold ran out")]
    HoldRanOut,
    /// The hold has not run out yet, or the booked time is not over yet.
    #[error("it is too early for that")]
    TooEarly,
    /// Only held bookings are released or expire; confirmed ones are cancelled.
    #[error("the booking is confirmed")]
    Confirmed,
    /// Only confirmed bookings are cancelled or completed; holds are released.
    #[error("the booking is only held")]
    OnlyHeld,
    /// The booking was completed, cancelled, expired or released before.
    #[error("the booking is already over")]
    AlreadyOver,
}

impl State {
    /// The word of the vocabulary, as in answers and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Confirmed { .. } => "confirmed",
            Self::Completed { .. } => "completed",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired { .. } => "expired",
            Self::Released { .. } => "released",
        }
    }

    /// Whether its claim keeps others out at `now`. A hold counts until it runs out, noticed or not.
    #[must_use]
    pub fn is_active(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Held { until } => now < until,
            Self::Confirmed { .. } | Self::Completed { .. } => true,
            Self::Cancelled { .. } | Self::Expired { .. } | Self::Released { .. } => false,
        }
    }

    /// Confirms a hold. Confirming twice is not an error and keeps the first time.
    ///
    /// # Errors
    ///
    /// [`Refused::HoldRanOut`] from `until` on; [`Refused::AlreadyOver`] at an end.
    pub fn confirm(self, now: DateTime<Utc>) -> Result<Self, Refused> {
        match self {
            Self::Held { until } if now < until || (sabotaged(Bug::HoldOutlivesItsEnd) && now == until) => {
                Ok(Self::Confirmed { at: now })
            }
            Self::Held { .. } | Self::Expired { .. } => Err(Refused::HoldRanOut),
            Self::Confirmed { .. } => Ok(self),
            Self::Completed { .. } | Self::Cancelled { .. } | Self::Released { .. } => Err(Refused::AlreadyOver),
        }
    }

    /// Ends a hold that ran out. Its end is the instant it ran out, not the one at which that was noticed.
    ///
    /// # Errors
    ///
    /// [`Refused::TooEarly`] before `until`; [`Refused::Confirmed`] and [`Refused::AlreadyOver`] for what is no hold.
    pub fn expire(self, now: DateTime<Utc>) -> Result<Self, Refused> {
        match self {
            Self::Held { until } if until <= now => Ok(Self::Expired { at: until }),
            Self::Held { .. } => Err(Refused::TooEarly),
            Self::Expired { .. } => Ok(self),
            Self::Confirmed { .. } => Err(Refused::Confirmed),
            Self::Completed { .. } | Self::Cancelled { .. } | Self::Released { .. } => Err(Refused::AlreadyOver),
        }
    }

    /// Gives a hold back. Releasing twice, or a hold that ran out meanwhile, is not an error: the slot is free.
    ///
    /// # Errors
    ///
    /// [`Refused::Confirmed`] and [`Refused::AlreadyOver`] for what is no hold.
    pub fn release(self, now: DateTime<Utc>) -> Result<Self, Refused> {
        match self {
            Self::Held { until } if until <= now => Ok(Self::Expired { at: until }),
            Self::Held { .. } => Ok(Self::Released { at: now }),
            Self::Released { .. } | Self::Expired { .. } => Ok(self),
            Self::Confirmed { .. } => Err(Refused::Confirmed),
            Self::Completed { .. } | Self::Cancelled { .. } => Err(Refused::AlreadyOver),
        }
    }

    /// Calls a confirmed booking off. Cancelling twice keeps the first cancellation.
    ///
    /// # Errors
    ///
    /// [`Refused::OnlyHeld`] for a hold; [`Refused::AlreadyOver`] at another end.
    pub fn cancel(self, now: DateTime<Utc>, by: Party) -> Result<Self, Refused> {
        match self {
            Self::Confirmed { .. } => Ok(Self::Cancelled { at: now, by }),
            Self::Cancelled { .. } => Ok(self),
            Self::Held { .. } => Err(Refused::OnlyHeld),
            Self::Completed { .. } | Self::Expired { .. } | Self::Released { .. } => Err(Refused::AlreadyOver),
        }
    }

    /// Notes that a confirmed booking, which ends at `ends`, is over. Completing twice keeps the first time.
    ///
    /// # Errors
    ///
    /// [`Refused::TooEarly`] before `ends`; [`Refused::OnlyHeld`] for a hold; [`Refused::AlreadyOver`] at another end.
    pub fn complete(self, now: DateTime<Utc>, ends: DateTime<Utc>) -> Result<Self, Refused> {
        match self {
            Self::Confirmed { .. } if ends <= now => Ok(Self::Completed { at: now }),
            Self::Confirmed { .. } => Err(Refused::TooEarly),
            Self::Completed { .. } => Ok(self),
            Self::Held { .. } => Err(Refused::OnlyHeld),
            Self::Cancelled { .. } | Self::Expired { .. } | Self::Released { .. } => Err(Refused::AlreadyOver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    #[test]
    fn a_hold_that_ran_out_cannot_be_confirmed() {
        let held = State::Held { until: at(5) };
        assert_eq!(held.confirm(at(4)), Ok(State::Confirmed { at: at(4) }));
        assert_eq!(held.confirm(at(5)), Err(Refused::HoldRanOut), "half-open: gone at its last instant");
        assert!(!held.is_active(at(5)), "also before anybody noticed");
    }

    #[test]
    fn repeating_a_step_changes_nothing() {
        let confirmed = State::Confirmed { at: at(1) };
        let cancelled = confirmed.cancel(at(2), Party::Owner).unwrap();
        assert_eq!(confirmed.confirm(at(9)), Ok(confirmed));
        assert_eq!(cancelled.cancel(at(9), Party::Customer), Ok(cancelled));
        let completed = confirmed.complete(at(3), at(3)).unwrap();
        assert_eq!(completed.complete(at(9), at(3)), Ok(completed));
    }

    #[test]
    fn nothing_leaves_an_end() {
        let ends = [
            State::Completed { at: at(1) },
            State::Cancelled { at: at(1), by: Party::Owner },
            State::Expired { at: at(1) },
            State::Released { at: at(1) },
        ];
        for end in ends {
            let steps = [
                end.confirm(at(9)),
                end.expire(at(9)),
                end.release(at(9)),
                end.cancel(at(9), Party::Customer),
                end.complete(at(9), at(2)),
            ];
            assert!(steps.iter().all(|step| step.is_err() || *step == Ok(end)), "{end:?}: {steps:?}");
        }
    }

    #[test]
    fn a_confirmed_booking_is_cancelled_and_a_hold_released() {
        assert_eq!(State::Held { until: at(5) }.cancel(at(1), Party::Customer), Err(Refused::OnlyHeld));
        assert_eq!(State::Confirmed { at: at(1) }.release(at(2)), Err(Refused::Confirmed));
        assert_eq!(State::Held { until: at(5) }.release(at(7)), Ok(State::Expired { at: at(5) }));
        assert_eq!(State::Confirmed { at: at(1) }.complete(at(3), at(4)), Err(Refused::TooEarly));
    }

    #[test]
    fn a_claim_is_the_booking_and_its_buffers() {
        let booked = Interval::new(at(60), at(90)).unwrap();
        let claimed = claim(booked, TimeDelta::minutes(5), TimeDelta::minutes(10)).unwrap();
        assert_eq!((claimed.start(), claimed.end()), (at(55), at(100)));
        assert_eq!(claim(booked, TimeDelta::minutes(-40), TimeDelta::zero()), None);
    }
}
