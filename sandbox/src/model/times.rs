//! Google's `start`, `end` and `originalStartTime`: a day, or an instant with a zone.

use chrono::{
    DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, SecondsFormat, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use crate::refusal::Refusal;

/// A point of an event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// A whole day, in whatever zone the calendar is.
    Day(NaiveDate),
    /// An instant, and the zone in which a series that starts here repeats.
    At { at: DateTime<Utc>, zone: Tz },
}

impl When {
    /// Reads an `EventDateTime`. `field` names it in the error ("start", "end").
    pub(crate) fn parse(value: &Value, calendar_zone: Tz, field: &'static str) -> Result<Self, Refusal> {
        let wrong = || Refusal::invalid(format!("Invalid {field} time."));
        let fields = value.as_object().ok_or_else(wrong)?;
        let text = |name: &str| {
            fields.get(name).filter(|value| !value.is_null()).map(|value| value.as_str().ok_or_else(wrong))
        };
        let date = text("date").transpose()?;
        let date_time = text("dateTime").transpose()?;
        let zone = match text("timeZone").transpose()? {
            Some(name) => Some(parse_zone(name)?),
            None => None,
        };
        match (date, date_time) {
            (Some(date), None) => date.parse().map(Self::Day).map_err(|_| wrong()),
            (None, Some(text)) => {
                let at = match (DateTime::parse_from_rfc3339(text), zone) {
                    (Ok(at), _) => at.with_timezone(&Utc),
                    (Err(_), Some(zone)) => localize(parse_naive(text).ok_or_else(wrong)?, zone),
                    (Err(_), None) if parse_naive(text).is_some() => {
                        return Err(Refusal::required(format!("Missing time zone definition for {field} time.")));
                    }
                    (Err(_), None) => return Err(wrong()),
                };
                Ok(Self::At { at, zone: zone.unwrap_or(calendar_zone) })
            }
            (None, None) => Err(Refusal::required(format!("Missing {field} time."))),
            (Some(_), Some(_)) => Err(wrong()),
        }
    }

    /// As Google shows it: the instant in `zone` with its offset, the series' own zone beside it.
    pub(crate) fn render(&self, display: Tz) -> Value {
        match self {
            Self::Day(date) => json!({ "date": date.to_string() }),
            Self::At { at, zone } => json!({ "dateTime": rfc3339(*at, display), "timeZone": zone.name() }),
        }
    }

    /// The instant it means in a calendar of `zone`.
    pub(crate) fn instant(&self, zone: Tz) -> DateTime<Utc> {
        match self {
            Self::Day(date) => localize(date.and_time(NaiveTime::MIN), zone),
            Self::At { at, .. } => *at,
        }
    }

    /// What Google appends to a master's id to name the instance that starts here.
    pub(crate) fn suffix(&self) -> String {
        match self {
            Self::Day(date) => date.format("%Y%m%d").to_string(),
            Self::At { at, .. } => at.format("%Y%m%dT%H%M%SZ").to_string(),
        }
    }

    /// Reads such an appendix; the zone is the master's.
    pub(crate) fn from_suffix(text: &str, zone: Tz) -> Option<Self> {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ") {
            return Some(Self::At { at: at.and_utc(), zone });
        }
        NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(Self::Day)
    }

    /// How far `end` is from here: days for days, elapsed time for instants.
    pub(crate) fn length_to(&self, end: &When) -> Option<Length> {
        match (self, end) {
            (Self::Day(from), Self::Day(to)) => {
                u64::try_from((*to - *from).num_days()).ok().map(|days| Length::Days(Days::new(days)))
            }
            (Self::At { at: from, .. }, Self::At { at: to, .. }) => Some(Length::Elapsed(*to - *from)),
            _ => None,
        }
    }

    /// The point that lies `length` later; keeps the kind and zone of `end_like`.
    pub(crate) fn plus(&self, length: Length, end_like: &When) -> Option<When> {
        match (self, length) {
            (Self::Day(date), Length::Days(days)) => date.checked_add_days(days).map(Self::Day),
            (Self::At { at, zone }, Length::Elapsed(elapsed)) => {
                let zone = if let Self::At { zone, .. } = end_like { *zone } else { *zone };
                at.checked_add_signed(elapsed).map(|at| Self::At { at, zone })
            }
            _ => None,
        }
    }
}

