//! The typed client of Google Calendar v3 and Google's OAuth, over one hyper connection pool.
//!
//! The schema types of `google-calendar3` read what Google sends; the calls are made here, because that crate's hub
//! cannot send `If-Match` or `null`, does not encode ids, has no deadlines, and loses a whole page to one odd event.
//! Every call has a total deadline and a body cap, is tried once (twice after a 401, with a fresh token), and ends in
//! an [`Error`] whose variants are decisions. A [`Pacer`] keeps calls of the calendar API within Google's quotas. Waiting and trying again belong to the callers, who know what it is worth.

mod calendars;
mod call;
mod channels;
mod endpoints;
mod error;
mod events;
#[cfg(test)]
mod fixture;
mod grant;
mod judge;
mod oauth;
mod pace;
mod service_account;
mod tokens;
mod tolerant;
mod transport;
mod wire;

use std::{sync::Arc, time::Duration};

use url::Url;

pub use calendars::CalendarEntry;
pub use channels::{Channel, NewChannel};
pub use endpoints::Endpoints;
pub use error::{Error, KNOWN_TO_BE_GONE, OUTCOMES};
pub use events::{EVENT_FIELDS, EVENTS_FIELDS, EventPatch, EventsPage, EventsQuery, Guests, NewEvent};
pub use grant::{CALENDAR_SCOPES, Grant, SCOPES, UserInfo};
pub use oauth::{Authorization, OAuth, OAuthClient};
pub use pace::{Held, HeldObserver, Left, Pacer, Pause, Rates, Urgency};
pub use service_account::ServiceAccount;
pub use tokens::{AccessToken, AccountKey, CachedTokens, FetchToken, FetchedToken, TokenError, TokenSource};
pub use transport::{CallRecord, InProcess, Limits, METHODS, NoRootCertificates, Observer, Transport};
pub use wire::Item;

/// Calls Google Calendar on behalf of accounts. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Google {
    transport: Transport,
    base: Arc<Url>,
    tokens: Arc<dyn TokenSource>,
    pacer: Option<Pacer>,
    urgency: Urgency,
    patience: Duration,
    tells_guests: bool,
}

/// How long a call waits for room in the quotas, unless its caller is more patient.
const PATIENCE: Duration = Duration::from_secs(1);

impl Google {
    /// A client of the calendar API at `endpoints.api_base_url` that takes its access tokens from `tokens`.
    #[must_use]
    pub fn new(transport: Transport, endpoints: &Endpoints, tokens: Arc<dyn TokenSource>) -> Self {
        Self {
            transport,
            base: Arc::new(endpoints.api_base_url.clone()),
            tokens,
            pacer: None,
            urgency: Urgency::Caller,
            patience: PATIENCE,
            tells_guests: false,
        }
    }

    /// The same client, kept within quotas.
    #[must_use]
    pub fn paced(self, pacer: Pacer) -> Self {
        Self { pacer: Some(pacer), ..self }
    }

    /// The same client for calls of another urgency. Somebody waits for those of a client that was not told.
    #[must_use]
    pub fn at(&self, urgency: Urgency) -> Self {
        Self { urgency, ..self.clone() }
    }

    /// The same client for calls that wait so long for room in the quotas, and are held back only then.
    #[must_use]
    pub fn waiting(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// The same client, whose writes of events make Google tell their guests by e-mail, or not. A refusal to do so is
    /// [`Error::GuestsRefused`].
    #[must_use]
    pub fn telling_guests(&self, tells_guests: bool) -> Self {
        Self { tells_guests, ..self.clone() }
    }

    /// What keeps it within quotas.
    #[must_use]
    pub const fn pacer(&self) -> Option<&Pacer> {
        self.pacer.as_ref()
    }
}

/// Makes ring the TLS provider of the whole process. Call it first in `main`; calling it again changes nothing.
///
/// Each library that meets two compiled-in providers and no chosen one panics at its first connection.
pub fn install_tls_provider() {
    // The error says that a provider is installed already, which is what is wanted.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::{
        fixture::{ACCOUNT, google_at, oauth_at},
        *,
    };

    #[test]
    fn the_tls_provider_can_be_installed_twice() {
        install_tls_provider();
        install_tls_provider();
        let provider = rustls::crypto::CryptoProvider::get_default().unwrap();
        assert!(!provider.cipher_suites.is_empty());
    }

    /// The work of this test is done by the compiler: a future that is `Send` only for some lifetimes fails here instead
    /// of at its distant first user.
    #[test]
    fn every_call_can_be_spawned() {
        fn spawnable(_: impl Future + Send + 'static) {}
        fn delegated(account: ServiceAccount) {
            spawnable(async move { account.access_token("anna@example.com").await });
        }
        let base = "http://127.0.0.1:1/calendar/v3".parse().unwrap();
        let (google, oauth) = (google_at(&base, Limits::default()), oauth_at(&base, Limits::default()));
        spawnable(async move {
            let listed = google.list_events(ACCOUNT, "c", &EventsQuery::default()).await;
            let patched = google.patch_event(ACCOUNT, "c", "e", &EventPatch::default(), None).await;
            (google.calendar_list(ACCOUNT).await, listed, patched)
        });
        spawnable(async move {
            let exchanged = oauth.exchange_code(&"c".into(), &"v".into(), &base).await;
            let told = oauth.userinfo(&AccessToken::new("a")).await;
            (oauth.refresh(&"r".into()).await, oauth.revoke(&"r".into()).await, exchanged, told)
        });
        let _: fn(ServiceAccount) = delegated;
    }
}
