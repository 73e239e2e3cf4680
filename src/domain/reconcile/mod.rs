//! What a booking does about what happened to its event. Pure.
//!
//! The calendar is the owner's: a newer edit of theirs wins, unless their business wants bookings kept ([`Policy`]), and
//! what they deleted is never made again. slotd's own writes come back as echoes and change nothing. While a write is
//! under way nothing is decided: what was seen may be from before or after it.

#[cfg(test)]
mod model;
#[cfg(test)]
mod table;

use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{
    Interval,
    sabotage::{Bug, sabotaged},
};

/// What a business wants when its owner moves or deletes a booking's event in Google.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Policy {
    /// The booking follows.
    #[default]
    OwnerWins,
    /// The booking stays as it is, and the difference is told. The event stays as the owner left it.
    KeepAndAlert,
}

impl Policy {
    const ALL: [Self; 2] = [Self::OwnerWins, Self::KeepAndAlert];

    /// The word in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OwnerWins => "owner_wins",
            Self::KeepAndAlert => "keep_and_alert",
        }
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("one of {} is expected", Self::ALL.map(Self::as_str).join(", "));
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or_else(expected)
    }
}

impl TryFrom<String> for Policy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Policy> for &'static str {
    fn from(policy: Policy) -> Self {
        policy.as_str()
    }
}

/// A booking as slotd has it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and every combination has its decision")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked<'a> {
    /// When it is.
    pub interval: Interval,
    /// Whether it stands; else it was called off.
    pub stands: bool,
    /// Whether the owner called it off in Google: an event that comes back then is the owner's wish.
    pub ended_by_owner: bool,
    /// Whether its time lies in the past, so that the owner's changes are history and not a move.
    pub over: bool,
    /// Whether Google was told of the booking as it is.
    pub told: bool,
    /// What Google is known to have held after the last write, or to have been left at when the booking was kept.
    pub written: Option<Written<'a>>,
    /// The time in a write that was begun and not settled.
    pub sent: Option<Interval>,
    /// The longest time that it may have.
    pub longest: TimeDelta,
    /// What its business wants.
    pub policy: Policy,
}

/// What Google is known to have held after slotd's last write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// Its time.
    pub interval: Interval,
    /// Its etag.
    pub etag: Option<&'a str>,
}

/// What kind of event the owner has made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Happens once, from one instant to another.
    Once,
    /// A matter of whole days.
    AllDay,
    /// Repeats.
    Series,
}

/// How the calendar shows its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As taken.
    Busy,
    /// As free.
    Free,
    /// The owner declined.
    Declined,
}

/// What a calendar shows under the booking's event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The event is there.
    Live {
        /// Its time; `None` when it cannot be told.
        interval: Option<Interval>,
        /// Its etag.
        etag: Option<String>,
        /// What kind of event it is.
        shape: Shape,
        /// How its time is shown.
        mark: Mark,
    },
    /// Google says that it was deleted.
    Deleted,
    /// Google knows no such event, in a calendar that can be read.
    Missing,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it is slotd's own write, or a change that does not concern the booking.
    Nothing,
    /// The same as [`Decision::Nothing`], but the etag has moved on and is to be remembered.
    Remember,
    /// A write is under way: look again when it has settled.
    Wait,
    /// The owner moved it: the booking follows.
    Move(Interval),
    /// The owner deleted it: the booking is called off.
    Cancel,
    /// The owner moved or deleted it: the booking stays as it is, and so does what the owner left.
    Keep,
    /// Google does not show the booking as it is: write it.
    Write,
    /// The booking was called off, and its event is there still, or again: delete it.
    Remove,
}

/// How an event differs from a booking that stands and does not follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Difference {
    /// It is at another time.
    Moved,
    /// It is gone.
    Deleted,
    /// It repeats.
    Series,
    /// It is a matter of whole days.
    AllDay,
    /// Its time cannot be told, or no booking may be that long.
    Unfit,
    /// The calendar shows its time as free.
    Free,
    /// The owner declined.
    Declined,
}

impl Difference {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Moved, Self::Deleted, Self::Series, Self::AllDay, Self::Unfit, Self::Free, Self::Declined];

    /// The word for it, in tables and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Deleted => "deleted",
            Self::Series => "series",
            Self::AllDay => "all_day",
            Self::Unfit => "unfit",
            Self::Free => "free",
            Self::Declined => "declined",
        }
    }
}

