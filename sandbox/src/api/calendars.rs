//! `calendarList.list`, `calendarList.get` and `calendars.get`.

use axum::response::Response;
use serde_json::{Value, json};

use super::Call;
use super::asked::FREE;
use crate::model::{Calendar, ListEntry, Model, Role, User, digest};
use crate::refusal::Refusal;

const RESULTS_DEFAULT: usize = 100;
const RESULTS_MAX: usize = 250;
/// Parameters that a sync token does not depend on, besides those that nothing depends on. Incremental answers hold
/// deleted and hidden entries whatever was asked for at first.
const FREE_OF_SYNC: &[&str] = &["showDeleted", "showHidden", "syncToken"];
/// The name under which the sync tokens of lists of calendars can be made to end, like those of a calendar.
const TOKENS: &str = "calendarList";

/// A page's place: the list's revision when its pass began, and the last calendar shown.
type PagePoint = (u64, String);
/// Where a sync token's pass ended: the list's revision, and the epoch of the tokens.
type SyncPoint = (u64, u64);

/// An entry as its user sees it. Of a calendar that the user has no access to any more only the id is left.
fn entry_body(id: &str, known: Option<(&Calendar, Role)>, entry: ListEntry, email: &str) -> Value {
    let Some((calendar, role)) = known else {
        return json!({
            "kind": "calendar#calendarListEntry",
            "etag": format!("\"{}{}\"", entry.revision, digest(&[id])),
            "id": id,
            "deleted": true,
        });
    };
    let mut body = json!({
        "kind": "calendar#calendarListEntry",
        "etag": format!("\"{}{}\"", entry.revision, digest(&[&calendar.id, &calendar.summary])),
        "id": calendar.id,
        "summary": calendar.summary,
        "timeZone": calendar.zone.name(),
        "colorId": "14",
        "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000",
        "selected": !entry.hidden,
        "accessRole": role.name(),
        "dataOwner": calendar.owner,
        "defaultReminders": [],
        "conferenceProperties": { "allowedConferenceSolutionTypes": ["hangoutsMeet"] },
    });
    if calendar.id == email {
        body["primary"] = json!(true);
    }
    if entry.hidden {
        body["hidden"] = json!(true);
    }
    if entry.deleted {
        body["deleted"] = json!(true);
    }
    body
}

fn user<'a>(model: &'a Model, email: &str) -> Result<&'a User, Refusal> {
    model.users.get(email).ok_or_else(Refusal::not_found)
}

pub(super) fn list(call: &Call) -> Result<Response, Refusal> {
    let query = &call.query;
    let most = query.count("maxResults", RESULTS_MAX)?.unwrap_or(RESULTS_DEFAULT);
    let show_deleted = query.flag("showDeleted")?;
    let show_hidden = query.flag("showHidden")?;
    let least = match query.get("minAccessRole") {
        None | Some("freeBusyReader") => Role::FreeBusyReader,
        Some("reader") => Role::Reader,
        Some("writerWithoutPrivateAccess") => Role::WriterWithoutPrivateAccess,
        Some("writer") => Role::Writer,
        Some("owner") => Role::Owner,
        Some(_) => return Err(Refusal::parameter("minAccessRole", "Invalid value for minAccessRole.")),
    };
    let free_of_sync: Vec<&str> = FREE.iter().chain(FREE_OF_SYNC).copied().collect();
    let sync_binding = digest(&["calendarList/sync", call.user(), &query.shape(&free_of_sync)]);
    let page_binding = digest(&["calendarList/page", call.user(), &query.shape(FREE)]);
    let epoch = call.state.faults.token_epoch(TOKENS);
    let since = match query.get("syncToken") {
        Some(token) => {
            let restricted = query.has("minAccessRole") || query.has("showOwnOrganizationOnly");
            if restricted || show_deleted == Some(false) || show_hidden == Some(false) {
                return Err(Refusal::bad_request("Sync token cannot be used with other request restrictions."));
            }
            let point: Option<SyncPoint> = call.state.sealer.open(&sync_binding, token);
            let (revision, made_in) = point.ok_or_else(Refusal::invalid_sync_token)?;
            if made_in != epoch {
                return Err(Refusal::full_sync_required());
            }
            Some(revision)
        }
        None => None,
    };
    // A page token holds the pass's revision and the last calendar shown.
    let page: Option<PagePoint> = call.open_page(&page_binding)?;

    let model = call.state.model();
    let user = user(&model, call.user())?;
    let upto = page.as_ref().map_or(user.list_revision, |(upto, _)| *upto);
    let mut items: Vec<(&str, Value)> = Vec::new();
    for (id, entry) in &user.list {
        let wanted = match since {
            Some(since) => entry.revision > since,
            None => (show_deleted == Some(true) || !entry.deleted) && (show_hidden == Some(true) || !entry.hidden),
        };
        if !wanted || page.as_ref().is_some_and(|(_, last)| id <= last) {
            continue;
        }
        let known = model.calendar(call.user(), id).ok();
        if known.map_or(entry.deleted, |(_, role)| role >= least) {
            items.push((id, entry_body(id, known, *entry, call.user())));
        }
    }
    let more = items.len() > most;
    items.truncate(most);
    let mut answer = json!({
        "kind": "calendar#calendarList",
        "etag": format!("\"p{}{}\"", user.list_revision, digest(&[call.user()])),
    });
    if let Some((last, _)) = items.last().filter(|_| more) {
        answer["nextPageToken"] = json!(call.seal_page(&page_binding, call.page + 1, &(upto, last)));
    } else {
        answer["nextSyncToken"] = json!(call.state.sealer.seal(&sync_binding, &(upto, epoch)));
    }
    answer["items"] = items.into_iter().map(|(_, item)| item).collect();
    drop(model);
    call.answer(answer)
}

pub(super) fn get_entry(call: &Call) -> Result<Response, Refusal> {
    let body = {
        let model = call.state.model();
        let (calendar, role) = model.calendar(call.user(), call.calendar())?;
        let entry = user(&model, call.user())?.list.get(&calendar.id).filter(|entry| !entry.deleted);
        let entry = *entry.ok_or_else(Refusal::not_found)?;
        entry_body(&calendar.id, Some((calendar, role)), entry, call.user())
    };
    call.answer(body)
}

pub(super) fn get(call: &Call) -> Result<Response, Refusal> {
    let body = {
        let model = call.state.model();
        let (calendar, _) = model.calendar(call.user(), call.calendar())?;
        json!({
            "kind": "calendar#calendar",
            "etag": format!("\"{}\"", digest(&[&calendar.id, &calendar.summary, calendar.zone.name()])),
            "id": calendar.id,
            "summary": calendar.summary,
            "timeZone": calendar.zone.name(),
            "dataOwner": calendar.owner,
            "conferenceProperties": { "allowedConferenceSolutionTypes": ["hangoutsMeet"] },
        })
    };
    call.answer(body)
}