/// The length of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Days(Days),
    /// RFC 5545 §3.8.5.3: an end given as a time fixes the exact duration of every instance.
    Elapsed(TimeDelta),
}

/// An instant as RFC 3339 in a zone, whole seconds, `Z` when the offset is zero.
pub(crate) fn rfc3339(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A zone by its IANA name.
pub(crate) fn parse_zone(name: &str) -> Result<Tz, Refusal> {
    name.parse().map_err(|_| Refusal::invalid(format!("Invalid time zone definition: {name}.")))
}

fn parse_naive(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

/// Quarters of an hour in a little more than the longest gap known (Samoa left out a whole day in 2011).
const GAP_QUARTERS_MAX: i32 = 4 * 26;

/// A wall-clock time as an instant: the first of two, and in a gap the time that the offset before the gap gives, which
/// lies after the gap by as much as the wall clock was short.
pub(crate) fn localize(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    if let Some(found) = zone.from_local_datetime(&wall).earliest() {
        return found.with_timezone(&Utc);
    }
    let before = (1..=GAP_QUARTERS_MAX)
        .filter_map(|quarters| wall.checked_sub_signed(TimeDelta::minutes(15) * quarters))
        .find_map(|earlier| zone.from_local_datetime(&earlier).latest());
    let offset = before.map_or(0, |before| before.offset().fix().local_minus_utc());
    wall.checked_sub_signed(TimeDelta::seconds(offset.into())).unwrap_or(wall).and_utc()
}

/// Renders the three times of an event body in another zone.
pub(crate) fn rezone(body: &mut Map<String, Value>, display: Tz) {
    for field in ["start", "end", "originalStartTime"] {
        let Some(text) = body.get_mut(field).and_then(|time| time.get_mut("dateTime")) else { continue };
        if let Some(at) = text.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok()) {
            *text = json!(rfc3339(at.with_timezone(&Utc), display));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_inside_a_gap_moves_forward_by_the_gap_and_a_fold_means_the_first() {
        let table = [
            ("Europe/Berlin", "2027-03-28T02:30:00", "2027-03-28T01:30:00Z"),
            ("Europe/Berlin", "2027-10-31T02:30:00", "2027-10-31T00:30:00Z"),
            ("America/New_York", "2027-03-14T02:00:00", "2027-03-14T07:00:00Z"),
            ("Australia/Lord_Howe", "2027-10-03T02:15:00", "2027-10-02T15:45:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T22:00:00Z"),
            ("Europe/Berlin", "2027-07-01T12:00:00", "2027-07-01T10:00:00Z"),
        ];
        for (zone, wall, instant) in table {
            let found = localize(wall.parse().unwrap(), zone.parse().unwrap());
            assert_eq!(rfc3339(found, Tz::UTC), instant, "{wall} in {zone}");
        }
    }

    #[test]
    fn a_time_needs_an_offset_or_a_zone() {
        let parse = |value: Value| When::parse(&value, Tz::UTC, "start");
        assert_eq!(parse(json!({ "dateTime": "2027-01-01T10:00:00" })).unwrap_err().reason, "required");
        assert_eq!(
            parse(json!({ "dateTime": "2027-01-01T10:00:00Z", "date": "2027-01-01" })).unwrap_err().reason,
            "invalid"
        );
        assert_eq!(
            parse(json!({ "dateTime": "2027-01-01T10:00:00", "timeZone": "Mars/Base" })).unwrap_err().status,
            400
        );
        let berlin = parse(json!({ "dateTime": "2027-01-01T10:00:00", "timeZone": "Europe/Berlin" })).unwrap();
        assert_eq!(berlin.render(Tz::UTC)["dateTime"], "2027-01-01T09:00:00Z");
    }
}