/// Decides what a booking does about `seen`.
#[must_use]
pub fn plan(booking: &Linked<'_>, seen: &Seen) -> Decision {
    if let Some(sent) = booking.sent {
        // What the owner made of it besides is told by a read when the write has settled.
        let echo = matches!(
            seen,
            Seen::Live { interval: Some(interval), shape: Shape::Once, mark: Mark::Busy, .. } if *interval == sent
        );
        return if echo && booking.stands { Decision::Nothing } else { Decision::Wait };
    }
    match (seen, booking.stands) {
        (Seen::Deleted | Seen::Missing, false) => Decision::Nothing,
        // They deleted it and restored it: it stays in their calendar, and the booking stays called off.
        (Seen::Live { .. }, false) if booking.ended_by_owner => Decision::Nothing,
        (Seen::Live { .. }, false) => Decision::Remove,
        // Before the first write there is nothing that the owner could have deleted.
        (Seen::Missing, true) if booking.written.is_none() => Decision::Write,
        (Seen::Deleted | Seen::Missing, true) if booking.over => Decision::Nothing,
        (Seen::Deleted | Seen::Missing, true) => match booking.policy {
            Policy::OwnerWins => Decision::Cancel,
            Policy::KeepAndAlert => Decision::Keep,
        },
        (Seen::Live { interval, etag, shape, .. }, true) => {
            // What has no one time of the day to follow leaves the booking where it is, and is busy besides it. Its texts
            // are the booking's all the same.
            match interval.filter(|interval| *shape == Shape::Once && interval.duration() <= booking.longest) {
                Some(interval) => live(booking, interval, etag.as_deref()),
                None if booking.told => Decision::Remember,
                None => Decision::Write,
            }
        }
    }
}

fn live(booking: &Linked<'_>, interval: Interval, etag: Option<&str>) -> Decision {
    let ours = booking.written.is_some_and(|written| written.etag.is_some() && written.etag == etag);
    let untouched = ours || booking.written.is_some_and(|written| written.interval == interval);
    if interval == booking.interval || untouched {
        // The booking changed since, and the event did not; or the owner's time is known, and the booking was kept.
        let told = booking.told && !sabotaged(Bug::EchoIsOwners);
        return if told { Decision::Remember } else { Decision::Write };
    }
    match booking.policy {
        _ if booking.over || sabotaged(Bug::OwnersMoveIgnored) => Decision::Remember,
        Policy::OwnerWins => Decision::Move(interval),
        Policy::KeepAndAlert => Decision::Keep,
    }
}

