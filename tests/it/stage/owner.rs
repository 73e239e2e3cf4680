//! The owner of the business, at work in Google Calendar.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, Faults, Sandbox};

use super::{Client, text};

/// The owner's address, which is also the id of the primary calendar.
pub(crate) const OWNER: &str = "aurora@example.com";

/// The stand-in, and the owner's client for it.
pub(crate) struct Owner {
    pub(crate) sandbox: Sandbox,
    api: Client,
}

impl Owner {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        let api = Client::new(format!("{}/calendar/v3", sandbox.root()), &sandbox.bearer_token(OWNER));
        Self { sandbox, api }
    }

    pub(crate) fn faults(&self) -> &Faults {
        self.sandbox.faults()
    }

    /// Strikes so many calls of the daemon's to one method.
    pub(crate) fn strike(&self, method: &str, times: u32, effect: Effect) -> u64 {
        self.faults().add(Fault { times: Some(times), ..Fault::once(method, effect) })
    }

    pub(crate) async fn insert(&self, event: &Value) -> Value {
        self.api.post(&format!("/calendars/{OWNER}/events"), event).await.ok()
    }

    pub(crate) async fn get(&self, id: &str) -> Value {
        self.api.get(&format!("/calendars/{OWNER}/events/{id}")).await.ok()
    }

    pub(crate) async fn patch(&self, id: &str, change: &Value) -> Value {
        self.api.patch(&format!("/calendars/{OWNER}/events/{id}"), change).await.ok()
    }

    pub(crate) async fn delete(&self, id: &str) {
        self.api.delete(&format!("/calendars/{OWNER}/events/{id}")).await.ok();
    }

    /// Every live event, series as one.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let list = self.api.get(&format!("/calendars/{OWNER}/events?maxResults=2500")).await.ok();
        list["items"].as_array().unwrap().clone()
    }

    /// The instances of a series between two times.
    pub(crate) async fn instances(&self, id: &str) -> Vec<Value> {
        let list = self.api.get(&format!("/calendars/{OWNER}/events/{id}/instances")).await.ok();
        list["items"].as_array().unwrap().clone()
    }

    /// Live events that slotd wrote for a booking.
    pub(crate) async fn of_booking(&self, booking: &str) -> Vec<Value> {
        let events = self.events().await;
        let marked = |event: &Value| event["extendedProperties"]["private"]["slotd"] == booking;
        events.into_iter().filter(marked).collect()
    }

    /// The merged busy time, as Google itself tells it.
    pub(crate) async fn busy(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let question = json!({ "timeMin": text(from), "timeMax": text(to), "items": [{ "id": OWNER }] });
        let answer = self.api.post("/freeBusy", &question).await.ok();
        intervals(&answer["calendars"][OWNER]["busy"])
    }

    /// Removes slotd from the owner's Google account.
    pub(crate) async fn revoke(&self) {
        let url = format!("{}/sandbox/revoke", self.sandbox.root());
        self.api.post(&url, &json!({ "user": OWNER })).await.ok();
    }

    /// How often the stand-in was asked for a method, whatever it answered.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.sandbox.calls().iter().filter(|call| call.method == method).count()
    }
}

/// Intervals of an answer, in order.
pub(super) fn intervals(list: &Value) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    list.as_array().unwrap().iter().map(|one| (time(&one["start"]), time(&one["end"]))).collect()
}
