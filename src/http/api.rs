//! What handlers share, and who may call them.

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use url::Url;

use super::{Problem, Streams};
use crate::{
    auth::{Caller, Connect, Keys},
    booking::Desk,
    domain::{BusinessId, SharedChance, SharedClock},
    google::Google,
    lifecycle::Readiness,
    store::{Store, api_keys::Scope},
    sync::Mirrors,
    telemetry::Metrics,
};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The database.
    pub store: Store,
    /// API keys.
    pub keys: Keys,
    /// Availability and bookings.
    pub desk: Desk,
    /// The streams of events that are open.
    pub streams: Streams,
    /// Mirrors, for pushes and "sync now".
    pub mirrors: Mirrors,
    /// The calendar client, for the list of calendars.
    pub google: Google,
    /// Connecting Google accounts; absent without an OAuth client.
    pub connect: Option<Connect>,
    /// The time.
    pub clock: SharedClock,
    /// Mints ids.
    pub chance: SharedChance,
    /// Where to count.
    pub metrics: Metrics,
    /// Whether webhooks may stay inside the network, by the operator's word.
    pub local_webhooks: bool,
    /// Whether requests are welcome.
    pub readiness: Readiness,
    /// Under which address browsers and Google see this server.
    pub public_url: Url,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = value.and_then(|value| value.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let caller = match token {
            Some(token) => api.keys.caller(token).await?,
            None => None,
        };
        caller.ok_or_else(Problem::unauthorized)
    }
}

impl Caller {
    /// Lets pass who may act for `business` with at least `scope`. A business that is not the caller's is answered like
    /// one that does not exist.
    ///
    /// # Errors
    ///
    /// 404 or 403.
    pub fn at(self, business: BusinessId, scope: Scope) -> Result<(), Problem> {
        if self.business.is_some_and(|own| own != business) {
            return Err(Problem::not_found("business"));
        }
        self.with(scope)
    }

    /// Lets pass who may act for every business with at least `scope`.
    ///
    /// # Errors
    ///
    /// 403.
    pub fn everywhere(self, scope: Scope) -> Result<(), Problem> {
        if self.business.is_some() {
            return Err(Problem::forbidden("this key is good for one business only; a platform key is needed"));
        }
        self.with(scope)
    }

    fn with(self, scope: Scope) -> Result<(), Problem> {
        if self.scope < scope {
            return Err(Problem::forbidden(format!("this needs a key with the scope `{}`", scope.as_str())));
        }
        Ok(())
    }
}
