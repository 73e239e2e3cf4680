//! Calendars given as a whole: the seed of a demo or a test.

use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::record::{Exception, Record};
use super::times::{When, localize, parse_zone};
use super::write::Write;
use super::{Calendar, Model};
use crate::refusal::Refusal;
use std::sync::Arc;

/// A calendar to be made, with its events.
#[derive(Clone, Debug, Default)]
pub struct NewCalendar {
    /// Google's id for it; one is made when missing. A primary calendar always has its owner's address.
    pub id: Option<String>,
    /// Its title.
    pub summary: String,
    /// Its IANA zone.
    pub time_zone: String,
    /// Whether these are the events of the owner's primary calendar.
    pub primary: bool,
    /// Google event resources; an exception names its series by `recurringEventId` and `originalStartTime`.
    pub events: Vec<Value>,
}

/// Why a calendar was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedEvents {
    /// No user has this address.
    #[error("there is no user {0}")]
    UnknownOwner(String),
    /// The zone is not in the IANA database.
    #[error("there is no time zone {0}")]
    UnknownZone(String),
    /// Another calendar has the id.
    #[error("there is already a calendar {0}")]
    DuplicateCalendar(String),
    /// One of the events cannot be stored; nothing of the calendar was.
    #[error("event {index} cannot be stored: {why}")]
    Event {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        why: String,
    },
}

impl Model {
    /// Makes a calendar, or fills the owner's primary one. Returns its id.
    pub(crate) fn add_calendar(&mut self, owner: &str, new: NewCalendar) -> Result<String, RefusedEvents> {
        if !self.users.contains_key(owner) {
            return Err(RefusedEvents::UnknownOwner(owner.to_owned()));
        }
        let zone = parse_zone(&new.time_zone).map_err(|_| RefusedEvents::UnknownZone(new.time_zone.clone()))?;
        let id = match new.id {
            _ if new.primary => owner.to_owned(),
            Some(id) => id,
            None => random_calendar_id(),
        };
        let known = self.calendars.get(&id);
        if known.is_some_and(|known| !new.primary || known.revision > 0) {
            return Err(RefusedEvents::DuplicateCalendar(id));
        }
        let mut calendar = Calendar::new(&id, owner, &new.summary, zone);
        calendar.fill(owner, &new.events)?;
        calendar.forget_past();
        self.calendars.insert(id.clone(), calendar);
        self.list(owner, &id);
        Ok(id)
    }
}

impl Calendar {
    fn fill(&mut self, owner: &str, events: &[Value]) -> Result<(), RefusedEvents> {
        let write = Write { actor: owner, if_match: None, import: true };
        // Series first: an exception takes its id from its series.
        for exceptions in [false, true] {
            for (index, event) in events.iter().enumerate() {
                let refused = |refusal: Refusal| RefusedEvents::Event { index, why: refusal.message.to_string() };
                let body = event.as_object().ok_or_else(|| refused(Refusal::invalid("not an object")))?;
                let master = body.get("recurringEventId").and_then(Value::as_str);
                match master {
                    Some(master) if exceptions => self.add_exception(master, body, write).map_err(refused)?,
                    None if !exceptions => {
                        self.insert(body, write).map_err(refused)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn add_exception(&mut self, master: &str, body: &Map<String, Value>, write: Write) -> Result<(), Refusal> {
        let series = self.stored(master).cloned().ok_or_else(|| Refusal::invalid("its series is missing"))?;
        let times = series.times.ok_or_else(|| Refusal::invalid("its series is deleted"))?;
        let original = body.get("originalStartTime").unwrap_or(&Value::Null);
        let original = match (When::parse(original, self.zone, "original start")?, times.start) {
            // An original start of the other kind still names the instance of that day.
            (When::At { at, zone }, When::Day(_)) => When::Day(at.with_timezone(&zone).date_naive()),
            (When::Day(day), When::At { at, zone }) => {
                let at = localize(day.and_time(at.with_timezone(&zone).time()), zone);
                When::At { at, zone }
            }
            (When::At { at, .. }, When::At { zone, .. }) => When::At { at, zone },
            (day, When::Day(_)) => day,
        };
        let id = format!("{master}_{}", original.suffix());
        let exception = Exception { master: master.to_owned(), original };
        if body.get("status").is_some_and(|status| status == "cancelled") {
            let body = cancelled_instance(&id, &exception, self.zone);
            let record = Record::new(self.advance(), body, None, None, Some(exception));
            self.put(Arc::new(record));
            return Ok(());
        }
        let mut draft = Draft::read(body, self.zone, false)?;
        draft.body.insert("iCalUID".to_owned(), series.body().remove("iCalUID").unwrap_or_default());
        self.store(&id, draft, None, Some(exception), write);
        Ok(())
    }
}

fn cancelled_instance(id: &str, exception: &Exception, zone: chrono_tz::Tz) -> Map<String, Value> {
    let body = json!({
        "kind": "calendar#event",
        "id": id,
        "status": "cancelled",
        "recurringEventId": exception.master,
        "originalStartTime": exception.original.render(zone),
    });
    body.as_object().cloned().unwrap_or_default()
}

fn random_calendar_id() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("c_{}@group.calendar.google.com", data_encoding::HEXLOWER.encode(&bytes))
}
