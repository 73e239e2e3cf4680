//! Insert, patch, update and delete, as Google applies them.

use std::sync::Arc;

use chrono::SecondsFormat;
use data_encoding::BASE32HEX_NOPAD;
use serde_json::{Map, Value, json};

use super::Calendar;
use super::draft::{Draft, merge};
use super::kinds;
use super::record::{Exception, Record};
use crate::refusal::Refusal;

/// Who writes, and on what condition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    /// The writer's address.
    pub(crate) actor: &'a str,
    /// The etag that the event must still have (`*` for any).
    pub(crate) if_match: Option<&'a str>,
    /// Whether the body comes from an import, which also knows what Google keeps to itself (such as `self`).
    pub(crate) import: bool,
}

/// What the addresses of service accounts end with.
pub(crate) const SERVICE_ACCOUNTS: &str = ".gserviceaccount.com";

/// Lengths that Google allows for ids chosen by clients.
const ID_LENGTHS: std::ops::RangeInclusive<usize> = 5..=1024;

impl Calendar {
    /// Stores a new event.
    pub(crate) fn insert(&mut self, body: &Map<String, Value>, write: Write) -> Result<Arc<Record>, Refusal> {
        let id = match body.get("id").filter(|id| !id.is_null()) {
            Some(id) => checked_id(id, write.import)?,
            None => random_id(),
        };
        if self.events.contains_key(&id) {
            return Err(Refusal::duplicate());
        }
        if body.get("eventType").is_some_and(|kind| kind == "fromGmail") && !write.import {
            return Err(Refusal::invalid("Events of this type cannot be created."));
        }
        if is_alone(write.actor) && has_attendees(body) {
            let message = "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority.";
            return Err(Refusal::new(403, "calendar", "forbiddenForServiceAccounts", message));
        }
        let mut draft = Draft::read(body, self.zone, true)?;
        if !write.import {
            kinds::check(&draft, self.is_primary())?;
        }
        draft.body.remove("originalStartTime");
        Ok(self.store(&id, draft, None, None, write))
    }

    /// Stores a copy of somebody else's event, or replaces the copy that is there: imports go by `iCalUID`.
    pub(crate) fn import(&mut self, body: &Map<String, Value>, write: Write) -> Result<Arc<Record>, Refusal> {
        let uid = body.get("iCalUID").and_then(Value::as_str).filter(|uid| !uid.is_empty());
        let uid = uid.ok_or_else(|| Refusal::required("Missing iCalUID."))?;
        if body.get("eventType").is_some_and(|kind| kind != "default") {
            return Err(Refusal::invalid("Only default events can be imported."));
        }
        let organizer = body.get("organizer").filter(|organizer| organizer["email"].is_string()).cloned();
        let known = self.with_uid(uid);
        let mut draft = Draft::read(body, self.zone, true)?;
        draft.body.remove("originalStartTime");
        draft.organizer = organizer;
        let id = known.as_ref().map_or_else(random_id, |known| known.id.clone());
        Ok(self.store(&id, draft, known.as_deref(), None, write))
    }

    /// Merges `patch` into an event or an instance of a series. `status: cancelled` deletes, `status: confirmed` brings
    /// a deleted event back.
    pub(crate) fn patch(&mut self, id: &str, patch: &Map<String, Value>, write: Write) -> Result<Arc<Record>, Refusal> {
        let current = self.find(id).ok_or_else(Refusal::not_found)?;
        if self.is_purged(id) {
            return Err(Refusal::new(403, "global", "forbidden", "Forbidden"));
        }
        check(&current, write)?;
        if is_cancelled(patch) {
            return Ok(if current.cancelled { current } else { self.cancel(&current) });
        }
        let revived = patch.get("status").is_some_and(|status| !status.is_null());
        if current.cancelled && !revived {
            return Ok(current);
        }
        let mut merged = self.details(&current);
        merge(&mut merged, patch);
        self.replace(&current, &merged, write)
    }

    /// Replaces an event or an instance; what the body leaves out goes back to its default.
    pub(crate) fn update(&mut self, id: &str, body: &Map<String, Value>, write: Write) -> Result<Arc<Record>, Refusal> {
        let current = self.find(id).ok_or_else(Refusal::not_found)?;
        if self.is_purged(id) {
            return Err(Refusal::new(403, "global", "forbidden", "Forbidden"));
        }
        check(&current, write)?;
        if is_cancelled(body) {
            return Ok(if current.cancelled { current } else { self.cancel(&current) });
        }
        if !is_organizer(&current) && shared(body) != shared(&current.body()) {
            let message = "Shared properties can only be changed by the organizer of the event.";
            return Err(Refusal::new(403, "calendar", "forbiddenForNonOrganizer", message));
        }
        self.replace(&current, body, write)
    }

