//! A stand-in for Google's OAuth and Calendar v3, over real HTTP on loopback.
//!
//! It keeps calendars in memory and behaves towards a client as Google does: pages and sync tokens, tombstones, etags,
//! watch channels that push, consent and tokens. Faults can be switched on through [`Sandbox::faults`] or over HTTP
//! below `/sandbox`. It is for demos and tests; nothing in it is secret or durable.

mod api;
mod clock;
mod control;
mod faults;
pub mod ics;
mod model;
mod oauth;
mod owner;
pub mod page;
mod push;
mod quota;
mod record;
mod refusal;
mod server;
mod state;
mod tokens;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response};
use bytes::Bytes;

pub use faults::{Effect, Fault, Faults, GoogleError, Listed, Outage, RefusedFault, Shape, Weather};
pub use model::{NewCalendar, RefusedEvents, Role};
pub use oauth::{ClientCredentials, GrantEnd};
pub use push::{Forgery, NoChannel, OpenChannel, Push};
pub use quota::{Limits, Quotas, RefusedLimits, Usage, Used};
pub use state::Call;

use state::AppState;

/// How a stand-in runs.
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; a loopback address, port 0 for any free one.
    pub bind: SocketAddr,
    /// Whether consent is given without a person.
    pub auto_approve: bool,
    /// How long each push notification is held back.
    pub push_delay: Duration,
    /// Whether watch channels may point to `http://` addresses, which Google refuses.
    pub allow_http_push: bool,
    /// How long access tokens live.
    pub access_token_ttl: Duration,
    /// How long refresh tokens live, where users grant access for a time only.
    pub refresh_token_ttl: Option<Duration>,
    /// Whether parameters and fields that Google's discovery document does not know, or gives another type, are refused.
    pub strict: bool,
    /// Decides the order of lists, which means nothing and is never that of the writes.
    pub order_seed: u64,
    /// Whether incremental lists show deleted events with their details, as Google sometimes does.
    pub full_tombstones: bool,
    /// A file to which every exchange with Google's methods is added as a line of JSON, tokens masked.
    pub record: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auto_approve: false,
            push_delay: Duration::ZERO,
            allow_http_push: true,
            access_token_ttl: Duration::from_hours(1),
            refresh_token_ttl: None,
            strict: true,
            order_seed: 0,
            full_tombstones: false,
            record: None,
        }
    }
}

/// A running stand-in. It ends when it is stopped or dropped.
pub struct Sandbox {
    state: AppState,
    /// Google's methods, for who asks without a network.
    methods: OnceLock<Router>,
}

impl Sandbox {
    /// Starts a stand-in without users.
    ///
    /// # Errors
    ///
    /// When the address is not a loopback address, or cannot be listened on, or the file for records cannot be written.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = server::listen(options.bind).await?;
        let state = AppState::new(options, listener.local_addr()?)?;
        state.tasks.spawn(server::serve(state.clone(), listener));
        Ok(Self { state, methods: OnceLock::new() })
    }

    /// A stand-in without users that has no port: only [`Sandbox::answer`] speaks with it. It does not push.
    ///
    /// # Errors
    ///
    /// When the file for records cannot be written.
    pub fn without_port(options: Options) -> io::Result<Self> {
        let address = options.bind;
        Ok(Self { state: AppState::new(options, address)?, methods: OnceLock::new() })
    }

    /// Answers a request, without a network in between. `None` where a fault would have broken the connection.
    pub async fn answer(&self, request: Request<String>) -> Option<Response<Bytes>> {
        server::answer(self.methods.get_or_init(|| api::routes(&self.state)), request).await
    }

    /// Where it answers: `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn root(&self) -> String {
        self.state.root()
    }

    /// Makes a user, with a primary calendar in UTC whose id is the address.
    pub fn add_user(&self, email: &str, name: &str) {
        self.state.model().add_user(email, name);
    }

    /// An access token of this user for scripts: all scopes, no end.
    #[must_use]
    pub fn bearer_token(&self, email: &str) -> String {
        self.state.bearer_token(email)
    }

    fn state(&self) -> &AppState {
        &self.state
    }

    /// The OAuth client that is registered.
    #[must_use]
    pub fn client(&self) -> ClientCredentials {
        self.state.grants().client.clone()
    }

    /// Ends a user's grants; whoever refreshes a token is told why. The user's channels end too.
    pub fn end_grants(&self, email: &str, why: GrantEnd) {
        self.state.end_grants(email, why);
    }

    /// Allows the app again for a user whose organisation did not ([`GrantEnd::Policy`]). Returns whether it did not.
    #[must_use]
    pub fn admit(&self, email: &str) -> bool {
        self.state.grants().admit(email)
    }

    /// Switches faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Limits how much callers may use, and tells how much they did.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.state.quotas
    }

    /// The latest calls to Google's methods, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls()
    }

    /// The watch channels that are open, by id.
    #[must_use]
    pub fn channels(&self) -> Vec<OpenChannel> {
        self.state.channels.open()
    }

    /// Ends watch channels of a calendar without a word to anybody, as Google's die at times. Returns how many.
    #[must_use]
    pub fn kill_channels(&self, calendar: &str) -> usize {
        self.state.channels.end(|channel| channel.calendar == calendar)
    }

    /// Sends notifications now, true or forged ones. Returns the receiver's statuses in order, 0 for no answer.
    ///
    /// # Errors
    ///
    /// When the channel that is needed does not exist.
    pub async fn push(&self, push: Push) -> Result<Vec<u16>, NoChannel> {
        push.send(&self.state).await
    }

    /// Ends a user's grant as if the user had removed the app from the Google account. Channels end with it.
    pub fn revoke(&self, email: &str) {
        self.state.revoke_user(email);
    }

    /// Ends a user's access tokens before their time. Refresh tokens and the tokens of scripts live on.
    pub fn end_access_tokens(&self, email: &str) {
        self.state.grants().end_access(email);
    }

    /// Closes the port and all connections, and waits for them.
    pub async fn stop(self) {
        self.state.stop.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.state.stop.cancel();
    }
}
