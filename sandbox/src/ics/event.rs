//! One VEVENT, read and checked, before it is known what else shares its UID.

use calcard::icalendar::{
    ICalendarClassification, ICalendarComponent, ICalendarEntry, ICalendarParameterName, ICalendarParameterValue,
    ICalendarParticipationStatus, ICalendarProperty, ICalendarStatus, ICalendarTransparency, ICalendarValue,
};

use super::{
    moment::{Moment, Zones},
    recurrence::{self, Recurrence},
};

/// A VEVENT in our words.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) uid: String,
    /// `RECURRENCE-ID`: the instance that this one replaces.
    pub(super) replaces: Option<Moment>,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) status: Status,
    pub(super) transparent: bool,
    pub(super) visibility: Option<&'static str>,
    pub(super) summary: Option<String>,
    pub(super) description: Option<String>,
    pub(super) location: Option<String>,
    pub(super) sequence: i64,
    pub(super) attendees: Vec<Attendee>,
    pub(super) recurrence: Recurrence,
}

/// Google's `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Confirmed,
    Tentative,
    Cancelled,
}

/// A guest.
#[derive(Debug, Clone)]
pub(super) struct Attendee {
    pub(super) email: String,
    pub(super) name: Option<String>,
    pub(super) response: &'static str,
}

/// Guests that are kept of one event; Google stops propagating answers at 200.
const ATTENDEES_MAX: usize = 200;
/// Longest text that is kept of a title, a place or a description, in characters; Google's own limit for descriptions.
const TEXT_CHARS_MAX: usize = 8192;

/// Reads a VEVENT, or says in words why it cannot be used.
pub(super) fn read(event: &ICalendarComponent, zones: &mut Zones) -> Result<Draft, String> {
    let uid = event.uid().map(str::trim).filter(|uid| !uid.is_empty());
    let uid = uid.ok_or("it has no UID, so nothing could tell it from others")?.to_owned();
    let start = required_moment(event, &ICalendarProperty::Dtstart, zones)?;
    let end = read_end(event, start, zones)?;
    let replaces = match event.property(&ICalendarProperty::RecurrenceId) {
        None => None,
        Some(entry) if entry.has_parameter(&ICalendarParameterName::Range) => {
            return Err(format!(
                "RECURRENCE-ID with RANGE={} changes this and all later instances; Google has no such exception, it starts a \
                 new series instead",
                parameter(entry, &ICalendarParameterName::Range).unwrap_or_default(),
            ));
        }
        Some(entry) => Some(entry_moment(entry, "RECURRENCE-ID", zones)?),
    };
    let recurrence = if replaces.is_some() { Recurrence::default() } else { recurrence::read(event, start, zones)? };
    Ok(Draft {
        uid,
        replaces,
        start,
        end,
        status: match event.status() {
            Some(ICalendarStatus::Cancelled) => Status::Cancelled,
            Some(ICalendarStatus::Tentative) => Status::Tentative,
            _ => Status::Confirmed,
        },
        transparent: event.transparency() == Some(&ICalendarTransparency::Transparent),
        visibility: visibility(event),
        summary: text(event, &ICalendarProperty::Summary),
        description: text(event, &ICalendarProperty::Description),
        location: text(event, &ICalendarProperty::Location),
        sequence: event
            .property(&ICalendarProperty::Sequence)
            .and_then(|entry| entry.values.first())
            .and_then(ICalendarValue::as_integer)
            .map_or(0, |number| number.clamp(0, i64::from(i32::MAX))),
        attendees: event.properties(&ICalendarProperty::Attendee).filter_map(attendee).take(ATTENDEES_MAX).collect(),
        recurrence,
    })
}

