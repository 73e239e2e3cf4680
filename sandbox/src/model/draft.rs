//! Reads an event resource that a client or an import wants stored, and refuses what Google would refuse.

use serde_json::{Map, Value, json};

use super::record::Times;
use super::series::Series;
use super::times::When;
use crate::refusal::Refusal;
use chrono_tz::Tz;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Number,
    Texts,
    /// An object of any texts.
    Properties,
    Object(&'static [(&'static str, Shape)]),
    List(&'static [(&'static str, Shape)]),
    OneOf(&'static [&'static str]),
}
use Shape::{Flag, List, Number, Object, OneOf, Properties, Text, Texts};

const TIME: Shape = Object(&[("date", Text), ("dateTime", Text), ("timeZone", Text)]);
const ATTENDEE: &[(&str, Shape)] = &[
    ("additionalGuests", Number),
    ("comment", Text),
    ("displayName", Text),
    ("email", Text),
    ("id", Text),
    ("optional", Flag),
    ("organizer", Flag),
    ("resource", Flag),
    ("responseStatus", OneOf(&["needsAction", "declined", "tentative", "accepted"])),
    ("self", Flag),
];
const ATTACHMENT: &[(&str, Shape)] =
    &[("fileId", Text), ("fileUrl", Text), ("iconLink", Text), ("mimeType", Text), ("title", Text)];
const OFFICE: Shape =
    Object(&[("buildingId", Text), ("deskId", Text), ("floorId", Text), ("floorSectionId", Text), ("label", Text)]);

/// The fields of an event that a writer may set; everything else is Google's own, or unknown, and is left out.
const WRITABLE: &[(&str, Shape)] = &[
    ("anyoneCanAddSelf", Flag),
    ("attachments", List(ATTACHMENT)),
    ("attendees", List(ATTENDEE)),
    ("attendeesOmitted", Flag),
    ("birthdayProperties", Object(&[("contact", Text), ("customTypeName", Text), ("type", Text)])),
    ("colorId", Text),
    ("description", Text),
    ("end", TIME),
    ("eventType", OneOf(&["default", "outOfOffice", "focusTime", "workingLocation", "fromGmail", "birthday"])),
    ("extendedProperties", Object(&[("private", Properties), ("shared", Properties)])),
    ("focusTimeProperties", Object(&[("autoDeclineMode", Text), ("chatStatus", Text), ("declineMessage", Text)])),
    ("guestsCanInviteOthers", Flag),
    ("guestsCanModify", Flag),
    ("guestsCanSeeOtherGuests", Flag),
    ("iCalUID", Text),
    ("id", Text),
    ("location", Text),
    ("originalStartTime", TIME),
    ("outOfOfficeProperties", Object(&[("autoDeclineMode", Text), ("declineMessage", Text)])),
    ("recurrence", Texts),
    ("reminders", Object(&[("overrides", List(&[("method", Text), ("minutes", Number)])), ("useDefault", Flag)])),
    ("sequence", Number),
    ("source", Object(&[("title", Text), ("url", Text)])),
    ("start", TIME),
    ("status", OneOf(&["confirmed", "tentative", "cancelled"])),
    ("summary", Text),
    ("transparency", OneOf(&["opaque", "transparent"])),
    ("visibility", OneOf(&["default", "public", "private", "confidential"])),
    (
        "workingLocationProperties",
        Object(&[
            ("customLocation", Object(&[("label", Text)])),
            ("homeOffice", Object(&[])),
            ("officeLocation", OFFICE),
            ("type", Text),
        ]),
    ),
];

/// Longest key and value of an extended property, in characters.
const PROPERTY_KEY_MAX: usize = 44;
const PROPERTY_VALUE_MAX: usize = 1024;
/// Most extended properties of an event, and most bytes of all of them.
const PROPERTIES_MAX: usize = 300;
const PROPERTIES_BYTES_MAX: usize = 32 << 10;
/// The first times that can be written with four digits for the year.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9998;

/// An event that may be stored, its server-set fields still missing.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) body: Map<String, Value>,
    pub(crate) times: Times,
    pub(crate) series: Option<Series>,
    /// Whose event it is, where that is not the calendar.
    pub(crate) organizer: Option<Value>,
}

