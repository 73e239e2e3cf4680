//! The calendars of an account.

use std::{collections::HashSet, fmt};

use google_calendar3::api;
use hyper::Method;
use serde_json::Value;

use super::{
    AccountKey, Error, Google,
    call::{Call, json},
};

/// Most pages of a calendar list, of 250 calendars each. Google lets nobody have nearly as many.
const PAGES_MAX: usize = 40;
const LIST_FIELDS: &str =
    "items(id,summary,summaryOverride,timeZone,accessRole,primary,selected,hidden,deleted),nextPageToken,nextSyncToken";
const ENTRY_FIELDS: &str = "id,summary,summaryOverride,timeZone,accessRole,primary,selected,hidden,deleted";

/// A calendar in the list of an account.
#[derive(Clone, PartialEq, Eq)]
pub struct CalendarEntry {
    /// Google's id. A primary calendar's is the account's e-mail address, so it is personal.
    pub id: String,
    /// As the account's owner sees it. Personal.
    pub title: Option<String>,
    /// IANA name.
    pub time_zone: Option<String>,
    /// What the account may do: `freeBusyReader`, `reader`, `writer`, `owner`, and whatever Google adds.
    pub access_role: Option<String>,
    /// The account's own calendar.
    pub primary: bool,
    /// Shown in the owner's calendar at present.
    pub selected: bool,
    /// Hidden from the owner's list.
    pub hidden: bool,
}

impl fmt::Debug for CalendarEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CalendarEntry");
        shown.field("primary", &self.primary).field("access_role", &self.access_role).finish_non_exhaustive()
    }
}

fn entry(value: Value) -> Option<CalendarEntry> {
    let entry: api::CalendarListEntry = serde_json::from_value(value).ok()?;
    if entry.deleted == Some(true) {
        return None;
    }
    Some(CalendarEntry {
        id: entry.id?,
        title: entry.summary_override.or(entry.summary),
        time_zone: entry.time_zone,
        access_role: entry.access_role,
        primary: entry.primary.unwrap_or_default(),
        selected: entry.selected.unwrap_or_default(),
        hidden: entry.hidden.unwrap_or_default(),
    })
}

fn page(body: &[u8]) -> Result<(Vec<CalendarEntry>, Option<String>), Error> {
    let mut body = json(body)?;
    let entries = match body.get_mut("items").map(Value::take) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.into_iter().filter_map(entry).collect(),
        Some(_) => return Err(Error::Malformed("list of calendars")),
    };
    let next = body.get("nextPageToken").and_then(Value::as_str).map(str::to_owned);
    Ok((entries, next))
}

impl Google {
    /// Every calendar in the account's list, hidden ones too, from all pages.
    pub async fn calendar_list(&self, account: AccountKey) -> Result<Vec<CalendarEntry>, Error> {
        let mut calendars = Vec::new();
        let mut page_token: Option<String> = None;
        let mut seen = HashSet::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![("maxResults", "250"), ("showHidden", "true"), ("fields", LIST_FIELDS)];
            query.extend(page_token.as_deref().map(|token| ("pageToken", token)));
            let path = ["users", "me", "calendarList"];
            let call = Call { query: &query, ..Call::new("calendarList.list", Method::GET, &path) };
            let (entries, next) = self.call(account, call, page).await?;
            calendars.extend(entries);
            match next {
                None => return Ok(calendars),
                Some(next) if !seen.insert(next.clone()) => return Err(Error::Malformed("repeated page token")),
                Some(next) => page_token = Some(next),
            }
        }
        Err(Error::Malformed("endless list of calendars"))
    }

    /// One calendar of the account's list. `primary` finds the account's own, whose real id the entry tells.
    pub async fn calendar(&self, account: AccountKey, id: &str) -> Result<CalendarEntry, Error> {
        let path = ["users", "me", "calendarList", id];
        let call = Call { query: &[("fields", ENTRY_FIELDS)], ..Call::new("calendarList.get", Method::GET, &path) };
        self.call(account, call, |body| entry(json(body)?).ok_or(Error::Malformed("calendar"))).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::google::{
        Limits,
        fixture::{ACCOUNT, Canned, Stand, google_at},
    };

    #[tokio::test]
    async fn all_pages_are_read_also_after_an_empty_one() {
        let stand = Stand::answering([
            Canned::json(
                200,
                json!({ "items": [{ "id": "a", "summary": "A", "summaryOverride": "Mine" }], "nextPageToken": "p2" }),
            ),
            Canned::json(200, json!({ "nextPageToken": "p3" })),
            Canned::json(
                200,
                json!({ "items": [{ "id": "b", "primary": true }, { "id": "c", "deleted": true }, { "x": 1 }] }),
            ),
        ])
        .await;
        let list = google_at(stand.url(), Limits::default()).calendar_list(ACCOUNT).await.unwrap();
        let ids: Vec<_> = list.iter().map(|entry| (entry.id.as_str(), entry.primary)).collect();
        assert_eq!(ids, [("a", false), ("b", true)]);
        assert_eq!(list[0].title.as_deref(), Some("Mine"));
        assert!(stand.seen()[2].target.ends_with("&pageToken=p3"));
        assert!(!format!("{list:?}").contains("Mine"));
    }

    #[tokio::test]
    async fn a_page_token_that_repeats_ends_the_listing() {
        let stand = Stand::answering([Canned::json(200, json!({ "nextPageToken": "again" }))]).await;
        let outcome = google_at(stand.url(), Limits::default()).calendar_list(ACCOUNT).await;
        assert_eq!(outcome, Err(Error::Malformed("repeated page token")));
    }

    #[tokio::test]
    async fn the_primary_calendar_tells_its_real_id() {
        let answer = json!({ "id": "anna@example.com", "primary": true, "timeZone": "Europe/Berlin" });
        let stand = Stand::answering([Canned::json(200, answer)]).await;
        let entry = google_at(stand.url(), Limits::default()).calendar(ACCOUNT, "primary").await.unwrap();
        assert_eq!((entry.id.as_str(), entry.time_zone.as_deref()), ("anna@example.com", Some("Europe/Berlin")));
        assert!(stand.seen()[0].target.starts_with("/calendar/v3/users/me/calendarList/primary?"));
    }
}
