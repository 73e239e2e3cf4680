//! What a call is about, as faults, quotas and the log see it.

use std::collections::HashMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Method, Query};
use crate::faults::{Effect, REFRESH, Shape, Target};
use crate::model::resolve;
use crate::state::AppState;
use crate::tokens::Sealer;

/// A call before anything is done.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The calendar in the path, `primary` resolved.
    pub(super) calendar: Option<String>,
    /// The caller, or whose token is refreshed.
    pub(super) user: Option<String>,
    /// The page of a list.
    pub(super) page: Option<u32>,
    /// The same, 1 for what is no list.
    pub(super) number: u32,
    pub(super) shape: Option<Shape>,
    /// The channel that is opened or stopped.
    pub(super) channel: Option<String>,
    refreshes: bool,
}

impl Seen {
    pub(super) fn of(
        state: &AppState,
        method: &Method,
        query: &Query,
        path: &HashMap<String, String>,
        user: &str,
        body: &Bytes,
    ) -> Self {
        let verb = method.id.rsplit('.').next().unwrap_or_default();
        let lists = matches!(verb, "list" | "instances");
        let number = query.get("pageToken").and_then(Sealer::peek::<(u32, IgnoredAny)>).map_or(1, |(page, _)| page);
        let shape = if query.has("syncToken") { Shape::Incremental } else { Shape::Full };
        let names_channel = verb == "watch" || method.id == "calendar.channels.stop";
        let body_id = || serde_json::from_slice::<Value>(body).ok()?.get("id")?.as_str().map(str::to_owned);
        let form = (method.id == "oauth2.token").then(|| Query::parse(body));
        let refresh_token = form.as_ref().filter(|form| form.get("grant_type") == Some("refresh_token"));
        let refreshed =
            refresh_token.and_then(|form| Some(state.grants().refresh(form.get("refresh_token")?)?.user.clone()));
        Self {
            calendar: path.get("calendar").map(|id| resolve(user, id).to_owned()),
            user: Some(user.to_owned()).filter(|user| !user.is_empty()).or(refreshed),
            page: lists.then_some(number),
            number,
            shape: lists.then_some(shape),
            channel: names_channel.then(body_id).flatten(),
            refreshes: refresh_token.is_some(),
        }
    }

    /// The fault that strikes the call.
    pub(super) fn strike(&self, state: &AppState, method: &Method) -> Option<Effect> {
        if let Some(effect) = state.faults.outage() {
            return Some(effect);
        }
        let target = Target {
            method: method.id,
            calendar: self.calendar.as_deref(),
            user: self.user.as_deref(),
            page: self.page,
            shape: self.shape,
            channel: self.channel.as_deref(),
        };
        let refresh = || state.faults.strike(Target { method: REFRESH, ..target });
        state.faults.strike(target).or_else(|| self.refreshes.then(refresh).flatten())
    }
}