impl Draft {
    /// Reads a whole event. `recurring` says whether it may be a series (an exception may not).
    pub(crate) fn read(wanted: &Map<String, Value>, zone: Tz, recurring: bool) -> Result<Self, Refusal> {
        let mut body = copy(wanted, WRITABLE, "")?;
        let start = When::parse(body.get("start").unwrap_or(&json!({})), zone, "start")?;
        let end = When::parse(body.get("end").unwrap_or(&json!({})), zone, "end")?;
        check_order(start, end, zone)?;

        let lines = if recurring { lines(&body) } else { Vec::new() };
        let named = body["start"].get("timeZone").is_some_and(Value::is_string);
        if !lines.is_empty() && matches!(start, When::At { .. }) && !named {
            return Err(Refusal::required("Missing time zone definition for start time."));
        }
        let series =
            if lines.is_empty() { None } else { Some(Series::parse(&lines, start).map_err(Refusal::invalid)?) };
        if series.is_none() {
            body.remove("recurrence");
        }
        body.insert("start".to_owned(), start.render(zone));
        body.insert("end".to_owned(), end.render(zone));
        complete(&mut body)?;
        Ok(Self { body, times: Times { start, end }, series, organizer: None })
    }
}

fn check_order(start: When, end: When, zone: Tz) -> Result<(), Refusal> {
    use chrono::Datelike as _;
    match (start, end) {
        (When::Day(_), When::At { .. }) | (When::At { .. }, When::Day(_)) => {
            return Err(Refusal::invalid("The start and end times must either both be date or both be dateTime."));
        }
        // The end of a day event is exclusive, so that it has at least one day.
        (When::Day(from), When::Day(to)) if to <= from => return Err(Refusal::time_range_empty()),
        (When::At { at: from, .. }, When::At { at: to, .. }) if to < from => return Err(Refusal::time_range_empty()),
        _ => {}
    }
    if YEARS.contains(&start.instant(zone).year()) && YEARS.contains(&end.instant(zone).year()) {
        Ok(())
    } else {
        Err(Refusal::invalid("Invalid start time."))
    }
}

fn lines(body: &Map<String, Value>) -> Vec<&str> {
    body.get("recurrence")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |lines| lines.iter().filter_map(Value::as_str).collect())
}

/// Fills in defaults, leaves out values that Google leaves out, and applies the limits of extended properties.
fn complete(body: &mut Map<String, Value>) -> Result<(), Refusal> {
    for (field, default) in [("transparency", "opaque"), ("visibility", "default")] {
        if body.get(field).is_some_and(|value| value == default) {
            body.remove(field);
        }
    }
    for (field, default) in
        [("status", json!("confirmed")), ("eventType", json!("default")), ("reminders", json!({ "useDefault": true }))]
    {
        body.entry(field).or_insert(default);
    }
    if let Some(attendees) = body.get_mut("attendees").and_then(Value::as_array_mut) {
        for attendee in attendees.iter_mut() {
            if !attendee.get("email").is_some_and(Value::is_string) {
                return Err(Refusal::required("Missing attendee email."));
            }
            if attendee.get("responseStatus").is_none() {
                attendee["responseStatus"] = json!("needsAction");
            }
        }
    }
    let (mut count, mut bytes) = (0, 0);
    for kind in ["private", "shared"] {
        let Some(properties) =
            body.get_mut("extendedProperties").and_then(|all| all.get_mut(kind)).and_then(Value::as_object_mut)
        else {
            continue;
        };
        properties.retain(|key, _| key.chars().count() <= PROPERTY_KEY_MAX);
        for value in properties.values_mut() {
            if let Some((end, _)) = value.as_str().and_then(|text| text.char_indices().nth(PROPERTY_VALUE_MAX)) {
                *value = json!(value.as_str().unwrap_or_default()[..end]);
            }
        }
        count += properties.len();
        bytes += properties.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>();
    }
    if count > PROPERTIES_MAX || bytes > PROPERTIES_BYTES_MAX {
        return Err(Refusal::invalid("The extended properties are too many or too large."));
    }
    Ok(())
}

