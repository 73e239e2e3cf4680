//! From changed events to changed rows. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use crate::{
    domain::{
        Event, EventKind, EventStatus, Interval,
        expand::{Limits, expand_series, has_place_for, single_interval},
        sabotage::{Bug, sabotaged},
    },
    store::{events::BusySlot, limited::Limited},
};

/// The busy slots of a group of events, and what went wrong on the way.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) busy: Vec<BusySlot>,
    /// Series whose rules could not be read in full, or were cut short.
    pub(super) limited: BTreeMap<String, Limited>,
}

/// The longest of `slots`, in microseconds.
pub(super) fn longest_us(slots: &[BusySlot]) -> i64 {
    slots.iter().filter_map(|slot| slot.interval.duration().num_microseconds()).max().unwrap_or_default()
}

/// The busy slot of an event that happens once, or of an exception that stands alone.
pub(super) fn single(event: &Event, zone: Tz, window: Interval) -> Option<BusySlot> {
    let interval = single_interval(event, zone).filter(|interval| event.blocks() && interval.overlaps(window))?;
    Some(BusySlot { interval, event_id: event.id.clone(), series_id: event.series_id().to_owned() })
}

/// Expands whatever is known under one series id, over the part of `window` that is asked for.
///
/// Exceptions whose master is unknown stand alone. Exceptions of an event that no longer repeats are leftovers.
pub(super) fn expand(rows: &[Event], zone: Tz, window: Interval, into: &mut Slots) {
    let master = rows.iter().find(|event| matches!(event.kind, EventKind::Master { .. }));
    let alone = rows.iter().find(|event| event.kind == EventKind::Single);
    if let Some(master) = master {
        let exceptions: Vec<Event> =
            rows.iter().filter(|event| matches!(event.kind, EventKind::Exception { .. })).cloned().collect();
        let expansion = expand_series(master, &exceptions, zone, window, &Limits::default());
        let limited = match (expansion.odd, expansion.truncated) {
            (Some(_), _) => Some(Limited::Odd),
            (None, true) => Some(Limited::Truncated),
            (None, false) => None,
        };
        into.limited.extend(limited.map(|why| (master.id.clone(), why)));
        into.busy.extend(expansion.busy.into_iter().map(|occurrence| BusySlot {
            interval: occurrence.interval,
            event_id: occurrence.event_id,
            series_id: master.id.clone(),
        }));
    } else if let Some(event) = alone {
        into.busy.extend(single(event, zone, window));
    } else {
        into.busy.extend(rows.iter().filter_map(|event| single(event, zone, window)));
    }
}

/// The events of each series in `changed`: the stored rows with the changes applied.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// What is known under each series id once the changes are applied.
    pub(super) series: BTreeMap<String, Vec<Event>>,
    /// Ids that Google deleted: single events, or masters with everything that belongs to them.
    pub(super) deleted: BTreeSet<String>,
    /// Exceptions that went when the rules of their series changed. Google sends no word of them.
    pub(super) dropped: BTreeSet<String>,
}

impl Groups {
    /// Starts from what is stored of each series that `changed` touches.
    pub(super) fn apply(stored: BTreeMap<String, Vec<Event>>, changed: &[Event], zone: Tz) -> Self {
        let mut groups = Self { series: stored, ..Self::default() };
        let mut reshaped = BTreeSet::new();
        for event in changed {
            let id = event.series_id().to_owned();
            if is_tombstone(event) {
                groups.series.insert(id.clone(), Vec::new());
                groups.deleted.insert(id);
                continue;
            }
            groups.deleted.remove(&id);
            if event.kind == EventKind::Single {
                reshaped.insert(id.clone());
            }
            let rows = groups.series.entry(id.clone()).or_default();
            match rows.iter_mut().find(|row| row.id == event.id) {
                Some(row) => {
                    let begins = |event: &Event| event.times.map(|(start, _)| start);
                    if row.kind != event.kind || begins(row) != begins(event) {
                        reshaped.insert(id);
                    }
                    if !sabotaged(Bug::OlderVersionWins) {
                        *row = event.clone();
                    }
                }
                None => rows.push(event.clone()),
            }
        }
        if sabotaged(Bug::ExceptionsKept) {
            return groups;
        }
        let sent: BTreeSet<&str> = changed.iter().map(|event| event.id.as_str()).collect();
        for id in reshaped {
            groups.drop_displaced(&id, &sent, zone);
        }
        groups
    }

    /// Exceptions that were known before and of which nothing was said, though their series changed. Its rules may have
    /// changed more than once since the last pass, there and back again, and that took them away without a word.
    pub(super) fn doubtful(&self, changed: &[Event]) -> Vec<String> {
        if sabotaged(Bug::ExceptionsKept) {
            return Vec::new();
        }
        let sent: BTreeSet<&str> = changed.iter().map(|event| event.id.as_str()).collect();
        let masters = changed.iter().filter(|event| matches!(event.kind, EventKind::Master { .. }));
        let rows = masters.filter_map(|master| self.series.get(&master.id)).flatten();
        rows.map(|event| event.id.as_str()).filter(|id| !sent.contains(id)).map(str::to_owned).collect()
    }

