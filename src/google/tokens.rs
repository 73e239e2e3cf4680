//! Access tokens: where they come from, and a cache that fetches each only once.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{AccountId, BusinessId, SharedClock};

/// Names a connected account together with the business that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The tenant.
    pub business: BusinessId,
    /// The account of that tenant.
    pub account: AccountId,
}

/// A bearer token. It never shows in `Debug`.
#[derive(Clone)]
pub struct AccessToken(Arc<SecretString>);

impl AccessToken {
    /// Takes the text that Google gave.
    #[must_use]
    pub fn new(text: impl Into<SecretString>) -> Self {
        Self(Arc::new(text.into()))
    }

    /// The text itself, for the `Authorization` header and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
impl Eq for AccessToken {}
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// Why there is no access token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The grant is gone. Only the owner can give a new one.
    #[error("the account has to be connected again ({reason})")]
    NeedsReconnect {
        /// Google's error code, such as `invalid_grant`.
        reason: String,
    },
    /// Nobody answered, or not usefully. The grant may be fine: try again later and disconnect nothing.
    #[error("tokens cannot be had at present ({reason})")]
    Unavailable {
        /// What happened, without secrets.
        reason: String,
        /// How long Google asks to wait, when it says so.
        retry_after: Option<Duration>,
    },
    /// The operator's OAuth client, service account or delegation is wrong.
    #[error("the OAuth settings are wrong ({0})")]
    Misconfigured(String),
}

impl TokenError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: None }
    }

    /// A word for metrics, one of [`OUTCOMES`](super::OUTCOMES).
    #[must_use]
    pub const fn outcome_label(&self) -> &'static str {
        match self {
            Self::NeedsReconnect { .. } => "needs_reconnect",
            Self::Unavailable { .. } => "unavailable",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// Gives access tokens of connected accounts.
pub trait TokenSource: Send + Sync + 'static {
    /// A token that should be good. `rejected` is one that Google has just answered 401 to: it is not given again.
    fn access_token<'a>(
        &'a self,
        account: AccountKey,
        rejected: Option<&'a AccessToken>,
    ) -> BoxFuture<'a, Result<AccessToken, TokenError>>;
}

/// A token as Google issues it.
#[derive(Debug, Clone)]
pub struct FetchedToken {
    /// The token.
    pub token: AccessToken,
    /// How long it is good from now on; Google says 3599 s.
    pub expires_in: Duration,
}

/// Asks Google for a new token of an account, each time it is called.
pub type FetchToken = Arc<dyn Fn(AccountKey) -> BoxFuture<'static, Result<FetchedToken, TokenError>> + Send + Sync>;

/// Tokens are renewed this long before they end, so that none ends on its way to Google.
const REFRESH_EARLY: TimeDelta = TimeDelta::seconds(90);
/// From so many accounts on, ended tokens are dropped whenever one more account comes.
const ACCOUNTS_BEFORE_SWEEP: usize = 1_024;

type Flight = Shared<BoxFuture<'static, Result<AccessToken, TokenError>>>;

/// Keeps each account's access token until shortly before it ends. However many callers want a new one at once, one
/// fetch runs and all of them get its outcome, also when it fails.
#[derive(Clone)]
pub struct CachedTokens(Arc<Inner>);

struct Inner {
    fetch: FetchToken,
    clock: SharedClock,
    slots: Mutex<HashMap<AccountKey, Slot>>,
}

#[derive(Default)]
struct Slot {
    cached: Option<(AccessToken, DateTime<Utc>)>,
    // Weak: when every caller has given up, the fetch ends with them instead of lying around half done.
    flight: Option<WeakShared<BoxFuture<'static, Result<AccessToken, TokenError>>>>,
}

impl CachedTokens {
    /// An empty cache in front of `fetch`.
    #[must_use]
    pub fn new(fetch: FetchToken, clock: SharedClock) -> Self {
        Self(Arc::new(Inner { fetch, clock, slots: Mutex::default() }))
    }

    /// Forgets the token of an account that was disconnected or connected anew.
    pub fn forget(&self, account: AccountKey) {
        self.0.slots().remove(&account);
    }

    fn cached_or_flight(&self, account: AccountKey, rejected: Option<&AccessToken>) -> Result<AccessToken, Flight> {
        let now = self.0.clock.now();
        let mut slots = self.0.slots();
        if slots.len() >= ACCOUNTS_BEFORE_SWEEP && !slots.contains_key(&account) {
            slots.retain(|_, slot| slot.good_token(now).is_some() || slot.running_flight().is_some());
        }
        let slot = slots.entry(account).or_default();
        if let Some(token) = slot.good_token(now).filter(|token| Some(*token) != rejected) {
            return Ok(token.clone());
        }
        if let Some(flight) = slot.running_flight() {
            return Err(flight);
        }
        slot.cached = None;
        let inner = Arc::clone(&self.0);
        let flight = async move { inner.renew(account).await }.boxed().shared();
        slot.flight = flight.downgrade();
        Err(flight)
    }
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, HashMap<AccountKey, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self, account: AccountKey) -> Result<AccessToken, TokenError> {
        let fetched = (self.fetch)(account).await;
        // A slot that is gone was forgotten meanwhile: these callers get their token, nobody after them does.
        if let Some(slot) = self.slots().get_mut(&account) {
            slot.flight = None;
            if let Ok(fetched) = &fetched {
                let life = TimeDelta::from_std(fetched.expires_in).unwrap_or_default();
                slot.cached = Some((fetched.token.clone(), self.clock.now() + life - REFRESH_EARLY));
            }
        }
        fetched.map(|fetched| fetched.token)
    }
}

