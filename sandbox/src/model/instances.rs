//! Series made into instances.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Months, Utc};
use chrono_tz::Tz;

use super::record::{Record, Times, Window};
use super::times::When;
use crate::clock;

/// How far an endless series is expanded when the query sets no bound.
const UNBOUNDED_MONTHS: Months = Months::new(12 * 5);

/// One unmodified instance of a series, as a record of its own that is not stored.
pub(super) fn instance(master: &Arc<Record>, original: When, zone: Tz) -> Option<Record> {
    let times = master.times?;
    let end = original.plus(times.start.length_to(&times.end)?, &times.end)?;
    Some(Record::instance(master, original, Times { start: original, end }, zone))
}

/// The unmodified instances of one series in a window.
fn unmodified(master: &Arc<Record>, window: Window, zone: Tz, replaced: &HashSet<String>) -> Vec<Arc<Record>> {
    let (Some(series), Some(times)) = (&master.series, master.times) else { return Vec::new() };
    let Some(length) = times.start.length_to(&times.end) else { return Vec::new() };
    let until = window.to.unwrap_or_else(unbounded_until);
    // Days are expanded as midnights without a zone, which differ from instants by up to a day.
    let until_any_zone = until + chrono::TimeDelta::days(1);
    let mut found = Vec::new();
    for at in series.starts_until(until_any_zone).iter() {
        let start = series.when(*at);
        let Some(end) = start.plus(length, &times.end) else { continue };
        if start.instant(zone) >= until || !window.meets(start.instant(zone), end.instant(zone)) {
            continue;
        }
        if replaced.contains(&format!("{}_{}", master.id, start.suffix())) {
            continue;
        }
        found.extend(instance(master, start, zone).map(Arc::new));
    }
    found
}

fn unbounded_until() -> DateTime<Utc> {
    let now = clock::now();
    now.checked_add_months(UNBOUNDED_MONTHS).unwrap_or(now)
}

/// Single events and instances, in place of series, that lie in a window. `records` is all that is to be expanded;
/// `replaced` are the ids of all exceptions in the calendar.
pub(crate) fn expand(
    records: &[Arc<Record>],
    window: Window,
    zone: Tz,
    replaced: &HashSet<String>,
) -> Vec<Arc<Record>> {
    let mut found = Vec::new();
    for record in records {
        if record.cancelled {
            found.push(Arc::clone(record));
        } else if record.series.is_some() {
            found.extend(unmodified(record, window, zone, replaced));
        } else if record.overlaps(window, zone) {
            found.push(Arc::clone(record));
        }
    }
    found
}

/// The instances of one series in a window: unmodified ones and exceptions.
pub(crate) fn instances_of(
    master: &Arc<Record>,
    exceptions: &[Arc<Record>],
    window: Window,
    zone: Tz,
) -> Vec<Arc<Record>> {
    let replaced = exceptions.iter().map(|record| record.id.clone()).collect();
    let mut found = unmodified(master, window, zone, &replaced);
    found.extend(exceptions.iter().filter(|record| record.cancelled || record.overlaps(window, zone)).map(Arc::clone));
    found
}
