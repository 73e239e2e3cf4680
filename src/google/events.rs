//! Events: list, get, insert, patch, delete.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    AccountKey, Error, Google, Item,
    call::{Call, json},
    wire::{BOOKING_PROPERTY, EventsBody, read_item},
};
use crate::domain::sabotage::{Bug, sabotaged};

/// What [`EventsQuery::fields`] should be for a mirror: all that [`EventsPage`] holds. Without `nextPageToken` and
/// `nextSyncToken` in it, Google would answer one page and no token.
pub const EVENTS_FIELDS: &str = "items(id,status,etag,updated,summary,start,end,recurrence,recurringEventId,\
    originalStartTime,transparency,attendees(self,responseStatus),extendedProperties/private),\
    nextPageToken,nextSyncToken,timeZone,accessRole";

/// The same for a single event.
pub const EVENT_FIELDS: &str = "id,status,etag,updated,summary,start,end,recurrence,recurringEventId,\
    originalStartTime,transparency,attendees(self,responseStatus),extendedProperties/private";

/// For the list of an event's guests: all of each guest, since a list is written as a whole.
const GUEST_FIELDS: &str = "etag,attendees,attendeesOmitted";

/// The guests of an event. Personal: not kept, not logged.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Guests {
    /// The event's etag.
    pub etag: Option<String>,
    /// In Google's JSON.
    #[serde(rename = "attendees")]
    pub list: Vec<Value>,
    /// Not all of them are listed, so the list must not be written back.
    #[serde(rename = "attendeesOmitted")]
    pub omitted: bool,
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { etag, list, omitted } = self;
        write!(f, "Guests {{ etag: {etag:?}, list: {} of them, omitted: {omitted} }}", list.len())
    }
}

/// Which page of which changes. The default asks for the first page of everything.
///
/// Masters and exceptions are listed, not instances (`singleEvents=false`). Only `page_token` and `max_results` may
/// differ between the calls of a sync and of those that follow with its token.
#[derive(Debug, Clone, Copy)]
pub struct EventsQuery<'a> {
    /// `nextSyncToken` of an earlier pass: only what changed since, including deletions.
    pub sync_token: Option<&'a str>,
    /// `nextPageToken` of the page before.
    pub page_token: Option<&'a str>,
    /// Most items on the page, 1 to 2,500.
    pub max_results: u16,
    /// Partial response.
    pub fields: &'a str,
}

impl Default for EventsQuery<'_> {
    fn default() -> Self {
        Self { sync_token: None, page_token: None, max_results: 2_500, fields: EVENTS_FIELDS }
    }
}

/// One page of a calendar. It may hold no items although more pages follow: only `next_page_token` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsPage {
    /// In Google's order: an exception may come before its master, or on another page.
    pub items: Vec<Item>,
    /// How many items had no id and could not be kept.
    pub without_id: usize,
    /// Asks for the page after this one.
    pub next_page_token: Option<String>,
    /// On the last page only: asks for what changes from now on.
    pub next_sync_token: Option<String>,
    /// The calendar's zone, IANA name.
    pub time_zone: Option<String>,
    /// What the account may do: `freeBusyReader`, `reader`, `writer`, `owner`, and whatever Google adds.
    pub access_role: Option<String>,
}

/// An event that slotd makes for a booking.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Chosen by slotd: 5 to 1,024 of the characters `a`–`v` and `0`–`9`.
    pub id: String,
    /// `summary`. Personal.
    pub title: String,
    /// Personal.
    pub description: Option<String>,
    /// First instant, UTC.
    pub start: DateTime<Utc>,
    /// First instant after it, UTC.
    pub end: DateTime<Utc>,
    /// The zone in which the calendar shows it.
    pub zone: Tz,
    /// The booking's id, kept in a private extended property.
    pub booking: String,
    /// Who is invited. Personal.
    pub guest: Option<String>,
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, start, end, zone, booking, .. } = self;
        write!(f, "NewEvent {{ id: {id:?}, start: {start}, end: {end}, zone: {zone}, booking: {booking:?}, .. }}")
    }
}

impl NewEvent {
    fn body(&self) -> Value {
        let mut body = json!({
            "id": self.id,
            "status": "confirmed",
            "transparency": "opaque",
            "summary": self.title,
            "start": time(self.start, self.zone),
            "end": time(self.end, self.zone),
            "extendedProperties": { "private": { BOOKING_PROPERTY: self.booking } },
        });
        if let Some(description) = &self.description {
            body["description"] = json!(description);
        }
        if let Some(guest) = &self.guest {
            body["attendees"] = json!([{ "email": guest }]);
        }
        body
    }
}