fn copy(
    from: &Map<String, Value>,
    fields: &[(&'static str, Shape)],
    path: &str,
) -> Result<Map<String, Value>, Refusal> {
    let mut copied = Map::new();
    for (name, shape) in fields {
        if let Some(value) = from.get(*name).filter(|value| !value.is_null()) {
            copied.insert((*name).to_owned(), fit(value, *shape, &format!("{path}{name}"))?);
        }
    }
    Ok(copied)
}

fn fit(value: &Value, shape: Shape, path: &str) -> Result<Value, Refusal> {
    let wrong = || Refusal::invalid(format!("Invalid value for: {path}"));
    match (shape, value) {
        (Text, Value::String(_)) | (Flag, Value::Bool(_)) => Ok(value.clone()),
        (Number, Value::Number(number)) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => {
            Ok(value.clone())
        }
        (Texts, Value::Array(texts)) if texts.iter().all(Value::is_string) => Ok(value.clone()),
        (OneOf(allowed), Value::String(text)) if allowed.contains(&text.as_str()) => Ok(value.clone()),
        (Properties, Value::Object(all)) if all.values().all(|value| value.is_string() || value.is_null()) => Ok(all
            .iter()
            .filter(|(_, value)| value.is_string())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()),
        (Object(fields), Value::Object(inner)) => Ok(Value::Object(copy(inner, fields, &format!("{path}."))?)),
        (List(fields), Value::Array(entries)) => {
            let entry = |entry: &Value| fit(entry, Object(fields), path);
            entries.iter().map(entry).collect::<Result<_, _>>().map(Value::Array)
        }
        _ => Err(wrong()),
    }
}

/// JSON merge as Google's PATCH does it: objects merge, arrays and plain values replace, `null` deletes.
pub(crate) fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (value, into.get_mut(key)) {
            (Value::Null, _) => {
                into.remove(key);
            }
            (Value::Object(patch), Some(Value::Object(known))) => merge(known, patch),
            (Value::Object(patch), _) => {
                let mut fresh = Map::new();
                merge(&mut fresh, patch);
                into.insert(key.clone(), Value::Object(fresh));
            }
            (value, _) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Draft, Refusal> {
        Draft::read(value.as_object().unwrap(), Tz::Europe__Berlin, true)
    }

    #[test]
    fn what_google_refuses_is_refused_with_its_reason() {
        let nine = json!({ "dateTime": "2027-01-04T09:00:00+01:00" });
        let ten = json!({ "dateTime": "2027-01-04T10:00:00+01:00" });
        let table = [
            (json!({ "start": nine }), "required"),
            (json!({ "start": nine, "end": { "date": "2027-01-04" } }), "invalid"),
            (json!({ "start": ten, "end": nine }), "timeRangeEmpty"),
            (json!({ "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-04" } }), "timeRangeEmpty"),
            (json!({ "start": nine, "end": ten, "recurrence": ["RRULE:FREQ=DAILY"] }), "required"),
            (json!({ "start": nine, "end": ten, "summary": 5 }), "invalid"),
            (json!({ "start": nine, "end": ten, "transparency": "glass" }), "invalid"),
            (json!({ "start": nine, "end": ten, "attendees": [{ "displayName": "Nobody" }] }), "required"),
        ];
        for (body, reason) in table {
            assert_eq!(read(&body).unwrap_err().reason, reason, "{body}");
        }
    }

    #[test]
    fn unknown_fields_are_left_out_and_property_limits_applied() {
        let draft = read(&json!({
            "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-05" }, "nonsense": 1, "etag": "\"x\"",
            "extendedProperties": { "private": { "k".repeat(45): "dropped", "long": "ü".repeat(1100) } },
        }))
        .unwrap();
        assert!(!draft.body.contains_key("nonsense") && !draft.body.contains_key("etag"));
        let private = draft.body["extendedProperties"]["private"].as_object().unwrap();
        assert_eq!(private.len(), 1);
        assert_eq!(private["long"].as_str().unwrap().chars().count(), 1024);
    }

    #[test]
    fn a_patch_merges_objects_replaces_arrays_and_deletes_with_null() {
        let mut body = json!({ "a": { "b": 1, "c": 2 }, "list": [1, 2], "gone": true });
        let patch = json!({ "a": { "b": null, "d": { "e": null, "f": 3 } }, "list": [9], "gone": null });
        merge(body.as_object_mut().unwrap(), patch.as_object().unwrap());
        assert_eq!(body, json!({ "a": { "c": 2, "d": { "f": 3 } }, "list": [9] }));
    }
}
