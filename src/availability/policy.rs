//! What a mirror that may be behind Google is good for, by the wish of its business.
//!
//! [`decide`] is the whole of it; the desk only carries it out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Reason;

/// How far an answer can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Google tells slotd of changes, or was asked lately.
    Fresh,
    /// Changes of the last while may be missing.
    Stale,
    /// A calendar was never read in full.
    Unknown,
}

/// What a business wants when a mirror is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// Answer and book by what is mirrored, without asking Google first.
    Answer,
    /// Ask Google first; when it does not answer in time, go by what is mirrored.
    #[default]
    Verify,
    /// Ask Google first; when it does not answer in time, nothing is known and nothing is booked.
    Refuse,
}

/// What a business wants while a calendar was never read in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnknown {
    /// Say what is known all the same, which is never "free", and take bookings with a warning.
    Answer,
    /// Nothing is known and nothing is booked.
    #[default]
    Refuse,
}

/// What a business wants done with a mirror that may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// When the mirror is stale.
    pub stale: WhenStale,
    /// When a calendar was never read in full.
    pub unknown: WhenUnknown,
}

impl WhenStale {
    const ALL: [Self; 3] = [Self::Answer, Self::Verify, Self::Refuse];

    /// The word in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Verify => "verify",
            Self::Refuse => "refuse",
        }
    }
}

impl WhenUnknown {
    const ALL: [Self; 2] = [Self::Answer, Self::Refuse];

    /// The word in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Refuse => "refuse",
        }
    }
}

/// A word that names no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPolicy;

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such policy")
    }
}

impl FromStr for WhenStale {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(NoPolicy)
    }
}

impl FromStr for WhenUnknown {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(NoPolicy)
    }
}

/// Why somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be told. How old an answer may be is the caller's demand, and is kept.
    Question,
    /// To book. Google's own failure is no reason to send a customer away, unless the business says so.
    Booking,
}

/// How the mirror of one resource stands when somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How far it can be believed.
    pub freshness: Freshness,
    /// Its last look at Google is older than a question may tolerate, or than a booking likes.
    pub too_old: bool,
    /// Google was asked already for this very request, in vain where the rest still says so.
    pub looked: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Ask Google first, and decide again.
    Look,
    /// Go by the mirror.
    Answer,
    /// Go by the mirror, and say that it may be behind. One that was never read still makes nothing free.
    Warn,
    /// Neither yes nor no.
    Refuse(Reason),
}

