//! What a booking does about what happened to its event. Pure.
//!
//! The owner's calendar is the owner's: a newer edit of theirs wins, and what they deleted is never made again. slotd's
//! own writes come back as echoes and change nothing. While a write is under way nothing is decided: what was seen may
//! be from before or after it.

use super::{
    Interval,
    sabotage::{Bug, sabotaged},
};

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
    /// What Google is known to have held after the last write.
    pub written: Option<Written<'a>>,
    /// The time in a write that was begun and not settled.
    pub sent: Option<Interval>,
}

/// What Google is known to have held after slotd's last write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// Its time.
    pub interval: Interval,
    /// Its etag.
    pub etag: Option<&'a str>,
}

/// What a calendar shows under the booking's event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The event is there.
    Live {
        /// Its time; `None` when it cannot be told, as for a series.
        interval: Option<Interval>,
        /// Its etag.
        etag: Option<String>,
        /// The owner made a series of it.
        recurs: bool,
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
    /// Google does not show the booking as it is: write it.
    Write,
    /// The booking was called off, and its event is there still, or again: delete it.
    Remove,
}

/// Decides what a booking does about `seen`.
#[must_use]
pub fn plan(booking: &Linked<'_>, seen: &Seen) -> Decision {
    if let Some(sent) = booking.sent {
        let echo = matches!(seen, Seen::Live { interval: Some(interval), .. } if *interval == sent);
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
        (Seen::Deleted | Seen::Missing, true) => Decision::Cancel,
        (Seen::Live { interval, etag, recurs, .. }, true) => live(booking, *interval, etag.as_deref(), *recurs),
    }
}

