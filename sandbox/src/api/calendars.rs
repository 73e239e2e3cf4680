//! `calendarList.list`, `calendarList.get` and `calendars.get`.

use axum::response::Response;
use serde_json::{Value, json};

use super::Call;
use crate::model::{Calendar, ListEntry, Model, Role, User, digest, resolve};
use crate::refusal::Refusal;

const RESULTS_DEFAULT: usize = 100;
const RESULTS_MAX: usize = 250;
const FREE: &[&str] =
    &["alt", "fields", "key", "maxResults", "pageToken", "prettyPrint", "quotaUser", "syncToken", "userIp"];

fn entry_body(calendar: &Calendar, role: Role, entry: ListEntry, email: &str) -> Value {
    let mut body = json!({
        "kind": "calendar#calendarListEntry",
        "etag": format!("\"{}{}\"", entry.revision, digest(&[&calendar.id, &calendar.summary])),
        "id": calendar.id,
        "summary": calendar.summary,
        "timeZone": calendar.zone.name(),
        "colorId": "14",
        "backgroundColor": "#9fe1e7",
        "foregroundColor": "#000000",
        "selected": true,
        "accessRole": role.name(),
        "dataOwner": calendar.owner,
        "defaultReminders": [],
        "conferenceProperties": { "allowedConferenceSolutionTypes": ["hangoutsMeet"] },
    });
    if calendar.id == email {
        body["primary"] = json!(true);
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
    let show_deleted = query.flag("showDeleted")?.unwrap_or(false);
    let least = match query.get("minAccessRole") {
        None | Some("freeBusyReader") => Role::FreeBusyReader,
        Some("reader") => Role::Reader,
        Some("writerWithoutPrivateAccess") => Role::WriterWithoutPrivateAccess,
        Some("writer") => Role::Writer,
        Some("owner") => Role::Owner,
        Some(_) => return Err(Refusal::parameter("minAccessRole", "Invalid value for minAccessRole.")),
    };
    let binding = digest(&["calendarList", call.user(), &query.shape(FREE)]);
    let since: Option<u64> = match query.get("syncToken") {
        Some(_) if query.has("minAccessRole") || query.flag("showDeleted")? == Some(false) => {
            return Err(Refusal::bad_request("Sync token cannot be used with other request restrictions."));
        }
        Some(token) => Some(call.state.sealer.open(&binding, token).ok_or_else(Refusal::invalid_sync_token)?),
        None => None,
    };
    // A page token holds the pass's revision and the last calendar shown.
    let page: Option<(u64, String)> = call.open_page(&binding)?;

    let model = call.state.model();
    let user = user(&model, call.user())?;
    let upto = page.as_ref().map_or(user.list_revision, |(upto, _)| *upto);
    let mut items: Vec<(&str, Value)> = Vec::new();
    for (id, entry) in &user.list {
        let after_page = page.as_ref().is_none_or(|(_, last)| id > last);
        let wanted = since.map_or(show_deleted || !entry.deleted, |since| entry.revision > since);
        let (Some(calendar), true) = (model.calendars.get(id), after_page && wanted) else { continue };
        let Some(role) = calendar.role_of(call.user()).filter(|role| *role >= least) else { continue };
        items.push((id, entry_body(calendar, role, *entry, call.user())));
    }
    let more = items.len() > most;
    items.truncate(most);
    let mut answer = json!({
        "kind": "calendar#calendarList",
        "etag": format!("\"p{}{}\"", user.list_revision, digest(&[call.user()])),
    });
    if let Some((last, _)) = items.last().filter(|_| more) {
        answer["nextPageToken"] = json!(call.seal_page(&binding, call.page + 1, &(upto, last)));
    } else {
        answer["nextSyncToken"] = json!(call.state.sealer.seal(&binding, &upto));
    }
    answer["items"] = items.into_iter().map(|(_, item)| item).collect();
    drop(model);
    call.answer(answer)
}

pub(super) fn get_entry(call: &Call) -> Result<Response, Refusal> {
    let body = {
        let model = call.state.model();
        let (calendar, role) = model.calendar(call.user(), call.calendar())?;
        let entry = user(&model, call.user())?.list.get(resolve(call.user(), call.calendar()));
        entry_body(calendar, role, *entry.ok_or_else(Refusal::not_found)?, call.user())
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
