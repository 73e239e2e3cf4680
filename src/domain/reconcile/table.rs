//! The table of `docs/reconciliation.md`, run row by row: what it says and what the planner does are the same.

use std::collections::BTreeSet;

use chrono::DateTime;

use super::*;

const PAGE: &str = include_str!("../../../docs/reconciliation.md");
const HEAD: &str = "| the booking | the event | `owner_wins` | `keep_and_alert` | told as | why |";

fn at(hour: i64, hours: i64) -> Interval {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
    Interval::new(start, start + TimeDelta::hours(hours)).unwrap()
}

const WRITTEN: i64 = 9;
const MOVED_BY_SLOTD: i64 = 11;
const MOVED_BY_OWNER: i64 = 14;

/// The booking that a cell of the first column means.
fn booking(words: &str) -> Linked<'static> {
    let stands = Linked {
        interval: at(WRITTEN, 1),
        stands: true,
        ended_by_owner: false,
        over: false,
        told: true,
        written: Some(Written { interval: at(WRITTEN, 1), etag: Some("ours") }),
        sent: None,
        longest: TimeDelta::days(7),
        policy: Policy::OwnerWins,
    };
    let moved = Linked { interval: at(MOVED_BY_SLOTD, 1), told: false, ..stands };
    let cancelled = Linked { stands: false, ..stands };
    match words {
        "stands" => stands,
        "stands, over" => Linked { over: true, ..stands },
        "edited, not told yet" => Linked { told: false, ..stands },
        "moved, not told yet" => moved,
        "never written" => Linked { written: None, told: false, ..stands },
        "kept at its time" => {
            Linked { written: Some(Written { interval: at(MOVED_BY_OWNER, 1), etag: Some("theirs") }), ..stands }
        }
        "cancelled in slotd" => cancelled,
        "cancelled by the owner" => Linked { ended_by_owner: true, written: None, ..cancelled },
        "a write is under way" => Linked { sent: Some(at(MOVED_BY_SLOTD, 1)), ..moved },
        "a removal is under way" => Linked { sent: Some(at(WRITTEN, 1)), ..cancelled },
        other => panic!("the table has a booking that this test does not know: {other}"),
    }
}

/// What a cell of the second column means.
fn seen(words: &str) -> Seen {
    let live = |interval: Interval, etag: &str, shape: Shape, mark: Mark| Seen::Live {
        interval: Some(interval),
        etag: Some(etag.to_owned()),
        shape,
        mark,
    };
    let once = |interval, etag: &str| live(interval, etag, Shape::Once, Mark::Busy);
    let there = at(WRITTEN, 1);
    match words {
        "as slotd wrote it" => once(there, "ours"),
        "texts, color or guests edited" | "restored where it was" => once(there, "theirs"),
        "moved" | "restored, and moved" => once(at(MOVED_BY_OWNER, 1), "theirs"),
        "moved again" => once(at(MOVED_BY_OWNER + 2, 1), "their next"),
        "moved, and shown as free" => live(at(MOVED_BY_OWNER, 1), "theirs", Shape::Once, Mark::Free),
        "moved to the same time" | "as it was sent" => once(at(MOVED_BY_SLOTD, 1), "theirs"),
        "as it was sent, and shown as free" => live(at(MOVED_BY_SLOTD, 1), "theirs", Shape::Once, Mark::Free),
        "made longer or shorter" => once(at(WRITTEN, 3), "theirs"),
        "made longer than a booking can be" => once(at(WRITTEN, 24 * 8), "theirs"),
        "shown as free" => live(there, "theirs", Shape::Once, Mark::Free),
        "declined" => live(there, "theirs", Shape::Once, Mark::Declined),
        "made a series" => live(there, "theirs", Shape::Series, Mark::Busy),
        "made an all-day event" => live(at(0, 24), "theirs", Shape::AllDay, Mark::Busy),
        "its time cannot be told" => {
            Seen::Live { interval: None, etag: Some("theirs".to_owned()), shape: Shape::Once, mark: Mark::Busy }
        }
        "deleted" => Seen::Deleted,
        "not found" => Seen::Missing,
        other => panic!("the table has an event that this test does not know: {other}"),
    }
}

fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Nothing => "nothing",
        Decision::Remember => "remember",
        Decision::Wait => "wait",
        Decision::Move(_) => "move",
        Decision::Cancel => "cancel",
        Decision::Keep => "keep",
        Decision::Write => "write",
        Decision::Remove => "remove",
    }
}

/// The rows of the table: cells without their marks.
fn rows() -> Vec<[String; 6]> {
    let (_, rest) = PAGE.split_once(HEAD).expect("the page has the table");
    let lines = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells: Vec<String> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("six cells are expected: {cells:?}"))
    };
    lines.map(cells).collect()
}

#[test]
fn the_page_says_what_the_planner_does() {
    let rows = rows();
    for [words, event, owner_wins, keep_and_alert, told_as, why] in &rows {
        let (row, seen) = (format!("{words} / {event}"), seen(event));
        assert!(!why.is_empty(), "{row}: a reason is expected");
        let mut found = BTreeSet::new();
        for (policy, expected) in [(Policy::OwnerWins, owner_wins), (Policy::KeepAndAlert, keep_and_alert)] {
            let booking = Linked { policy, ..booking(words) };
            let planned = plan(&booking, &seen);
            assert_eq!(decision(planned), expected, "{row}, {policy:?}");
            // What is told, of a booking that has done what was decided. A time is not told before it is written.
            let after = match planned {
                Decision::Move(interval) => Linked { interval, ..booking },
                Decision::Cancel => Linked { stands: false, ..booking },
                _ => booking,
            };
            let shaped = matches!(&seen, Seen::Live { shape, .. } if *shape != Shape::Once);
            let told = matches!(planned, Decision::Remember | Decision::Move(_) | Decision::Keep);
            if told || (planned == Decision::Write && shaped) {
                found.extend(difference(&after, &seen).map(Difference::as_str));
            }
        }
        let told = told_as.split(", ").map(|word| word.trim_matches('`')).filter(|word| !word.is_empty());
        assert_eq!(found, told.collect(), "{row}");
    }
    assert!(rows.len() > 35, "the table is whole: {}", rows.len());
}

#[test]
fn the_page_has_no_case_twice_and_each_decision_and_difference_once() {
    let rows = rows();
    let cases: BTreeSet<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(cases.len(), rows.len());
    let decisions: BTreeSet<&str> = rows.iter().flat_map(|row| [row[2].as_str(), row[3].as_str()]).collect();
    assert_eq!(decisions.len(), 8, "{decisions:?}");
    let words = rows.iter().flat_map(|row| row[4].split(", ")).map(|word| word.trim_matches('`'));
    let told: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    let all = Difference::ALL.map(Difference::as_str);
    assert_eq!(told, all.into_iter().collect());
}
