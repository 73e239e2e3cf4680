//! What Google demands of events of a type of their own: absences, focus time, working locations, birthdays.

use serde_json::{Map, Value};

use super::draft::Draft;
use super::times::When;
use crate::refusal::Refusal;

/// Refuses an event that its type does not allow. `primary` says whether it is in a primary calendar.
pub(super) fn check(draft: &Draft, primary: bool) -> Result<(), Refusal> {
    let body = &draft.body;
    let kind = text(body, "eventType");
    let timed = matches!(draft.times.start, When::At { .. });
    let busy = text(body, "transparency") != "transparent";
    let status = matches!(kind, "outOfOffice" | "focusTime" | "workingLocation" | "birthday");
    if status && !primary {
        return Err(Refusal::invalid(format!("Events of type {kind} are for primary calendars.")));
    }
    match kind {
        "outOfOffice" | "focusTime" if !timed || !busy => {
            Err(Refusal::invalid(format!("Events of type {kind} must have times and be opaque.")))
        }
        "workingLocation" if !is_working_location(draft, busy) => {
            let message =
                "A working location event must be transparent and public, have a type, and last one day or have times.";
            Err(Refusal::new(400, "calendar", "malformedWorkingLocationEvent", message))
        }
        "birthday" if timed || busy || !is_yearly(body) => {
            Err(Refusal::invalid("A birthday must be a whole day that recurs every year, and transparent."))
        }
        _ => Ok(()),
    }
}

fn is_working_location(draft: &Draft, busy: bool) -> bool {
    let fits = match (draft.times.start, draft.times.end) {
        (When::Day(from), When::Day(to)) => (to - from).num_days() == 1,
        _ => true,
    };
    let kind = &draft.body.get("workingLocationProperties").unwrap_or(&Value::Null)["type"];
    let known = matches!(kind.as_str(), Some("homeOffice" | "officeLocation" | "customLocation"));
    fits && known && !busy && text(&draft.body, "visibility") == "public"
}

fn is_yearly(body: &Map<String, Value>) -> bool {
    let lines = body.get("recurrence").and_then(Value::as_array);
    lines.is_some_and(|lines| lines.iter().filter_map(Value::as_str).any(|line| line.contains("FREQ=YEARLY")))
}

fn text<'a>(body: &'a Map<String, Value>, field: &str) -> &'a str {
    body.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kind: &str, more: &Value, days: Option<(&str, &str)>) -> Draft {
        let mut body = match days {
            Some((from, to)) => json!({ "start": { "date": from }, "end": { "date": to } }),
            None => json!({
                "start": { "dateTime": "2027-01-04T09:00:00Z", "timeZone": "UTC" },
                "end": { "dateTime": "2027-01-04T10:00:00Z", "timeZone": "UTC" },
            }),
        };
        body["eventType"] = json!(kind);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Draft::read(body.as_object().unwrap(), chrono_tz::Tz::UTC, true).unwrap()
    }

    #[test]
    fn each_type_has_its_times_and_its_transparency() {
        let day = Some(("2027-01-04", "2027-01-05"));
        let days = Some(("2027-01-04", "2027-01-06"));
        let free = json!({ "transparency": "transparent" });
        let place = json!({
            "transparency": "transparent", "visibility": "public", "workingLocationProperties": { "type": "homeOffice" },
        });
        let yearly = json!({ "transparency": "transparent", "recurrence": ["RRULE:FREQ=YEARLY"] });
        for (kind, more, days, fine) in [
            ("default", &free, day, true),
            ("outOfOffice", &json!({}), None, true),
            ("outOfOffice", &json!({}), day, false),
            ("focusTime", &free, None, false),
            ("workingLocation", &place, None, true),
            ("workingLocation", &place, day, true),
            ("workingLocation", &place, days, false),
            ("workingLocation", &free, day, false),
            ("birthday", &yearly, day, true),
            ("birthday", &yearly, None, false),
            ("birthday", &free, day, false),
        ] {
            let draft = read(kind, more, days);
            assert_eq!(check(&draft, true).is_ok(), fine, "{kind} {more} {days:?}");
            assert_eq!(check(&draft, false).is_ok(), kind == "default", "{kind} in a secondary calendar");
        }
    }
}