    /// Deletes an event, a series or one instance.
    pub(crate) fn delete(&mut self, id: &str, write: Write) -> Result<(), Refusal> {
        let current = self.find(id).ok_or_else(Refusal::not_found)?;
        if current.cancelled {
            return Err(Refusal::deleted());
        }
        check(&current, write)?;
        self.cancel(&current);
        Ok(())
    }

    /// What a patch of `current` merges into. A deleted instance has lost its details: they come from its series.
    fn details(&self, current: &Record) -> Map<String, Value> {
        let mut body = current.body();
        if let (true, Some(exception)) = (current.cancelled, &current.exception) {
            let instance = self
                .events
                .get(&exception.master)
                .and_then(|master| super::instances::instance(master, exception.original, self.zone));
            if let Some(instance) = instance {
                body = instance.body();
            }
        }
        body
    }

    fn replace(&mut self, current: &Record, wanted: &Map<String, Value>, write: Write) -> Result<Arc<Record>, Refusal> {
        let draft = Draft::read(wanted, self.zone, current.exception.is_none())?;
        let known = current.body();
        let sequence = known.get("sequence").and_then(Value::as_i64).unwrap_or(0);
        if draft.body.get("sequence").and_then(Value::as_i64).is_some_and(|wanted| wanted < sequence) {
            return Err(Refusal::invalid(
                "Invalid sequence value. The specified sequence number is below the current.",
            ));
        }
        if draft.body.get("eventType") != known.get("eventType") && known.contains_key("eventType") {
            return Err(Refusal::invalid("Event type cannot be changed."));
        }
        if !write.import {
            kinds::check(&draft, self.is_primary())?;
        }
        // As times, not as texts: the calendar may have moved to another zone since they were written.
        let rules_changed = draft.body.get("recurrence") != known.get("recurrence")
            || current.times.map(|times| times.start) != Some(draft.times.start);
        let exception = current.exception.clone();
        let stored = self.store(&current.id, draft, Some(current), exception, write);
        if rules_changed && stored.exception.is_none() {
            let produced = |record: &Record| {
                let original = record.exception.as_ref().map(|exception| exception.original);
                original.is_some_and(|original| stored.series.as_ref().is_some_and(|series| series.has(original)))
            };
            self.drop_exceptions(&stored.id, |record| !produced(record));
        }
        Ok(stored)
    }

    fn cancel(&mut self, current: &Record) -> Arc<Record> {
        let mut body = current.body();
        let mut times = current.times;
        if current.exception.is_some() {
            times = None;
            body.retain(|field, _| matches!(field.as_str(), "id" | "kind" | "originalStartTime" | "recurringEventId"));
        }
        body.insert("status".to_owned(), json!("cancelled"));
        let record = Arc::new(Record::new(self.advance(), body, times, None, current.exception.clone()));
        if record.exception.is_none() {
            self.drop_exceptions(&record.id, |_| true);
        }
        self.put(Arc::clone(&record));
        record
    }

