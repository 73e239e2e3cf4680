//! What the owner does in Google, and what of it has to be true in the end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use slotd::domain::Clock;

use crate::{
    gate::is_derived,
    template::CAPACITIES,
    world::{Verdict, World},
};

/// What the owner did.
#[derive(Default)]
pub(crate) struct Diary {
    made: usize,
    /// Events of slotd's that the owner deleted at some time.
    pub(crate) deleted: BTreeSet<String>,
    /// Of these, those that the owner restored last.
    pub(crate) restored: BTreeSet<String>,
    /// Times that the owner gave to events of slotd's.
    pub(crate) spans: BTreeMap<String, BTreeSet<(i64, i64)>>,
    /// Bookings that were moved to another chair, where the owner has not deleted them.
    pub(crate) reseated: BTreeSet<String>,
    /// Events that have an id of slotd's and are not slotd's.
    strangers: BTreeSet<String>,
    /// Places that the owner noted on events of slotd's.
    pub(crate) places: BTreeMap<String, String>,
}

fn time(at: DateTime<Utc>) -> Value {
    json!({ "dateTime": at.to_rfc3339_opts(SecondsFormat::Secs, true), "timeZone": "Europe/Berlin" })
}

fn times(start: DateTime<Utc>, minutes: i64) -> Value {
    json!({ "start": time(start), "end": time(start + TimeDelta::minutes(minutes)) })
}

/// When an event is.
pub(crate) fn span(event: &Value) -> Option<(i64, i64)> {
    let at = |field: &str| {
        let at: DateTime<Utc> = event[field]["dateTime"].as_str()?.parse().ok()?;
        Some(at.timestamp_micros())
    };
    Some((at("start")?, at("end")?))
}

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap_or_default()
}

pub(crate) fn is_live(event: &Value) -> bool {
    event["status"] != "cancelled"
}

pub(crate) fn is_series(event: &Value) -> bool {
    event["recurrence"].is_array()
}

impl World {
    pub(crate) fn some_start(&mut self) -> DateTime<Utc> {
        let quarter = 900;
        let next = self.clock.now().timestamp() / quarter * quarter + quarter;
        let start = next + self.dice.between(0, 22) * quarter;
        DateTime::from_timestamp(start, 0).unwrap()
    }

    /// One edit.
    pub(crate) async fn owner_edits(&mut self) -> Verdict {
        let chair = self.dice.below(CAPACITIES.len());
        let events = self.google.events(chair).await;
        let known = events.into_iter().filter(|event| !self.owner.strangers.contains(id(event)));
        let (ours, theirs): (Vec<Value>, Vec<Value>) = known.partition(|event| is_derived(id(event)));
        let kind = self.dice.weighted(&[(14, 0), (5, 1), (75, 2), (3, 3), (2, 4), (3, 5)]);
        match kind {
            0 => self.owner_adds(chair).await,
            1 if !theirs.is_empty() => {
                let event = self.dice.pick(&theirs).clone();
                if self.dice.percent(50) {
                    let start = self.some_start();
                    self.change(chair, &event, "moves an event of theirs", &times(start, 30)).await;
                } else if is_live(&event) {
                    self.remove(chair, &event, "deletes an event of theirs").await;
                }
                Ok(())
            }
            2 if !ours.is_empty() => {
                let event = self.dice.pick(&ours).clone();
                self.owner_edits_ours(chair, &event).await;
                Ok(())
            }
            3 => {
                self.tell("the token of a list ends");
                self.seen.note("the token of a list ends");
                self.google.sandbox().faults().expire_sync_tokens(crate::gate::CALENDARS[chair]);
                Ok(())
            }
            4 => {
                self.tell("the owner empties the trash");
                self.seen.note("the owner empties the trash");
                let _ = self.google.sandbox().empty_trash(crate::gate::CALENDARS[chair]);
                Ok(())
            }
            5 => self.foreigner(chair).await,
            _ => Ok(()),
        }
    }

    async fn owner_adds(&mut self, chair: usize) -> Verdict {
        self.owner.made += 1;
        let name = format!("evnt{:05}", self.owner.made);
        let start = self.some_start();
        let mut event = times(start, self.dice.between(1, 6) * 15);
        event["id"] = json!(name);
        event["summary"] = json!("Private");
        if self.dice.percent(15) {
            event["transparency"] = json!("transparent");
        }
        self.tell(&format!("the owner adds {name} on chair {} at {start}", chair + 1));
        self.seen.note("the owner adds an event");
        let (status, body) = self.google.owner("POST", chair, "", &event).await;
        if status == 200 { Ok(()) } else { Err(format!("the stand-in refuses an event: {body}")) }
    }