/// A partial event in Google's JSON: objects are merged, arrays replaced, `null` removes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EventPatch(pub Value);

impl fmt::Debug for EventPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.0.as_object().into_iter().flat_map(Map::keys).collect();
        f.debug_tuple("EventPatch").field(&fields).finish()
    }
}

impl EventPatch {
    /// Moves the event. An all-day event becomes a timed one.
    #[must_use]
    pub fn times(self, start: DateTime<Utc>, end: DateTime<Utc>, zone: Tz) -> Self {
        let timed = |at| {
            let mut time = time(at, zone);
            // The two forms exclude each other, and a merge would leave both.
            time["date"] = Value::Null;
            time
        };
        self.with("start", timed(start)).with("end", timed(end))
    }

    /// Changes the title.
    #[must_use]
    pub fn title(self, title: &str) -> Self {
        self.with("summary", json!(title))
    }

    /// Changes or, with `None`, removes the description.
    #[must_use]
    pub fn description(self, description: Option<&str>) -> Self {
        self.with("description", json!(description))
    }

    /// Replaces the list of guests.
    #[must_use]
    pub fn attendees(self, list: Vec<Value>) -> Self {
        self.with("attendees", Value::Array(list))
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }
}

fn time(at: DateTime<Utc>, zone: Tz) -> Value {
    let local = at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true);
    json!({ "dateTime": local, "timeZone": zone.name() })
}

fn item(body: &[u8]) -> Result<Item, Error> {
    read_item(&json(body)?, None).ok_or(Error::Malformed("event"))
}

fn page(body: &[u8]) -> Result<EventsPage, Error> {
    let body: EventsBody = serde_json::from_slice(body).map_err(|_| Error::Malformed("list of events"))?;
    let zone = body.time_zone.as_deref().and_then(|name| name.parse().ok());
    let items: Vec<Item> = body.items.iter().filter_map(|value| read_item(value, zone)).collect();
    Ok(EventsPage {
        without_id: body.items.len() - items.len(),
        items,
        next_page_token: body.next_page_token,
        next_sync_token: body.next_sync_token,
        time_zone: body.time_zone,
        access_role: body.access_role,
    })
}

impl Google {
    /// One page of a calendar's events, or of their changes.
    pub async fn list_events(
        &self,
        account: AccountKey,
        calendar: &str,
        query: &EventsQuery<'_>,
    ) -> Result<EventsPage, Error> {
        let max_results = query.max_results.to_string();
        let mut pairs = vec![("singleEvents", "false"), ("maxResults", &max_results), ("fields", query.fields)];
        pairs.extend(query.sync_token.map(|token| ("syncToken", token)));
        pairs.extend(query.page_token.map(|token| ("pageToken", token)));
        let path = ["calendars", calendar, "events"];
        let call = Call { query: &pairs, ..Call::new("events.list", Method::GET, &path) };
        self.call(account, call, page).await
    }

    /// One event. A deleted one is found as cancelled for a while.
    pub async fn get_event(&self, account: AccountKey, calendar: &str, id: &str) -> Result<Item, Error> {
        let path = ["calendars", calendar, "events", id];
        let call = Call { query: &[("fields", EVENT_FIELDS)], ..Call::new("events.get", Method::GET, &path) };
        self.call(account, call, item).await
    }

    /// The guests of an event.
    pub async fn guests(&self, account: AccountKey, calendar: &str, id: &str) -> Result<Guests, Error> {
        let path = ["calendars", calendar, "events", id];
        let call = Call { query: &[("fields", GUEST_FIELDS)], ..Call::new("events.get", Method::GET, &path) };
        let read = |body: &[u8]| serde_json::from_slice(body).map_err(|_| Error::Malformed("list of guests"));
        self.call(account, call, read).await
    }

    /// The parameters of a write that answers with `fields`.
    fn writing(&self, fields: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
        let fields = fields.map(|fields| ("fields", fields));
        fields.into_iter().chain(self.tells_guests.then_some(("sendUpdates", "all"))).collect()
    }