/// DTEND, or DTSTART with DURATION, or what RFC 5545 (3.6.1) says when there is neither: a day for a date, else no time.
fn read_end(event: &ICalendarComponent, start: Moment, zones: &mut Zones) -> Result<Moment, String> {
    if event.has_property(&ICalendarProperty::Dtend) {
        let end = required_moment(event, &ICalendarProperty::Dtend, zones)?;
        return match (start, end) {
            (Moment::Date(first), Moment::Date(last)) if first == last => {
                first.succ_opt().map(Moment::Date).ok_or_else(|| "its end is out of range".to_owned())
            }
            (Moment::Date(first), Moment::Date(last)) if last > first => Ok(end),
            (Moment::At { .. }, Moment::At { .. }) => timed_end(start, end),
            (Moment::Date(_), Moment::Date(_)) => Err("DTEND is before DTSTART".to_owned()),
            _ => Err("one of DTSTART and DTEND is a date and the other a time; both must be the same".to_owned()),
        };
    }
    if let Some(entry) = event.property(&ICalendarProperty::Duration) {
        let Some(ICalendarValue::Duration(length)) = entry.values.first() else {
            return Err("DURATION is not a length of time such as PT30M".to_owned());
        };
        return start
            .after(length)
            .filter(|end| *end != start || matches!(start, Moment::At { .. }))
            .ok_or_else(|| format!("DURATION:{length} cannot follow this DTSTART"));
    }
    match start {
        Moment::Date(date) => date.succ_opt().map(Moment::Date).ok_or_else(|| "DTSTART is out of range".to_owned()),
        Moment::At { .. } => Ok(start),
    }
}

/// The end of a timed event. One that begins in a gap of the clock and ends soon after it would end before its shifted
/// start; such an event keeps its length.
fn timed_end(start: Moment, end: Moment) -> Result<Moment, String> {
    let (Some(from), Some(to)) = (start.instant(), end.instant()) else {
        return Err("its times are out of range".to_owned());
    };
    if to >= from {
        return Ok(end);
    }
    let (Moment::At { zone, .. }, Moment::At { zone: end_zone, .. }) = (start, end) else {
        return Err("DTEND is before DTSTART".to_owned());
    };
    let length = end.wall() - start.wall();
    if zone != end_zone || length < chrono::TimeDelta::zero() {
        return Err("DTEND is before DTSTART".to_owned());
    }
    from.checked_add_signed(length)
        .map(|end| Moment::At { local: end.naive_local(), zone })
        .ok_or_else(|| "its end is out of range".to_owned())
}

fn required_moment(
    event: &ICalendarComponent,
    property: &ICalendarProperty,
    zones: &mut Zones,
) -> Result<Moment, String> {
    let name = property.as_str();
    let entry = event.property(property).ok_or_else(|| format!("it has no {name}"))?;
    entry_moment(entry, name, zones)
}

fn entry_moment(entry: &ICalendarEntry, name: &str, zones: &mut Zones) -> Result<Moment, String> {
    let right = "is not a date (20261124) or a time (20261124T143000)";
    let value = entry.values.first().and_then(ICalendarValue::as_partial_date_time);
    let value = value.ok_or_else(|| format!("{name} {right}"))?;
    zones.moment(value, entry.tz_id()).ok_or_else(|| format!("{name} {right}"))
}

fn text(event: &ICalendarComponent, property: &ICalendarProperty) -> Option<String> {
    let text = event.property(property)?.values.first()?.as_text()?;
    (!text.is_empty()).then(|| text.chars().take(TEXT_CHARS_MAX).collect())
}

fn visibility(event: &ICalendarComponent) -> Option<&'static str> {
    match event.property(&ICalendarProperty::Class)?.values.first()? {
        ICalendarValue::Classification(ICalendarClassification::Public) => Some("public"),
        ICalendarValue::Classification(ICalendarClassification::Private) => Some("private"),
        ICalendarValue::Classification(ICalendarClassification::Confidential) => Some("confidential"),
        _ => None,
    }
}

fn attendee(entry: &ICalendarEntry) -> Option<Attendee> {
    let email = entry.calendar_address()?.trim();
    if !email.contains('@') {
        return None;
    }
    let response = match entry.parameter(&ICalendarParameterName::Partstat) {
        Some(ICalendarParameterValue::Partstat(ICalendarParticipationStatus::Accepted)) => "accepted",
        Some(ICalendarParameterValue::Partstat(ICalendarParticipationStatus::Declined)) => "declined",
        Some(ICalendarParameterValue::Partstat(ICalendarParticipationStatus::Tentative)) => "tentative",
        _ => "needsAction",
    };
    let name = parameter(entry, &ICalendarParameterName::Cn).filter(|name| !name.is_empty() && name != email);
    Some(Attendee { email: email.to_owned(), name, response })
}

fn parameter(entry: &ICalendarEntry, name: &ICalendarParameterName) -> Option<String> {
    entry.parameter(name)?.as_text().map(str::to_owned)
}