    /// Somebody else's program uses an id that slotd is about to use.
    async fn foreigner(&mut self, chair: usize) -> Verdict {
        let unwritten = self.tables.bookings.values().filter(|booking| {
            booking.chair == chair && booking.stands() && booking.written.is_none() && booking.sent.is_none()
        });
        let ids: Vec<String> = unwritten.filter_map(|booking| booking.event.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let name = self.dice.pick(&ids).clone();
        let start = self.some_start();
        let mut event = times(start, 30);
        event["id"] = json!(name);
        event["summary"] = json!("Not slotd's");
        let (status, _) = self.google.owner("POST", chair, "", &event).await;
        if status == 200 {
            self.tell(&format!("a stranger takes the id {name}"));
            self.seen.note("a stranger takes an id of slotd's");
            self.owner.strangers.insert(name);
        }
        Ok(())
    }

    async fn change(&mut self, chair: usize, event: &Value, what: &'static str, change: &Value) -> bool {
        let name = id(event).to_owned();
        let (status, _) = self.google.owner("PATCH", chair, &format!("/{name}"), change).await;
        self.tell(&format!("the owner {what}: {name} on chair {}, {change}: {status}", chair + 1));
        status == 200
    }

    async fn remove(&mut self, chair: usize, event: &Value, what: &'static str) -> bool {
        let name = id(event).to_owned();
        let (status, _) = self.google.owner("DELETE", chair, &format!("/{name}"), &Value::Null).await;
        self.tell(&format!("the owner {what}: {name} on chair {}: {status}", chair + 1));
        (200..300).contains(&status)
    }

    /// The owner has given an event of slotd's another time.
    fn owner_placed(&mut self, event: &str, start: DateTime<Utc>, minutes: i64) {
        self.google.owner_moved(event);
        let start = start.timestamp_micros();
        let spans = self.owner.spans.entry(event.to_owned()).or_default();
        spans.insert((start, start + minutes * 60_000_000));
    }

    async fn owner_edits_ours(&mut self, chair: usize, event: &Value) {
        let name = id(event).to_owned();
        if !is_live(event) {
            if self.dice.percent(20)
                && self.change(chair, event, "restores a booking's event", &json!({ "status": "confirmed" })).await
            {
                self.seen.note("the owner restores a booking's event");
                self.google.owner_moved(&name);
                self.owner.restored.insert(name);
            }
            return;
        }
        let Some((start, end)) = span(event) else { return };
        let start = DateTime::from_timestamp_micros(start).unwrap();
        let minutes = (end - start.timestamp_micros()) / 60_000_000;
        match self.dice.below(16) {
            0..6 => {
                let to = start + TimeDelta::minutes(15 * self.dice.between(1, 8)) - TimeDelta::minutes(45);
                if to != start && self.change(chair, event, "moves a booking's event", &times(to, minutes)).await {
                    self.seen.note("the owner moves a booking's event");
                    self.owner_placed(&name, to, minutes);
                }
            }
            6 | 7 => {
                let longer = minutes + 15;
                if self.change(chair, event, "lengthens a booking's event", &times(start, longer)).await {
                    self.seen.note("the owner resizes a booking's event");
                    self.owner_placed(&name, start, longer);
                }
            }
            8..12 => {
                if self.remove(chair, event, "deletes a booking's event").await {
                    self.seen.note("the owner deletes a booking's event");
                    self.google.owner_moved(&name);
                    self.owner.restored.remove(&name);
                    self.owner.deleted.insert(name);
                }
            }
            12 => {
                let transparent = json!({ "transparency": "transparent" });
                if self.change(chair, event, "makes a booking's event transparent", &transparent).await {
                    self.seen.note("the owner makes a booking's event transparent");
                }
            }
            13 if self.dice.percent(30) => {
                let series = json!({ "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"] });
                if self.change(chair, event, "makes a series of a booking's event", &series).await {
                    self.seen.note("the owner makes a series of a booking's event");
                    self.google.owner_moved(&name);
                }
            }
            _ => {
                let place = format!("Room {}", self.dice.below(100));
                let change = json!({ "location": place });
                if self.change(chair, event, "notes a place on a booking's event", &change).await {
                    self.seen.note("the owner edits the texts of a booking's event");
                    self.owner.places.insert(name, place);
                }
            }
        }
    }
}