impl Slot {
    fn good_token(&self, now: DateTime<Utc>) -> Option<&AccessToken> {
        self.cached.as_ref().filter(|(_, renew_at)| now < *renew_at).map(|(token, _)| token)
    }

    fn running_flight(&self) -> Option<Flight> {
        self.flight.as_ref().and_then(WeakShared::upgrade)
    }
}

impl TokenSource for CachedTokens {
    fn access_token<'a>(
        &'a self,
        account: AccountKey,
        rejected: Option<&'a AccessToken>,
    ) -> BoxFuture<'a, Result<AccessToken, TokenError>> {
        async move {
            match self.cached_or_flight(account, rejected) {
                Ok(token) => Ok(token),
                Err(flight) => flight.await,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::TestClock;

    const HOUR: Duration = Duration::from_hours(1);

    fn account(n: u128) -> AccountKey {
        AccountKey { business: BusinessId::new(Uuid::from_u128(1)), account: AccountId::new(Uuid::from_u128(n)) }
    }

    struct Bench {
        tokens: CachedTokens,
        fetches: Arc<AtomicU32>,
        clock: Arc<TestClock>,
        /// Fetches end when it has permits.
        gate: Arc<Semaphore>,
    }

    impl Bench {
        /// Tokens `t1`, `t2`, …; with `fail` the first fetch fails.
        fn new(fail: bool) -> Self {
            let (fetches, gate) = (Arc::<AtomicU32>::default(), Arc::new(Semaphore::new(1)));
            let clock = TestClock::at(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
            let (counter, barrier) = (Arc::clone(&fetches), Arc::clone(&gate));
            let fetch: FetchToken = Arc::new(move |_| {
                let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
                let barrier = Arc::clone(&barrier);
                async move {
                    let _permit = barrier.acquire().await.unwrap();
                    if fail && n == 1 {
                        return Err(TokenError::unavailable("503"));
                    }
                    Ok(FetchedToken { token: AccessToken::new(format!("t{n}")), expires_in: HOUR })
                }
                .boxed()
            });
            let tokens = CachedTokens::new(fetch, Arc::clone(&clock) as SharedClock);
            Self { tokens, fetches, clock, gate }
        }

        async fn token(&self, n: u128) -> String {
            self.tokens.access_token(account(n), None).await.unwrap().expose().to_owned()
        }

        /// Lets all callers arrive before any fetch ends.
        async fn at_once(&self, callers: u32) -> Vec<Result<AccessToken, TokenError>> {
            self.gate.forget_permits(1);
            let waiting = join_all((0..callers).map(|_| self.tokens.access_token(account(1), None)));
            let (outcomes, ()) = tokio::join!(waiting, async { self.gate.add_permits(1) });
            outcomes
        }
    }

    #[tokio::test]
    async fn many_callers_share_one_fetch() {
        let bench = Bench::new(false);
        let outcomes = bench.at_once(20).await;
        assert!(outcomes.iter().all(|token| token.as_ref().unwrap().expose() == "t1"));
        assert_eq!(bench.fetches.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_fetch_fails_all_who_waited_and_is_not_kept() {
        let bench = Bench::new(true);
        assert!(bench.at_once(5).await.iter().all(Result::is_err));
        assert_eq!(bench.fetches.load(Ordering::SeqCst), 1);
        assert_eq!(bench.token(1).await, "t2");
    }

    #[tokio::test]
    async fn a_token_is_renewed_90_seconds_before_it_ends() {
        let bench = Bench::new(false);
        bench.token(1).await;
        bench.clock.advance(TimeDelta::seconds(3_600 - 91));
        assert_eq!(bench.token(1).await, "t1");
        bench.clock.advance(TimeDelta::seconds(1));
        assert_eq!(bench.token(1).await, "t2");
    }

    #[tokio::test]
    async fn only_the_cached_token_can_be_rejected() {
        let Bench { tokens, fetches, .. } = Bench::new(false);
        let first = tokens.access_token(account(1), None).await.unwrap();
        let second = tokens.access_token(account(1), Some(&first)).await.unwrap();
        assert_eq!(second.expose(), "t2");
        // Another caller still holds the first one; its complaint is old news.
        assert_eq!(tokens.access_token(account(1), Some(&first)).await.unwrap(), second);
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn accounts_do_not_share_tokens_and_can_be_forgotten() {
        let bench = Bench::new(false);
        assert_eq!((bench.token(1).await.as_str(), bench.token(2).await.as_str()), ("t1", "t2"));
        bench.tokens.forget(account(1));
        assert_eq!(bench.token(1).await, "t3");
    }

    #[tokio::test]
    async fn a_fetch_that_every_caller_left_is_started_again() {
        let bench = Bench::new(false);
        bench.gate.forget_permits(1);
        assert!(bench.tokens.access_token(account(1), None).now_or_never().is_none());
        bench.gate.add_permits(1);
        assert_eq!(bench.token(1).await, "t2");
    }

    #[tokio::test]
    async fn ended_tokens_of_many_accounts_do_not_pile_up() {
        let bench = Bench::new(false);
        for n in 0..ACCOUNTS_BEFORE_SWEEP {
            bench.token(n as u128).await;
        }
        bench.clock.advance(TimeDelta::hours(1));
        bench.token(u128::MAX).await;
        assert_eq!(bench.tokens.0.slots().len(), 1);
    }

    #[test]
    fn debug_output_holds_no_token() {
        let token = AccessToken::new("ya29.secret");
        assert_eq!(format!("{token:?}"), "AccessToken(..)");
        assert!(!format!("{:?}", FetchedToken { token, expires_in: HOUR }).contains("secret"));
    }
}