/// How `seen` differs from a booking that has done what [`plan`] said; of one that is off or over, not at all. While
/// there is something to be told to Google, its time may differ for that.
#[must_use]
pub fn difference(booking: &Linked<'_>, seen: &Seen) -> Option<Difference> {
    if !booking.stands || booking.over {
        return None;
    }
    match seen {
        Seen::Missing if booking.written.is_none() => None,
        Seen::Deleted | Seen::Missing => (booking.policy == Policy::KeepAndAlert).then_some(Difference::Deleted),
        Seen::Live { shape: Shape::Series, .. } => Some(Difference::Series),
        Seen::Live { shape: Shape::AllDay, .. } => Some(Difference::AllDay),
        Seen::Live { interval: None, .. } => Some(Difference::Unfit),
        Seen::Live { interval: Some(interval), .. } if interval.duration() > booking.longest => Some(Difference::Unfit),
        Seen::Live { interval: Some(interval), .. } if *interval != booking.interval => Some(Difference::Moved),
        Seen::Live { mark: Mark::Free, .. } => Some(Difference::Free),
        Seen::Live { mark: Mark::Declined, .. } => Some(Difference::Declined),
        Seen::Live { mark: Mark::Busy, .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    /// Cases of each property, at least. They are cheap.
    const CASES: u32 = 100_000;

    fn config() -> ProptestConfig {
        let usual = ProptestConfig::default();
        ProptestConfig { cases: usual.cases.max(CASES), ..usual }
    }

    fn at(hour: i64) -> Interval {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
        Interval::new(start, start + TimeDelta::hours(1)).unwrap()
    }

    /// Takes one of `all` off a number. One number is a whole case: so they are cheap enough for many.
    fn pick<T: Clone>(number: &mut u64, all: &[T]) -> T {
        let count = u64::try_from(all.len()).unwrap();
        let place = usize::try_from(*number % count).unwrap();
        *number /= count;
        all[place].clone()
    }

    fn case() -> impl Strategy<Value = (Linked<'static>, Seen)> {
        any::<u64>().prop_map(|mut number| {
            let n = &mut number;
            let hours = [0, 1, 2, 3];
            let etags = [None, Some("1"), Some("2"), Some("3")];
            let seen = match pick(n, &[0, 1, 2, 2, 2, 2, 2, 2]) {
                0 => Seen::Deleted,
                1 => Seen::Missing,
                _ => Seen::Live {
                    interval: pick(n, &[None, Some(0), Some(1), Some(2), Some(3), Some(0), Some(1), Some(2)]).map(at),
                    etag: pick(n, &etags).map(str::to_owned),
                    shape: pick(n, &[Shape::Once, Shape::Once, Shape::Once, Shape::Once, Shape::AllDay, Shape::Series]),
                    mark: pick(n, &[Mark::Busy, Mark::Busy, Mark::Free, Mark::Declined]),
                },
            };
            let both = [false, true];
            let written = pick(n, &both).then(|| Written { interval: at(pick(n, &hours)), etag: pick(n, &etags) });
            let booking = Linked {
                interval: at(pick(n, &hours)),
                stands: pick(n, &both),
                ended_by_owner: pick(n, &both),
                over: pick(n, &both),
                // Google cannot have been told when nothing was written.
                told: pick(n, &both) && written.is_some(),
                written,
                sent: pick(n, &[None, None, None, Some(0), Some(1)]).map(at),
                longest: TimeDelta::hours(pick(n, &[24, 24, 24, 0])),
                policy: pick(n, &Policy::ALL),
            };
            (booking, seen)
        })
    }

    /// The booking after it has done what was decided, as far as the plan looks at it.
    fn done<'a>(booking: Linked<'a>, decision: Decision, seen: &'a Seen) -> Linked<'a> {
        let Seen::Live { interval, etag, .. } = seen else {
            let ended = decision == Decision::Cancel;
            return Linked {
                stands: booking.stands && !ended,
                ended_by_owner: booking.ended_by_owner || ended,
                written: booking.written.filter(|_| !ended),
                ..booking
            };
        };
        let etag = etag.as_deref();
        match decision {
            Decision::Move(interval) => {
                Linked { interval, written: Some(Written { interval, etag }), told: true, ..booking }
            }
            Decision::Keep => {
                let interval = interval.unwrap_or(booking.interval);
                Linked { written: Some(Written { interval, etag }), ..booking }
            }
            Decision::Remember => {
                Linked { written: booking.written.map(|written| Written { etag, ..written }), ..booking }
            }
            _ => booking,
        }
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn every_decision_keeps_its_promises((booking, seen) in case()) {
            let decision = plan(&booking, &seen);
            let live = matches!(seen, Seen::Live { .. });
            // What the owner deleted is never made again.
            if seen == Seen::Deleted {
                prop_assert!(!matches!(decision, Decision::Write | Decision::Move(_)), "{:?}", decision);
            }
            // Nothing that is there ends a booking, and nothing that was never written is missed.
            prop_assert!(decision != Decision::Cancel || !live);
            prop_assert!(!(decision == Decision::Cancel && seen == Seen::Missing && booking.written.is_none()));
            // What was called off never comes back.
            if !booking.stands {
                prop_assert!(matches!(decision, Decision::Nothing | Decision::Remove | Decision::Wait), "{:?}", decision);
            }
            // An owner's restored event is left to them.
            prop_assert!(!(decision == Decision::Remove && booking.ended_by_owner));
            // While a write is under way nothing is decided.
            if booking.sent.is_some() {
                prop_assert!(matches!(decision, Decision::Nothing | Decision::Wait), "{:?}", decision);
            }
            // History is not rewritten.
            if booking.over {
                prop_assert!(!matches!(decision, Decision::Move(_) | Decision::Cancel | Decision::Keep), "{:?}", decision);
            }
            // Each policy has its own answer to a move and a deletion, and nothing else differs.
            match booking.policy {
                Policy::OwnerWins => prop_assert!(decision != Decision::Keep),
                Policy::KeepAndAlert => {
                    prop_assert!(!matches!(decision, Decision::Move(_) | Decision::Cancel), "{:?}", decision);
                    let other = plan(&Linked { policy: Policy::OwnerWins, ..booking }, &seen);
                    prop_assert_eq!(decision == Decision::Keep, matches!(other, Decision::Move(_) | Decision::Cancel));
                    prop_assert!(decision == Decision::Keep || decision == other);
                }
            }
            // A booking moves to where the event is, if it may be that long.
            if let Decision::Move(to) = decision {
                let at_it = matches!(&seen, Seen::Live { interval: Some(interval), shape: Shape::Once, .. } if *interval == to);
                prop_assert!(at_it && to != booking.interval && to.duration() <= booking.longest);
            }
        }

        #[test]
        fn what_was_done_once_is_done((booking, seen) in case()) {
            let decision = plan(&booking, &seen);
            let after = done(booking, decision, &seen);
            let again = plan(&after, &seen);
            match decision {
                Decision::Move(_) => prop_assert_eq!(again, Decision::Remember),
                Decision::Cancel => prop_assert_eq!(again, Decision::Nothing),
                Decision::Keep if matches!(seen, Seen::Live { .. }) && booking.told => {
                    prop_assert_eq!(again, Decision::Remember);
                    prop_assert_eq!(difference(&after, &seen), Some(Difference::Moved));
                }
                // What was owed of a booking that is over by now goes out all the same.
                Decision::Remember if booking.over && !booking.told => {}
                // Its details are still owed. Its time is not.
                Decision::Keep if matches!(seen, Seen::Live { .. }) => prop_assert_eq!(again, Decision::Write),
                other => prop_assert_eq!(again, other),
            }
        }

        #[test]
        fn a_difference_is_told_of_what_stands_and_of_nothing_else((booking, seen) in case()) {
            let after = done(booking, plan(&booking, &seen), &seen);
            let found = difference(&after, &seen);
            prop_assert!(found.is_none() || after.stands && !after.over);
            prop_assert!(found != Some(Difference::Deleted) || booking.policy == Policy::KeepAndAlert);
            let plain = |at: Interval| Seen::Live {
                interval: Some(at), etag: None, shape: Shape::Once, mark: Mark::Busy,
            };
            if after.interval.duration() <= after.longest {
                prop_assert_eq!(difference(&after, &plain(after.interval)), None);
            }
        }
    }
}
