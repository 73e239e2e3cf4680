//! Reads that lag behind the writes.

use std::borrow::Cow;

use chrono::TimeDelta;

use super::Call;
use crate::faults::Effect;
use crate::model::Calendar;

/// The calendar as the call sees it: as it was a while ago where a fault says so, though never before `least`.
pub(super) fn seen<'a>(call: &Call, calendar: &'a Calendar, least: u64) -> Cow<'a, Calendar> {
    let revision = match call.effect {
        Some(Effect::Lag { calls, ms }) => {
            let lag = i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX);
            calendar.lagging_revision(calls, lag).max(least)
        }
        _ => calendar.revision,
    };
    // The pages of one pass count as one read.
    if call.page == 1 {
        calendar.note_read();
    }
    if revision < calendar.revision { Cow::Owned(calendar.as_of(revision)) } else { Cow::Borrowed(calendar) }
}