    /// What Google says of an exception in doubt: its present state, or that it is none any more.
    pub(super) fn settle(&mut self, id: &str, now: Option<&Event>) {
        for rows in self.series.values_mut() {
            rows.retain_mut(|row| {
                if row.id != id {
                    return true;
                }
                if let Some(now) = now {
                    row.clone_from(now);
                }
                now.is_some()
            });
        }
        if now.is_none() {
            self.dropped.insert(id.to_owned());
        }
    }

    /// Exceptions of a changed series that stand in for nothing any more are gone, unless Google has just `sent` them. All
    /// of them are when it happens once now, even those just sent: a list of several pages shows a change that was made
    /// meanwhile on its later pages only.
    fn drop_displaced(&mut self, series: &str, sent: &BTreeSet<&str>, zone: Tz) {
        let Some(rows) = self.series.get_mut(series) else { return };
        let Some(master) = rows.iter().find(|event| event.id == series).cloned() else { return };
        let dropped = &mut self.dropped;
        rows.retain(|event| {
            let leftover = master.kind == EventKind::Single && event.id != master.id;
            let stays = !leftover
                && (sent.contains(event.id.as_str()) || has_place_for(&master, event, zone, &Limits::default()));
            if !stays {
                dropped.insert(event.id.clone());
            }
            stays
        });
    }
}

/// Whether Google says that an event is gone, with all that belongs to it. A cancelled exception is not: it is a hole in
/// a series that goes on.
pub(super) fn is_tombstone(event: &Event) -> bool {
    event.status == EventStatus::Cancelled && !matches!(event.kind, EventKind::Exception { .. })
}

