//! Reads that lag behind the writes.

use std::borrow::Cow;

use chrono::TimeDelta;

use super::Call;
use crate::faults::Effect;
use crate::model::Calendar;

/// The calendar as the call sees it: as it was a while ago where a fault says so, though never before `least`.
pub(super) fn seen<'a>(call: &Call, calendar: &'a Calendar, least: u64) -> Cow<'a, Calendar> {
    let Some(Effect::Lag { calls, ms }) = call.effect else { return Cow::Borrowed(calendar) };
    let lag = i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX);
    // The pages of one pass see the same calendar, and count as one read.
    let revision = calendar.lagging_revision(calls, lag, call.page == 1).max(least);
    if revision < calendar.revision { Cow::Owned(calendar.as_of(revision)) } else { Cow::Borrowed(calendar) }
}
