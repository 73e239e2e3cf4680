//! What a business's own programs are told, and when what could not be told is tried again.

use std::{fmt, str::FromStr, time::Duration};

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A booking was made.
    Created,
    /// The receptionist moved a booking.
    Rescheduled,
    /// The receptionist changed its details.
    Edited,
    /// The receptionist called it off.
    Cancelled,
    /// Its time is over.
    Completed,
    /// The owner moved it, in Google.
    MovedByOwner,
    /// The owner called it off, in Google.
    CancelledByOwner,
    /// It meets something else: both stand, and somebody has to look.
    Conflict,
    /// Google refused its event for good.
    CalendarFailed,
    /// Google ended the grant of an account: its owner has to connect it again.
    NeedsReconnect,
    /// A test, which somebody asked for.
    Ping,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Created,
        Self::Rescheduled,
        Self::Edited,
        Self::Cancelled,
        Self::Completed,
        Self::MovedByOwner,
        Self::CancelledByOwner,
        Self::Conflict,
        Self::CalendarFailed,
        Self::NeedsReconnect,
        Self::Ping,
    ];

    /// The word for it in messages, filters and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "booking.created",
            Self::Rescheduled => "booking.rescheduled",
            Self::Edited => "booking.edited",
            Self::Cancelled => "booking.cancelled",
            Self::Completed => "booking.completed",
            Self::MovedByOwner => "booking.moved_by_owner",
            Self::CancelledByOwner => "booking.cancelled_by_owner",
            Self::Conflict => "booking.conflict",
            Self::CalendarFailed => "booking.calendar_failed",
            Self::NeedsReconnect => "calendar.needs_reconnect",
            Self::Ping => "endpoint.ping",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("expected one of {}", words.join(", "))
        })
    }
}

/// How long to wait after the `attempts`th try failed. `None` when it was the last: a schedule of `n` waits allows `n + 1`
/// tries.
#[must_use]
pub fn next_wait(schedule: &[u32], attempts: i64) -> Option<Duration> {
    let place = usize::try_from(attempts.max(1) - 1).ok()?;
    schedule.get(place).map(|seconds| Duration::from_secs((*seconds).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_word() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let refused = "booking.eaten".parse::<Kind>().unwrap_err();
        assert!(refused.contains("booking.created"), "{refused}");
    }

    #[test]
    fn each_failure_waits_longer_until_the_schedule_ends() {
        let waits: Vec<_> = (1..=4).map(|attempt| next_wait(&[5, 300, 1_800], attempt)).collect();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(waits, [seconds(5), seconds(300), seconds(1_800), None]);
        assert_eq!(next_wait(&[], 1), None);
    }
}