/// The masters that exceptions name and that `known` does not hold.
pub(super) fn missing_masters(series: &BTreeMap<String, Vec<Event>>) -> Vec<String> {
    let lacks = |rows: &Vec<Event>| {
        !rows.is_empty() && rows.iter().all(|event| matches!(event.kind, EventKind::Exception { .. }))
    };
    series.iter().filter(|(_, rows)| lacks(rows)).map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::domain::EventTime;

    fn at(hour: i64) -> EventTime {
        EventTime::At { at: start() + TimeDelta::hours(hour), zone: Some(Tz::UTC) }
    }

    fn start() -> DateTime<Utc> {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn window() -> Interval {
        Interval::new(start(), start() + TimeDelta::days(30)).unwrap()
    }

    fn event(id: &str, kind: EventKind, hour: i64) -> Event {
        Event {
            id: id.into(),
            kind,
            status: EventStatus::Confirmed,
            times: Some((at(hour), at(hour + 1))),
            transparent: false,
            declined: false,
        }
    }

    fn daily(id: &str) -> Event {
        event(id, EventKind::Master { recurrence: vec!["RRULE:FREQ=DAILY;COUNT=3".into()] }, 9)
    }

    fn moved(id: &str, master: &str, original: i64, to: i64) -> Event {
        event(id, EventKind::Exception { master: master.into(), original: at(original) }, to)
    }

    fn starts(rows: &[Event]) -> Vec<i64> {
        let mut slots = Slots::default();
        expand(rows, Tz::UTC, window(), &mut slots);
        let mut hours: Vec<i64> = slots.busy.iter().map(|slot| (slot.interval.start() - start()).num_hours()).collect();
        hours.sort_unstable();
        hours
    }

    #[test]
    fn an_exception_that_comes_before_its_master_finds_it() {
        let groups = Groups::apply(BTreeMap::new(), &[moved("m_1", "m", 33, 40), daily("m")], Tz::UTC);
        assert_eq!(starts(&groups.series["m"]), [9, 40, 57]);
        assert!(missing_masters(&groups.series).is_empty());
    }

    #[test]
    fn an_exception_without_its_master_asks_for_it_and_stands_alone_meanwhile() {
        let groups = Groups::apply(BTreeMap::new(), &[moved("m_1", "m", 33, 40)], Tz::UTC);
        assert_eq!(missing_masters(&groups.series), ["m"]);
        assert_eq!(starts(&groups.series["m"]), [40]);
    }

    #[test]
    fn a_deleted_master_takes_its_exceptions_along() {
        let stored = BTreeMap::from([("m".to_owned(), vec![daily("m"), moved("m_1", "m", 33, 40)])]);
        let mut gone = event("m", EventKind::Single, 0);
        (gone.status, gone.times) = (EventStatus::Cancelled, None);
        let groups = Groups::apply(stored, &[gone], Tz::UTC);
        assert!(groups.series["m"].is_empty() && groups.deleted.contains("m"));
    }

    #[test]
    fn a_series_that_becomes_one_event_leaves_no_exceptions_behind() {
        let stored = BTreeMap::from([("m".to_owned(), vec![daily("m"), moved("m_1", "m", 33, 40)])]);
        let groups = Groups::apply(stored, &[event("m", EventKind::Single, 12)], Tz::UTC);
        assert_eq!(starts(&groups.series["m"]), [12]);
        // Else they would come back when it repeats again.
        assert_eq!(groups.dropped, BTreeSet::from(["m_1".to_owned()]));
    }

    #[test]
    fn exceptions_from_an_earlier_page_than_that_of_what_became_one_event_are_not_left_behind() {
        let (single, exception) = (event("m", EventKind::Single, 12), moved("m_1", "m", 33, 40));
        let at_once = Groups::apply(BTreeMap::new(), &[exception.clone(), single.clone()], Tz::UTC);
        // A full list stores them page by page, and the next list sends the changed event once more.
        let stored = BTreeMap::from([("m".to_owned(), vec![exception, single.clone()])]);
        for groups in [at_once, Groups::apply(stored, &[single], Tz::UTC)] {
            assert_eq!(groups.series["m"].len(), 1);
            assert_eq!(groups.dropped, BTreeSet::from(["m_1".to_owned()]));
        }
    }

    #[test]
    fn exceptions_that_came_without_their_changed_master_are_in_doubt() {
        let stored =
            BTreeMap::from([("m".to_owned(), vec![daily("m"), moved("m_1", "m", 33, 40), moved("m_2", "m", 57, 60)])]);
        let doubtful = |changed: &[Event]| {
            let groups = Groups::apply(stored.clone(), changed, Tz::UTC);
            groups.doubtful(changed)
        };
        assert_eq!(doubtful(&[daily("m")]), ["m_1", "m_2"]);
        assert_eq!(doubtful(&[daily("m"), moved("m_1", "m", 33, 41)]), ["m_2"]);
        assert_eq!(doubtful(&[moved("m_1", "m", 33, 41)]), Vec::<String>::new());
    }

    /// Applies each of `changes` in a pass of its own.
    fn one_by_one(mut stored: BTreeMap<String, Vec<Event>>, changes: &[&Event]) -> Vec<i64> {
        for change in changes {
            let touched = stored.iter().filter(|(id, _)| *id == change.series_id());
            let touched = touched.map(|(id, rows)| (id.clone(), rows.clone())).collect();
            stored.extend(Groups::apply(touched, &[(*change).clone()], Tz::UTC).series);
        }
        let mut hours: Vec<i64> = stored.values().flat_map(|rows| starts(rows)).collect();
        hours.sort_unstable();
        hours
    }

    #[test]
    fn this_and_following_comes_out_alike_in_any_order_of_arrival() {
        let stored = BTreeMap::from([("m".to_owned(), vec![daily("m"), moved("m_2", "m", 57, 60)])]);
        let mut shorter = daily("m");
        shorter.kind = EventKind::Master { recurrence: vec!["RRULE:FREQ=DAILY;COUNT=1".into()] };
        let mut rest = event("r", EventKind::Master { recurrence: vec!["RRULE:FREQ=DAILY;COUNT=2".into()] }, 34);
        rest.times = Some((at(34), at(35)));
        let exception = moved("r_1", "r", 58, 62);
        let expected = [9, 34, 62];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let changes = order.map(|place| [&shorter, &rest, &exception][place]);
            assert_eq!(one_by_one(stored.clone(), &changes), expected, "{order:?}");
            let all: Vec<Event> = changes.iter().map(|change| (*change).clone()).collect();
            let groups = Groups::apply(stored.clone(), &all, Tz::UTC);
            let mut hours: Vec<i64> = groups.series.values().flat_map(|rows| starts(rows)).collect();
            hours.sort_unstable();
            assert_eq!(hours, expected, "at once, {order:?}");
        }
    }

    #[test]
    fn exceptions_go_when_a_series_moves_away_from_under_them() {
        let stored = BTreeMap::from([("m".to_owned(), vec![daily("m"), moved("m_1", "m", 33, 40)])]);
        let renamed = Groups::apply(stored.clone(), &[daily("m")], Tz::UTC);
        assert_eq!((starts(&renamed.series["m"]), renamed.dropped.len()), (vec![9, 40, 57], 0));
        let mut later = daily("m");
        later.times = Some((at(11), at(12)));
        let groups = Groups::apply(stored.clone(), &[later.clone()], Tz::UTC);
        assert_eq!((starts(&groups.series["m"]), groups.dropped.len()), (vec![11, 35, 59], 1));
        // What Google sends along with the change stays.
        let groups = Groups::apply(stored, &[later, moved("m_1", "m", 33, 40)], Tz::UTC);
        assert_eq!(starts(&groups.series["m"]), [11, 35, 40, 59]);
    }
}
