//! Why a time cannot be booked.

use serde::{Deserialize, Serialize};

/// Why a time cannot be booked. Only [`Reason::OutsideCoverage`] and [`Reason::Stale`] mean "unknown"; all others are a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody else has it, or the owner is busy.
    Busy,
    /// Outside the opening hours.
    Closed,
    /// The time itself is free, but the buffer before or after it is not.
    Buffer,
    /// Sooner than the service's minimum notice.
    Notice,
    /// The service's cap on bookings is reached.
    Cap,
    /// Already begun.
    Past,
    /// Further ahead than the service is booked.
    Horizon,
    /// The mirror holds no facts about that time.
    OutsideCoverage,
    /// The mirror is older than the caller tolerates.
    Stale,
}

impl Reason {
    /// The word in answers and logs, as serialized.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Buffer => "buffer",
            Self::Notice => "notice",
            Self::Cap => "cap",
            Self::Past => "past",
            Self::Horizon => "horizon",
            Self::OutsideCoverage => "outside_coverage",
            Self::Stale => "stale",
        }
    }

    /// Whether the truth is not known, so that the answer is neither yes nor no.
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        match self {
            Self::OutsideCoverage | Self::Stale => true,
            Self::Busy | Self::Closed | Self::Buffer | Self::Notice | Self::Cap | Self::Past | Self::Horizon => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_serialized_one() {
        for reason in [
            Reason::Busy,
            Reason::Closed,
            Reason::Buffer,
            Reason::Notice,
            Reason::Cap,
            Reason::Past,
            Reason::Horizon,
            Reason::OutsideCoverage,
            Reason::Stale,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