    /// Adds what only the server sets, and stores.
    pub(super) fn store(
        &mut self,
        id: &str,
        draft: Draft,
        former: Option<&Record>,
        exception: Option<Exception>,
        write: Write,
    ) -> Arc<Record> {
        let (revision, updated) = self.advance();
        let Draft { mut body, times, series, organizer: given } = draft;
        let known = former.map(Record::body).unwrap_or_default();
        let kept = |field: &str| known.get(field).cloned();

        let wanted = body.get("sequence").and_then(Value::as_i64).unwrap_or(0);
        let moved = former
            .is_some_and(|former| former.times != Some(times) || known.get("recurrence") != body.get("recurrence"));
        let sequence =
            wanted.max(known.get("sequence").and_then(Value::as_i64).unwrap_or(0)) + i64::from(moved && !write.import);
        body.insert("sequence".to_owned(), json!(sequence));

        let created = || json!(updated.to_rfc3339_opts(SecondsFormat::Secs, true).replace('Z', ".000Z"));
        let creator = || {
            if write.actor == self.id {
                json!({ "email": write.actor, "self": true })
            } else {
                json!({ "email": write.actor })
            }
        };
        let organizer = || given.map_or_else(|| self.organizer(), |given| as_seen_from(&self.id, &given));
        body.insert("created".to_owned(), kept("created").unwrap_or_else(created));
        body.insert("creator".to_owned(), kept("creator").unwrap_or_else(creator));
        body.insert("organizer".to_owned(), kept("organizer").unwrap_or_else(organizer));
        let uid =
            kept("iCalUID").or_else(|| body.remove("iCalUID")).unwrap_or_else(|| json!(format!("{id}@google.com")));
        body.insert("iCalUID".to_owned(), uid);
        let link = data_encoding::BASE64URL_NOPAD.encode(format!("{id} {}", self.id).as_bytes());
        body.insert("htmlLink".to_owned(), json!(format!("https://www.google.com/calendar/event?eid={link}")));
        body.insert("kind".to_owned(), json!("calendar#event"));
        body.insert("id".to_owned(), json!(id));
        if let Some(exception) = &exception {
            body.insert("recurringEventId".to_owned(), json!(exception.master));
            body.insert("originalStartTime".to_owned(), exception.original.render(self.zone));
        } else {
            body.remove("originalStartTime");
        }
        if !write.import {
            self.mark_self(&mut body);
        }
        let record = Arc::new(Record::new((revision, updated), body, Some(times), series, exception));
        self.put(Arc::clone(&record));
        record
    }

    /// Marks the attendee whose copy of the event this calendar holds.
    fn mark_self(&self, body: &mut Map<String, Value>) {
        let Some(attendees) = body.get_mut("attendees").and_then(Value::as_array_mut) else { return };
        for attendee in attendees.iter_mut().filter_map(Value::as_object_mut) {
            attendee.remove("self");
            let email = attendee.get("email").and_then(Value::as_str).unwrap_or_default();
            if email.eq_ignore_ascii_case(&self.id) || email.eq_ignore_ascii_case(&self.owner) {
                attendee.insert("self".to_owned(), json!(true));
            }
        }
    }
}

/// Another's event, with a mark if the other is the calendar's own owner.
fn as_seen_from(calendar: &str, organizer: &Value) -> Value {
    let mut seen = Map::new();
    for field in ["displayName", "email"] {
        if let Some(text) = organizer.get(field).filter(|text| text.is_string()) {
            seen.insert(field.to_owned(), text.clone());
        }
    }
    if organizer["email"].as_str().is_some_and(|email| email.eq_ignore_ascii_case(calendar)) {
        seen.insert("self".to_owned(), json!(true));
    }
    Value::Object(seen)
}

fn is_organizer(record: &Record) -> bool {
    record.body().get("organizer").is_none_or(|organizer| organizer["self"] == json!(true))
}

/// The properties that all copies of an event have in common.
fn shared(body: &Map<String, Value>) -> Map<String, Value> {
    let properties = body.get("extendedProperties").and_then(|properties| properties["shared"].as_object());
    properties.cloned().unwrap_or_default()
}

/// A service account that acts for itself, not for a user of its domain.
fn is_alone(actor: &str) -> bool {
    actor.ends_with(SERVICE_ACCOUNTS)
}

fn has_attendees(body: &Map<String, Value>) -> bool {
    body.get("attendees").and_then(Value::as_array).is_some_and(|attendees| !attendees.is_empty())
}

fn is_cancelled(body: &Map<String, Value>) -> bool {
    body.get("status").is_some_and(|status| status == "cancelled")
}

pub(super) fn check(current: &Record, write: Write) -> Result<(), Refusal> {
    match write.if_match {
        Some(etag) if etag != "*" && etag != current.etag() => Err(Refusal::condition_not_met()),
        _ => Ok(()),
    }
}

/// Ids that Google itself made, as imports have them, use more characters than a client may choose.
fn checked_id(id: &Value, import: bool) -> Result<String, Refusal> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'v' | b'0'..=b'9') || import && byte.is_ascii_graphic();
    let whole = |id: &&str| ID_LENGTHS.contains(&id.len()) && id.bytes().all(fits);
    id.as_str().filter(whole).map(str::to_owned).ok_or_else(|| Refusal::invalid("Invalid resource id value."))
}

/// 26 characters of the alphabet that ids are made of.
pub(super) fn random_id() -> String {
    BASE32HEX_NOPAD.encode(&rand::random::<[u8; 16]>()).to_ascii_lowercase()
}