    /// Makes an event. Trying again with the same id is safe: the second one is an [`Error::Duplicate`].
    pub async fn insert_event(&self, account: AccountKey, calendar: &str, event: &NewEvent) -> Result<Item, Error> {
        let path = ["calendars", calendar, "events"];
        let (query, body) = (self.writing(Some(EVENT_FIELDS)), event.body());
        let call = Call { query: &query, body: Some(&body), ..Call::new("events.insert", Method::POST, &path) };
        self.call(account, call, item).await
    }

    /// Changes the given fields of an event; with `if_match`, only while it still has that etag.
    pub async fn patch_event(
        &self,
        account: AccountKey,
        calendar: &str,
        id: &str,
        patch: &EventPatch,
        if_match: Option<&str>,
    ) -> Result<Item, Error> {
        let target = ["calendars", calendar, "events", id];
        let query = self.writing(Some(EVENT_FIELDS));
        let verb = if sabotaged(Bug::PutForPatch) { Method::PUT } else { Method::PATCH };
        let if_match = if_match.filter(|_| !sabotaged(Bug::IfMatchLeftOut));
        let call = Call::new("events.patch", verb, &target);
        self.call(account, Call { query: &query, if_match, body: Some(&patch.0), ..call }, item).await
    }

    /// Deletes an event; with `if_match`, only while it still has that etag. [`Error::AlreadyDeleted`] and
    /// [`Error::NotFound`] also mean that it is gone.
    pub async fn delete_event(
        &self,
        account: AccountKey,
        calendar: &str,
        id: &str,
        if_match: Option<&str>,
    ) -> Result<(), Error> {
        let path = ["calendars", calendar, "events", id];
        let if_match = if_match.filter(|_| !sabotaged(Bug::IfMatchLeftOut));
        let query = self.writing(None);
        let call = Call { query: &query, if_match, ..Call::new("events.delete", Method::DELETE, &path) };
        self.call(account, call, |_| Ok(())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::EventStatus,
        google::{
            Limits,
            fixture::{ACCOUNT, Canned, Stand, google_at},
        },
    };

    fn haircut() -> NewEvent {
        NewEvent {
            id: "abc123".to_owned(),
            title: "Haircut - Anna".to_owned(),
            description: None,
            start: "2026-11-24T09:00:00Z".parse().unwrap(),
            end: "2026-11-24T09:30:00Z".parse().unwrap(),
            zone: chrono_tz::Europe::Berlin,
            booking: "b1".to_owned(),
            guest: None,
        }
    }

    #[tokio::test]
    async fn a_page_keeps_what_it_can_read_and_counts_the_rest() {
        let stand = Stand::answering([Canned::json(
            200,
            json!({
                "items": [
                    { "id": "a", "start": { "date": "2026-11-24" }, "end": { "date": "2026-11-25" } },
                    { "id": "b", "start": { "dateTime": "2026-11-24T10:00:00" }, "end": { "dateTime": "2026-11-24T11:00:00" } },
                    { "id": "c", "start": { "dateTime": "noon" }, "end": {} },
                    { "id": "d", "status": "cancelled" },
                    { "status": "confirmed" },
                ],
                "nextSyncToken": "s2", "timeZone": "Europe/Berlin", "accessRole": "owner",
            }),
        )])
        .await;
        let google = google_at(stand.url(), Limits::default());
        let query = EventsQuery { sync_token: Some("s=1&"), max_results: 10, ..EventsQuery::default() };
        let page = google.list_events(ACCOUNT, "primary", &query).await.unwrap();

        let odd: Vec<_> = page.items.iter().map(|item| (item.event.id.as_str(), item.odd.is_some())).collect();
        assert_eq!(odd, [("a", false), ("b", true), ("c", true), ("d", false)]);
        assert!(page.items[1].event.times.is_some(), "the calendar's zone tells when b is");
        assert_eq!(page.items[2].event.times, None);
        assert_eq!(page.items[3].event.status, EventStatus::Cancelled);
        assert_eq!((page.without_id, page.next_sync_token.as_deref()), (1, Some("s2")));
        let target = &stand.seen()[0].target;
        assert!(
            target.contains("singleEvents=false&maxResults=10&") && target.contains("syncToken=s%3D1%26"),
            "{target}"
        );
    }

    #[tokio::test]
    async fn a_new_event_carries_its_id_zone_and_booking() {
        let stand = Stand::answering([Canned::json(200, json!({ "id": "abc123", "etag": "\"7\"" }))]).await;
        let google = google_at(stand.url(), Limits::default());
        let item = google.insert_event(ACCOUNT, "primary", &haircut()).await.unwrap();
        assert_eq!(item.etag.as_deref(), Some("\"7\""));
        let sent: Value = serde_json::from_str(&stand.seen()[0].body).unwrap();
        let expected = json!({
            "id": "abc123", "status": "confirmed", "transparency": "opaque", "summary": "Haircut - Anna",
            "start": { "dateTime": "2026-11-24T10:00:00+01:00", "timeZone": "Europe/Berlin" },
            "end": { "dateTime": "2026-11-24T10:30:00+01:00", "timeZone": "Europe/Berlin" },
            "extendedProperties": { "private": { "slotd": "b1" } },
        });
        assert_eq!(sent, expected);
    }

    #[tokio::test]
    async fn deleting_needs_no_body_in_the_answer() {
        let gone = json!({ "error": { "code": 410, "errors": [{ "reason": "deleted" }] } });
        let stand = Stand::answering([Canned::new(204, bytes::Bytes::new()), Canned::json(410, gone)]).await;
        let google = google_at(stand.url(), Limits::default());
        assert_eq!(google.delete_event(ACCOUNT, "c", "e", Some("\"7\"")).await, Ok(()));
        assert_eq!(stand.seen()[0].headers["if-match"], "\"7\"");
        assert_eq!(google.delete_event(ACCOUNT, "c", "e", None).await, Err(Error::AlreadyDeleted));
    }

    #[tokio::test]
    async fn every_answer_is_asked_for_the_fields_that_are_read_and_no_others() {
        let whole = json!({ "id": "e", "timeZone": "UTC", "accessRole": "owner", "items": [], "nextSyncToken": "s" });
        let stand = Stand::answering([Canned::json(200, whole)]).await;
        let google = google_at(stand.url(), Limits::default());
        google.list_events(ACCOUNT, "c", &EventsQuery::default()).await.unwrap();
        google.get_event(ACCOUNT, "c", "e").await.unwrap();
        google.insert_event(ACCOUNT, "c", &haircut()).await.unwrap();
        google.patch_event(ACCOUNT, "c", "e", &EventPatch::default().title("T"), None).await.unwrap();
        google.calendar_list(ACCOUNT).await.unwrap();
        google.calendar(ACCOUNT, "c").await.unwrap();
        let seen = stand.seen();
        let asked: Vec<String> = seen
            .iter()
            .map(|seen| {
                let url = url::Url::parse(&format!("http://google{}", seen.target)).unwrap();
                let masks: Vec<String> =
                    url.query_pairs().filter(|(name, _)| name == "fields").map(|(_, mask)| mask.into_owned()).collect();
                assert_eq!(masks.len(), 1, "{}", seen.target);
                masks[0].clone()
            })
            .collect();
        assert_eq!(asked[..4], [EVENTS_FIELDS, EVENT_FIELDS, EVENT_FIELDS, EVENT_FIELDS]);
        assert_eq!(asked.len(), 6);
        // What people write to each other, and who they are, is not fetched at all.
        for mask in &asked {
            for field in
                ["description", "location", "hangoutLink", "conferenceData", "email", "creator", "organizer", "*"]
            {
                assert!(!mask.contains(field), "{mask}");
            }
        }
    }

    #[test]
    fn a_patch_of_times_removes_the_all_day_form() {
        let event = haircut();
        let patch = EventPatch::default().times(event.start, event.end, event.zone).description(None);
        assert_eq!(
            patch.0,
            json!({
                "start": { "dateTime": "2026-11-24T10:00:00+01:00", "timeZone": "Europe/Berlin", "date": null },
                "end": { "dateTime": "2026-11-24T10:30:00+01:00", "timeZone": "Europe/Berlin", "date": null },
                "description": null,
            })
        );
    }

    #[test]
    fn debug_output_names_no_customer() {
        let shown = format!("{:?} {:?}", haircut(), EventPatch::default().title("Haircut - Anna"));
        assert!(!shown.contains("Anna") && shown.contains("summary"), "{shown}");
    }

    #[test]
    fn the_field_masks_hold_the_tokens_and_the_same_event_fields() {
        let fields = EVENTS_FIELDS.strip_prefix("items(").unwrap();
        assert_eq!(fields.strip_prefix(EVENT_FIELDS), Some("),nextPageToken,nextSyncToken,timeZone,accessRole"));
    }
}
