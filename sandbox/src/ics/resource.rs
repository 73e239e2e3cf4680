//! Drafts as event resources of Calendar v3.

use std::collections::HashSet;

use data_encoding::BASE32HEX_NOPAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    event::{Draft, Status},
    moment::Moment,
};

/// Bytes of the hash that make an id: 160 bit, 32 characters.
const ID_BYTES: usize = 20;

/// Writes everything that shares a UID. A series comes before its exceptions. Exceptions whose series is not in the file
/// become events of their own, which is what Google makes of them, and what is cancelled as a whole is left out.
pub(super) fn emit(master: Option<Draft>, exceptions: Vec<Draft>, owner: Option<&str>, out: &mut Vec<Value>) {
    let Some(master) = master else {
        alone(&exceptions, owner, out);
        return;
    };
    if master.status == Status::Cancelled {
        return;
    }
    let id = event_id(&[&master.uid]);
    if master.recurrence.lines.is_empty() {
        let replaced = exceptions.iter().any(|one| original_start(one, &master) == master.start);
        if !replaced {
            out.push(Value::Object(resource(&master, id, owner)));
        }
        alone(&exceptions, owner, out);
        return;
    }
    let mut series = resource(&master, id.clone(), owner);
    series.insert("recurrence".to_owned(), json!(master.recurrence.lines));
    out.push(Value::Object(series));
    let mut taken = HashSet::new();
    for exception in exceptions {
        let original = original_start(&exception, &master);
        if taken.insert(original.stamp()) {
            out.push(exception_resource(&exception, &id, original, owner));
        }
    }
    for &(start, end) in &master.recurrence.periods {
        let original = start.in_the_manner_of(master.start);
        if taken.insert(original.stamp()) {
            let instance = Draft { start, end, ..master.clone() };
            out.push(exception_resource(&instance, &id, original, owner));
        }
    }
}

fn alone(exceptions: &[Draft], owner: Option<&str>, out: &mut Vec<Value>) {
    for one in exceptions.iter().filter(|one| one.status != Status::Cancelled) {
        let stamp = one.replaces.map(Moment::stamp).unwrap_or_default();
        out.push(Value::Object(resource(one, event_id(&[&one.uid, &stamp]), owner)));
    }
}

fn original_start(exception: &Draft, master: &Draft) -> Moment {
    exception.replaces.unwrap_or(exception.start).in_the_manner_of(master.start)
}

fn exception_resource(exception: &Draft, master: &str, original: Moment, owner: Option<&str>) -> Value {
    let mut fields = resource(exception, format!("{master}_{}", original.stamp()), owner);
    fields.insert("recurringEventId".to_owned(), json!(master));
    fields.insert("originalStartTime".to_owned(), original.resource());
    Value::Object(fields)
}

fn resource(draft: &Draft, id: String, owner: Option<&str>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    put("id", Some(id.into()));
    put("iCalUID", Some(draft.uid.clone().into()));
    put("status", Some(json!(status(draft.status))));
    put("summary", draft.summary.clone().map(Value::from));
    put("description", draft.description.clone().map(Value::from));
    put("location", draft.location.clone().map(Value::from));
    put("start", Some(draft.start.resource()));
    put("end", Some(draft.end.resource()));
    put("transparency", draft.transparent.then(|| json!("transparent")));
    put("visibility", draft.visibility.map(Value::from));
    put("sequence", (draft.sequence > 0).then(|| json!(draft.sequence)));
    put("attendees", (!draft.attendees.is_empty()).then(|| attendees(draft, owner)));
    fields
}

fn attendees(draft: &Draft, owner: Option<&str>) -> Value {
    let guests = draft.attendees.iter().map(|guest| {
        let mut fields = Map::new();
        fields.insert("email".to_owned(), json!(guest.email));
        if let Some(name) = &guest.name {
            fields.insert("displayName".to_owned(), json!(name));
        }
        if owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&guest.email)) {
            fields.insert("self".to_owned(), json!(true));
        }
        fields.insert("responseStatus".to_owned(), json!(guest.response));
        Value::Object(fields)
    });
    guests.collect()
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Confirmed => "confirmed",
        Status::Tentative => "tentative",
        Status::Cancelled => "cancelled",
    }
}

/// An id in Google's alphabet (`a`–`v`, `0`–`9`) that follows from the file alone.
fn event_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    BASE32HEX_NOPAD.encode(&hash.finalize()[..ID_BYTES]).to_ascii_lowercase()
}