fn live(booking: &Linked<'_>, interval: Option<Interval>, etag: Option<&str>, recurs: bool) -> Decision {
    // A series has no one time to follow; the booking stays and the series is busy besides it.
    let Some(interval) = interval.filter(|_| !recurs) else { return Decision::Remember };
    let ours = booking.written.is_some_and(|written| written.etag.is_some() && written.etag == etag);
    let untouched = ours || booking.written.is_some_and(|written| written.interval == interval);
    if interval == booking.interval {
        let told = booking.told && !sabotaged(Bug::EchoIsOwners);
        return if told { Decision::Remember } else { Decision::Write };
    }
    if untouched {
        // The booking moved since; the event did not.
        return Decision::Write;
    }
    if booking.over || sabotaged(Bug::OwnersMoveIgnored) { Decision::Remember } else { Decision::Move(interval) }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn at(hour: i64) -> Interval {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
        Interval::new(start, start + TimeDelta::hours(1)).unwrap()
    }

    fn live(hour: i64, etag: &str) -> Seen {
        Seen::Live { interval: Some(at(hour)), etag: Some(etag.into()), recurs: false }
    }

    fn booking() -> Linked<'static> {
        Linked {
            interval: at(9),
            stands: true,
            ended_by_owner: false,
            over: false,
            told: true,
            written: Some(Written { interval: at(9), etag: Some("1") }),
            sent: None,
        }
    }

    #[test]
    fn each_case_has_its_decision() {
        let stands = booking();
        let moved_here = Linked { interval: at(11), told: false, ..stands };
        let cancelled = Linked { stands: false, ..stands };
        let deleted_by_owner = Linked { ended_by_owner: true, ..cancelled };
        let sending = Linked { sent: Some(at(11)), ..moved_here };
        let unwritten = Linked { written: None, told: false, ..stands };
        let over = Linked { over: true, ..stands };
        let series = Seen::Live { interval: Some(at(9)), etag: Some("2".into()), recurs: true };
        for (name, linked, seen, expected) in [
            ("our own write comes back", stands, live(9, "1"), Decision::Remember),
            ("the owner edits the title", stands, live(9, "2"), Decision::Remember),
            ("the owner moves it", stands, live(10, "2"), Decision::Move(at(10))),
            ("the owner deletes it", stands, Seen::Deleted, Decision::Cancel),
            ("it is gone from the calendar", stands, Seen::Missing, Decision::Cancel),
            ("the owner deletes a past one", over, Seen::Deleted, Decision::Nothing),
            ("the owner moves a past one", over, live(10, "2"), Decision::Remember),
            ("the owner makes a series of it", stands, series, Decision::Remember),
            ("the customer moved it, Google lags", moved_here, live(9, "1"), Decision::Write),
            ("both moved it, the owner last", moved_here, live(10, "2"), Decision::Move(at(10))),
            ("both moved it to the same time", moved_here, live(11, "2"), Decision::Write),
            ("called off, still there", cancelled, live(9, "1"), Decision::Remove),
            ("called off, the owner restored it", cancelled, live(9, "7"), Decision::Remove),
            ("the owner deleted it and restored it", deleted_by_owner, live(9, "7"), Decision::Nothing),
            ("called off and gone", cancelled, Seen::Deleted, Decision::Nothing),
            ("the echo of a write under way", sending, live(11, "2"), Decision::Nothing),
            ("anything else during a write", sending, live(10, "2"), Decision::Wait),
            ("deleted during a write", sending, Seen::Deleted, Decision::Wait),
            ("never written, not there", unwritten, Seen::Missing, Decision::Write),
            ("never written, deleted all the same", unwritten, Seen::Deleted, Decision::Cancel),
        ] {
            assert_eq!(plan(&linked, &seen), expected, "{name}");
        }
    }

    fn seen() -> impl Strategy<Value = Seen> {
        let live = (proptest::option::of(0..6_i64), proptest::option::of("[1-3]"), any::<bool>());
        prop_oneof![
            Just(Seen::Deleted),
            Just(Seen::Missing),
            live.prop_map(|(hour, etag, recurs)| Seen::Live { interval: hour.map(at), etag, recurs }),
        ]
    }

    fn linked() -> impl Strategy<Value = Linked<'static>> {
        let written = proptest::option::of((0..6_i64, prop_oneof![Just(None), Just(Some("1")), Just(Some("2"))]));
        let flags = (any::<bool>(), any::<bool>());
        (0..6_i64, flags, any::<bool>(), any::<bool>(), written, proptest::option::of(0..6_i64)).prop_map(
            |(hour, (stands, ended_by_owner), over, told, written, sent)| Linked {
                interval: at(hour),
                stands,
                ended_by_owner,
                over,
                told,
                written: written.map(|(hour, etag)| Written { interval: at(hour), etag }),
                sent: sent.map(at),
            },
        )
    }

    proptest! {
        #[test]
        fn what_the_owner_deleted_is_never_written_again(linked in linked()) {
            prop_assert!(!matches!(plan(&linked, &Seen::Deleted), Decision::Write | Decision::Move(_)));
        }

        #[test]
        fn a_booking_that_was_called_off_never_comes_back(linked in linked(), seen in seen()) {
            let off = Linked { stands: false, ..linked };
            prop_assert!(matches!(plan(&off, &seen), Decision::Nothing | Decision::Remove | Decision::Wait));
        }

        #[test]
        fn following_the_owner_settles(linked in linked(), seen in seen()) {
            let Decision::Move(interval) = plan(&linked, &seen) else { return Ok(()) };
            let Seen::Live { etag, .. } = &seen else { panic!("only a live event moves a booking") };
            let followed = Linked {
                interval,
                told: true,
                written: Some(Written { interval, etag: etag.as_deref() }),
                ..linked
            };
            prop_assert_eq!(plan(&followed, &seen), Decision::Remember);
        }

        #[test]
        fn nothing_is_decided_while_a_write_is_under_way(linked in linked(), seen in seen()) {
            if linked.sent.is_some() {
                prop_assert!(matches!(plan(&linked, &seen), Decision::Nothing | Decision::Wait));
            }
        }
    }
}
