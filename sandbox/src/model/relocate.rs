//! Events that move from one calendar to another.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Calendar;
use super::record::Record;
use super::series::Series;
use super::write::Write;
use crate::refusal::Refusal;

/// An event with its exceptions, on its way to another calendar.
#[derive(Debug)]
pub(crate) struct Parcel {
    event: Arc<Record>,
    exceptions: Vec<Arc<Record>>,
}

impl Calendar {
    /// What is to leave for another calendar. Nothing is changed yet.
    pub(crate) fn pack(&self, id: &str, write: Write) -> Result<Parcel, Refusal> {
        let event = self.find(id).filter(|event| !event.cancelled).ok_or_else(Refusal::not_found)?;
        super::write::check(&event, write)?;
        if event.exception.is_some() {
            return Err(Refusal::invalid("An instance cannot be moved without its series."));
        }
        if event.body().get("eventType").is_some_and(|kind| kind != "default") {
            return Err(Refusal::invalid("Only default events can be moved."));
        }
        let exceptions = self.exceptions_of(id);
        Ok(Parcel { event, exceptions })
    }

    /// Takes in what another calendar has packed. It keeps its id, and this calendar becomes its organizer.
    pub(crate) fn adopt(&mut self, parcel: &Parcel) -> Result<Arc<Record>, Refusal> {
        if self.stored(&parcel.event.id).is_some() {
            return Err(Refusal::duplicate());
        }
        let adopted = self.take(&parcel.event);
        for exception in &parcel.exceptions {
            self.take(exception);
        }
        Ok(adopted)
    }

    fn take(&mut self, record: &Record) -> Arc<Record> {
        let mut body = record.body();
        if !record.cancelled {
            body.insert("organizer".to_owned(), self.organizer());
        }
        if let Some(times) = record.times {
            body.insert("start".to_owned(), times.start.render(self.zone));
            body.insert("end".to_owned(), times.end.render(self.zone));
        }
        if let Some(exception) = &record.exception {
            body.insert("originalStartTime".to_owned(), exception.original.render(self.zone));
        }
        let lines = body.get("recurrence").and_then(Value::as_array).cloned().unwrap_or_default();
        let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
        // What was read once can be read again.
        let start = record.times.map(|times| times.start).filter(|_| record.series.is_some());
        let series = start.and_then(|start| Series::parse(&lines, start).ok());
        let taken = Record::new(self.advance(), body, record.times, series, record.exception.clone());
        let taken = Arc::new(taken);
        self.put(Arc::clone(&taken));
        taken
    }

    /// Leaves a stub in the place of what has gone to another calendar.
    pub(crate) fn let_go(&mut self, parcel: &Parcel) {
        let stub = json!({ "kind": "calendar#event", "id": parcel.event.id, "status": "cancelled" });
        let body = stub.as_object().cloned().unwrap_or_default();
        let stub = Record::new(self.advance(), body, parcel.event.times, None, None);
        self.drop_exceptions(&stub.id, |_| true);
        self.put(Arc::new(stub));
    }

    /// Who organizes what is written here.
    pub(super) fn organizer(&self) -> Value {
        if self.is_primary() {
            json!({ "email": self.id, "self": true })
        } else {
            json!({ "email": self.id, "displayName": self.summary, "self": true })
        }
    }
}
