//! The owner's side: Google Calendar as people at the salon use it, and its faults.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slotd_sandbox::{Effect, Fault, Faults, Role, Sandbox};

use super::{Client, Intervals, text};

/// The owner's address, which is also the id of the primary calendar.
pub(crate) const OWNER: &str = "aurora@example.com";
/// Who edits the calendar in these tests. Faults are for slotd's calls, which are made in the owner's name.
pub(crate) const EDITOR: &str = "mia@example.com";
const LIST: &str = "calendar.events.list";

/// The stand-in, and a person's client for it.
pub(crate) struct Owner {
    pub(crate) sandbox: Sandbox,
    api: Client,
    /// Lists that the tests asked for.
    listed: Arc<AtomicUsize>,
}

impl Owner {
    pub(super) fn new(sandbox: Sandbox) -> Self {
        sandbox.add_user(EDITOR, "Mia");
        assert!(sandbox.share(OWNER, EDITOR, Role::Owner));
        let api = Client::new(format!("{}/calendar/v3", sandbox.root()), &sandbox.bearer_token(EDITOR));
        Self { sandbox, api, listed: Arc::default() }
    }

    /// A client of the editor's, for what has no name here.
    pub(crate) const fn editor(&self) -> &Client {
        &self.api
    }

    /// Lets the editor write another calendar.
    pub(crate) fn let_edit(&self, calendar: &str) {
        assert!(self.sandbox.share(calendar, EDITOR, Role::Owner));
    }

    pub(crate) fn faults(&self) -> &Faults {
        self.sandbox.faults()
    }

    /// Strikes the next of slotd's calls to a method.
    pub(crate) fn strike(&self, method: &str, effect: Effect) -> u64 {
        self.strike_after(0, Some(1), method, effect)
    }

    /// Lets `skip` of slotd's calls to a method pass, then strikes so many, or all.
    pub(crate) fn strike_after(&self, skip: u32, times: Option<u32>, method: &str, effect: Effect) -> u64 {
        self.faults().add(Fault { skip, times, user: Some(OWNER.to_owned()), ..Fault::once(method, effect) })
    }

    /// Whether a fault has struck as often as it was to.
    pub(crate) fn has_struck(&self, fault: u64) -> bool {
        self.faults().list().iter().all(|listed| listed.id != fault)
    }

    pub(crate) async fn insert(&self, event: &Value) -> Value {
        self.api.post(&format!("/calendars/{OWNER}/events"), event).await.ok()
    }

    /// An event in any calendar that the editor may change.
    pub(crate) async fn insert_into(&self, calendar: &str, event: &Value) -> Value {
        self.api.post(&format!("/calendars/{}/events", path(calendar)), event).await.ok()
    }

    /// Deletes an event in any calendar that the editor may change.
    pub(crate) async fn delete_from(&self, calendar: &str, id: &str) {
        self.api.delete(&format!("/calendars/{}/events/{id}", path(calendar))).await.ok();
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
        self.listed.fetch_add(1, Ordering::Relaxed);
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
    pub(crate) async fn busy(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Intervals {
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

    /// How often the tests themselves listed events.
    pub(crate) fn lists_of_the_test(&self) -> usize {
        self.listed.load(Ordering::Relaxed)
    }

    /// How often slotd listed events.
    pub(crate) fn lists(&self) -> usize {
        self.calls(LIST) - self.listed.load(Ordering::Relaxed)
    }
}

/// A calendar's id as one segment of a path.
fn path(calendar: &str) -> String {
    calendar.replace('#', "%23")
}

/// Intervals of an answer, in order.
pub(super) fn intervals(list: &Value) -> Intervals {
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    list.as_array().unwrap().iter().map(|one| (time(&one["start"]), time(&one["end"]))).collect()
}