/// What the mirror of one resource is good for, once Google was asked or before.
///
/// Never [`Course::Look`] twice; never a plain answer from a mirror that is not fresh; never an answer from one that is
/// older than a question tolerates.
#[must_use]
pub const fn decide(policy: Policy, purpose: Purpose, facts: Facts) -> Course {
    let Facts { freshness, too_old, looked } = facts;
    let (asks, stale) = (matches!(purpose, Purpose::Question), matches!(freshness, Freshness::Stale));
    let trusts = matches!(policy.stale, WhenStale::Answer);
    let looks = if asks { too_old || (stale && !trusts) } else { (too_old || stale) && !trusts };
    if looks && !looked {
        return Course::Look;
    }
    match freshness {
        Freshness::Unknown if asks && too_old => Course::Refuse(Reason::OutsideCoverage),
        Freshness::Unknown => match policy.unknown {
            WhenUnknown::Answer => Course::Warn,
            WhenUnknown::Refuse => Course::Refuse(Reason::OutsideCoverage),
        },
        Freshness::Fresh | Freshness::Stale if asks && too_old => Course::Refuse(Reason::Stale),
        // The channel is alive and so the mirror is fresh; only the second look that a booking wants did not come.
        Freshness::Fresh if too_old && !trusts => Course::Warn,
        Freshness::Fresh => Course::Answer,
        Freshness::Stale => match policy.stale {
            WhenStale::Answer | WhenStale::Verify => Course::Warn,
            WhenStale::Refuse => Course::Refuse(Reason::Stale),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRESHNESS: [Freshness; 3] = [Freshness::Fresh, Freshness::Stale, Freshness::Unknown];

    fn policies() -> impl Iterator<Item = Policy> {
        WhenStale::ALL
            .into_iter()
            .flat_map(|stale| WhenUnknown::ALL.into_iter().map(move |unknown| Policy { stale, unknown }))
    }

    fn policy() -> impl Strategy<Value = Policy> {
        prop::sample::select(policies().collect::<Vec<_>>())
    }

    fn facts() -> impl Strategy<Value = Facts> {
        (prop::sample::select(&FRESHNESS[..]), any::<bool>(), any::<bool>())
            .prop_map(|(freshness, too_old, looked)| Facts { freshness, too_old, looked })
    }

    fn purpose() -> impl Strategy<Value = Purpose> {
        prop::sample::select(vec![Purpose::Question, Purpose::Booking])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn the_whole_table_keeps_its_promises(policy in policy(), purpose in purpose(), facts in facts()) {
            let course = decide(policy, purpose, facts);
            let after = decide(policy, purpose, Facts { looked: true, ..facts });
            prop_assert_ne!(after, Course::Look, "one look at most");
            if course != Course::Look {
                prop_assert_eq!(course, after, "a look that was not wanted changes nothing");
            }
            if let Course::Refuse(reason) = course {
                let unknown = facts.freshness == Freshness::Unknown;
                prop_assert_eq!(reason, if unknown { Reason::OutsideCoverage } else { Reason::Stale });
                prop_assert!(reason.is_unknown());
            }
            if facts.freshness == Freshness::Fresh && !facts.too_old {
                prop_assert_eq!(course, Course::Answer);
            }
            if course == Course::Answer {
                prop_assert_eq!(facts.freshness, Freshness::Fresh, "what is not fresh is marked");
            }
            if purpose == Purpose::Question && facts.too_old {
                prop_assert!(matches!(course, Course::Look | Course::Refuse(_)), "never a guess");
            }
            if purpose == Purpose::Booking && policy == Policy::default() && facts.freshness != Freshness::Unknown {
                prop_assert!(!matches!(course, Course::Refuse(_)), "Google's failure refuses no booking");
            }
            if policy.stale == WhenStale::Answer && (purpose == Purpose::Booking || !facts.too_old) {
                prop_assert_ne!(course, Course::Look, "nobody waits");
            }
        }

        #[test]
        fn a_stricter_policy_never_says_more(purpose in purpose(), facts in facts(), unknown in 0..2_usize) {
            let facts = Facts { looked: true, ..facts };
            let refuses = WhenStale::ALL.map(|stale| {
                let course = decide(Policy { stale, unknown: WhenUnknown::ALL[unknown] }, purpose, facts);
                matches!(course, Course::Refuse(_))
            });
            prop_assert!(refuses.is_sorted(), "{refuses:?}");
            let refuses = WhenUnknown::ALL.map(|unknown| {
                matches!(decide(Policy { unknown, ..Policy::default() }, purpose, facts), Course::Refuse(_))
            });
            prop_assert!(refuses.is_sorted(), "{refuses:?}");
        }
    }

    #[test]
    fn the_words_are_the_serialized_ones() {
        for stale in WhenStale::ALL {
            assert_eq!(serde_json::to_value(stale).unwrap(), stale.as_str());
            assert_eq!(stale.as_str().parse(), Ok(stale));
        }
        for unknown in WhenUnknown::ALL {
            assert_eq!(serde_json::to_value(unknown).unwrap(), unknown.as_str());
            assert_eq!(unknown.as_str().parse(), Ok(unknown));
        }
        assert_eq!("verify".parse::<WhenUnknown>(), Err(NoPolicy));
    }

    /// What the documentation calls it.
    fn words(policy: Policy, purpose: Purpose, facts: Facts) -> String {
        let word = |course| match (course, purpose) {
            (Course::Look, _) => unreachable!("one look at most"),
            (Course::Answer, Purpose::Question) => "answer".to_owned(),
            (Course::Answer, Purpose::Booking) => "book".to_owned(),
            (Course::Warn, Purpose::Question) if facts.freshness == Freshness::Unknown => {
                "what is known; `null` for the rest".to_owned()
            }
            (Course::Warn, Purpose::Question) => "answer".to_owned(),
            (Course::Warn, Purpose::Booking) => "book, `warning`".to_owned(),
            (Course::Refuse(reason), Purpose::Question) => format!("`null`, `{}`", reason.as_str()),
            (Course::Refuse(reason), Purpose::Booking) => format!("409 `{}`", reason.as_str()),
        };
        let after = word(decide(policy, purpose, Facts { looked: true, ..facts }));
        match decide(policy, purpose, facts) {
            Course::Look => format!("look; else {after}"),
            _ => after,
        }
    }

    #[test]
    fn the_documentation_has_the_whole_table() {
        let documented: Vec<&str> = include_str!("../../docs/api.md")
            .lines()
            .filter(|line| line.starts_with("| a question") || line.starts_with("| a booking"))
            .collect();
        let stale = |purpose, facts| {
            WhenStale::ALL.map(|stale| words(Policy { stale, ..Policy::default() }, purpose, facts)).join(" | ")
        };
        let unknown = |purpose, too_old| {
            let facts = Facts { freshness: Freshness::Unknown, too_old, looked: true };
            WhenUnknown::ALL.map(|unknown| words(Policy { unknown, ..Policy::default() }, purpose, facts)).join(" | ")
        };
        let facts = |freshness, too_old| Facts { freshness, too_old, looked: false };
        let (question, booking) = (Purpose::Question, Purpose::Booking);
        let known = [
            format!("| a question | fresh | {} |", stale(question, facts(Freshness::Fresh, false))),
            format!("| a question | stale | {} |", stale(question, facts(Freshness::Stale, false))),
            format!(
                "| a question | older than `max_staleness_s` | {} |",
                stale(question, facts(Freshness::Stale, true))
            ),
            format!("| a booking | fresh, looked at just now | {} |", stale(booking, facts(Freshness::Fresh, false))),
            format!(
                "| a booking | fresh, the last look is older | {} |",
                stale(booking, facts(Freshness::Fresh, true))
            ),
            format!("| a booking | stale | {} |", stale(booking, facts(Freshness::Stale, true))),
            format!("| a question | unknown | {} |", unknown(question, false)),
            format!("| a booking | unknown | {} |", unknown(booking, true)),
        ];
        assert_eq!(documented, known);
    }
}
