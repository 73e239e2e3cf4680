//! Connecting a Google account: the OAuth web-server flow with PKCE, from the start to the first sync.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use secrecy::SecretString;
use url::Url;

use crate::{
    crypto::{equal, random_token, sha256},
    domain::{AccountId, BusinessId, CalendarId, SharedChance, SharedClock},
    google::{
        self, AccountKey, Authorization, CachedTokens, CalendarEntry, Google, Grant, OAuth, TokenError, UserInfo,
    },
    store::{
        self, Lane, Store,
        accounts::{Account, AccountKind, AccountStatus},
        calendars::{Calendar, Mirror},
        oauth_states::OAuthState,
    },
};

/// How long an owner may take to consent.
const CONSENT_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// The connect flow. Cheap to clone.
#[derive(Clone)]
pub struct Connect {
    store: Store,
    google: Google,
    oauth: OAuth,
    tokens: CachedTokens,
    clock: SharedClock,
    chance: SharedChance,
    redirect_uri: Url,
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("redirect_uri", &self.redirect_uri.as_str()).finish_non_exhaustive()
    }
}

/// A consent that was begun.
pub struct Started {
    /// Where the owner's browser goes.
    pub authorization_url: Url,
    /// A cookie value that ties the browser which leaves to the one that comes back.
    pub browser: String,
}

/// What came of a consent.
#[derive(Debug)]
pub struct Connected {
    /// The tenant.
    pub business: BusinessId,
    /// The account.
    pub account: AccountId,
    /// What the owner knows it by.
    pub email: String,
    /// The calendars that the account sees.
    pub calendars: usize,
    /// The calendar that is mirrored from now on, if the choice was clear.
    pub mirrored: Option<String>,
    /// How many of its calendars were mirrored before, and are again.
    pub resumed: usize,
    /// Where to go from here.
    pub return_to: Option<String>,
}

/// Why nothing was connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such business.
    #[error("there is no such business")]
    NoBusiness,
    /// The link was used, is too old, or never was.
    #[error("this link was used already or is too old")]
    Expired,
    /// The browser that comes back is not known to be the one that left: a person has to say yes.
    #[error("this browser did not start the connection")]
    OtherBrowser {
        /// Whose name to ask with.
        business: String,
    },
    /// The owner unticked something that slotd cannot do without.
    #[error("not everything that is needed was allowed")]
    MissingScopes(Vec<&'static str>),
    /// Google gave no lasting grant.
    #[error("Google gave no refresh token")]
    NoRefreshToken,
    /// Google did not let the code pass, or could not be asked.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Google did not give the calendars.
    #[error(transparent)]
    Google(#[from] google::Error),
    /// A fault on our side.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What [`Connect`] stands on.
pub struct Foundation {
    /// The database.
    pub store: Store,
    /// The calendar client.
    pub google: Google,
    /// The OAuth client.
    pub oauth: OAuth,
    /// The cache that must forget an account that is connected anew.
    pub tokens: CachedTokens,
    /// The time.
    pub clock: SharedClock,
    /// Randomness for state, verifier and cookie.
    pub chance: SharedChance,
    /// Exactly as registered with Google.
    pub redirect_uri: Url,
}

impl Connect {
    /// The flow.
    #[must_use]
    pub fn new(foundation: Foundation) -> Self {
        let Foundation { store, google, oauth, tokens, clock, chance, redirect_uri } = foundation;
        Self { store, google, oauth, tokens, clock, chance, redirect_uri }
    }

    /// Begins a consent for a business.
    pub async fn start(&self, business: BusinessId, return_to: Option<String>) -> Result<Started, ConnectError> {
        let (state, verifier, browser) =
            (random_token(&*self.chance), random_token(&*self.chance), random_token(&*self.chance));
        let row = OAuthState {
            state_hash: sha256(state.as_bytes()).to_vec(),
            business,
            verifier: verifier.clone(),
            browser_hash: sha256(browser.as_bytes()).to_vec(),
            return_to,
            expires_at: self.clock.now() + CONSENT_LIFETIME,
        };
        let keep = store::work::<(), ConnectError, _>(move |tx| {
            Box::pin(async move {
                tx.business(business).await?.ok_or(ConnectError::NoBusiness)?;
                Ok(tx.insert_oauth_state(&row).await?)
            })
        });
        self.store.write(Lane::Caller, keep).await?;
        let verifier = SecretString::from(verifier);
        let authorization_url = self.oauth.authorize_url(&Authorization {
            state: &state,
            verifier: &verifier,
            redirect_uri: &self.redirect_uri,
            login_hint: None,
        });
        Ok(Started { authorization_url, browser })
    }

    /// Takes a consent back without using it: the owner said no.
    pub async fn abandon(&self, state: &str) -> Result<(), ConnectError> {
        let hash = sha256(state.as_bytes());
        let take = store::work::<(), ConnectError, _>(move |tx| {
            Box::pin(async move {
                tx.take_oauth_state(&hash).await?;
                Ok(())
            })
        });
        self.store.write(Lane::Caller, take).await
    }

    /// Finishes a consent: exchanges the code, keeps the grant and lists the calendars. `browser` is the cookie of the
    /// browser that comes back; `confirmed` says that a person said yes on our own page.
    ///
    /// # Errors
    ///
    /// [`ConnectError::OtherBrowser`] leaves the consent usable, to be confirmed.
    pub async fn finish(
        &self,
        state: &str,
        code: &SecretString,
        browser: Option<&str>,
        confirmed: bool,
    ) -> Result<Connected, ConnectError> {
        let started = self.take(state, browser, confirmed).await?;
        let verifier = SecretString::from(started.verifier.clone());
        let grant = self.oauth.exchange_code(code, &verifier, &self.redirect_uri).await?;
        let missing = grant.missing_scopes();
        if !missing.is_empty() {
            return Err(ConnectError::MissingScopes(missing));
        }
        let owner = self.oauth.userinfo(&grant.access_token).await?;
        let account = self.keep_grant(started.business, &grant, &owner).await?;
        let key = AccountKey { business: account.business, account: account.id };
        self.tokens.forget(key);
        let calendars = self.google.calendar_list(key).await?;
        let resumed = self.mirrored_calendars(key).await?;
        let mirrored = self.mirror_primary(&account, &calendars).await?;
        Ok(Connected {
            business: account.business,
            account: account.id,
            email: account.email,
            calendars: calendars.len(),
            mirrored,
            resumed,
            return_to: started.return_to,
        })
    }

    /// Uses a consent up, once the browser is known to be the right one.
    async fn take(&self, state: &str, browser: Option<&str>, confirmed: bool) -> Result<OAuthState, ConnectError> {
        let (hash, now) = (sha256(state.as_bytes()), self.clock.now());
        let browser = browser.map(|cookie| sha256(cookie.as_bytes()));
        let take = store::work::<OAuthState, ConnectError, _>(move |tx| {
            Box::pin(async move {
                let found = tx.take_oauth_state(&hash).await?.filter(|found| now < found.expires_at);
                let found = found.ok_or(ConnectError::Expired)?;
                let same = browser.is_some_and(|browser| equal(&browser, &found.browser_hash));
                if same || confirmed {
                    return Ok(found);
                }
                let business = tx.business(found.business).await?.ok_or(ConnectError::NoBusiness)?;
                // An error rolls the taking back, so the link stays good for the confirmation.
                Err(ConnectError::OtherBrowser { business: business.name })
            })
        });
        self.store.write(Lane::Caller, take).await
    }

    /// Keeps the grant; the same person of Google gets the same account again, and so the same mirror.
    async fn keep_grant(&self, business: BusinessId, grant: &Grant, owner: &UserInfo) -> Result<Account, ConnectError> {
        let (now, chance) = (self.clock.now(), self.chance.clone());
        let (grant, owner) = (grant.clone(), owner.clone());
        let keep = store::work::<Account, ConnectError, _>(move |tx| {
            Box::pin(async move {
                let known = tx.accounts(business).await?.into_iter().find(|account| account.subject == owner.sub);
                let (id, created_at, old) = match known {
                    Some(account) => (account.id, account.created_at, account.credential),
                    None => (AccountId::new(chance.uuid(now)), now, None),
                };
                let account = Account {
                    business,
                    id,
                    kind: AccountKind::OAuth,
                    subject: owner.sub,
                    email: owner.email.unwrap_or_default(),
                    status: AccountStatus::Connected,
                    // Later exchanges may omit it: the old one stays good then.
                    credential: Some(grant.refresh_token.or(old).ok_or(ConnectError::NoRefreshToken)?),
                    scopes: grant.scopes,
                    last_error: None,
                    connected_at: now,
                    created_at,
                };
                tx.save_account(&account).await?;
                tx.wake_account(business, id).await?;
                tx.want_list(business, id).await?;
                tx.retry_deliveries(business).await?;
                Ok(account)
            })
        });
        self.store.write(Lane::Caller, keep).await
    }

    /// How many calendars of an account are mirrored.
    async fn mirrored_calendars(&self, key: AccountKey) -> Result<usize, ConnectError> {
        let count = store::work::<usize, ConnectError, _>(move |tx| {
            Box::pin(async move {
                let calendars = tx.calendars(key.business).await?;
                Ok(calendars.iter().filter(|calendar| calendar.account == key.account).count())
            })
        });
        self.store.read(count).await
    }

    /// When a business has one resource and it has no calendar yet, the primary calendar is the obvious choice: it blocks,
    /// and bookings go there. Otherwise the owner chooses.
    async fn mirror_primary(
        &self,
        account: &Account,
        calendars: &[CalendarEntry],
    ) -> Result<Option<String>, ConnectError> {
        let Some(primary) = calendars.iter().find(|calendar| calendar.primary).cloned() else { return Ok(None) };
        let (account, id) = (account.clone(), CalendarId::new(self.chance.uuid(self.clock.now())));
        let add = store::work::<Option<String>, ConnectError, _>(move |tx| {
            Box::pin(async move {
                let resources = tx.resources(account.business).await?;
                let taken: BTreeSet<_> =
                    tx.calendars(account.business).await?.into_iter().filter_map(|known| known.resource).collect();
                let [resource] = resources.as_slice() else { return Ok(None) };
                if taken.contains(&resource.id) {
                    return Ok(None);
                }
                let business = tx.business(account.business).await?.ok_or(ConnectError::NoBusiness)?;
                let mut calendar = entry_calendar(id, &account, &primary, business.time_zone);
                (calendar.resource, calendar.blocks, calendar.target) = (Some(resource.id), true, true);
                let summary = calendar.summary.clone();
                tx.insert_calendar(&calendar).await?;
                Ok(Some(summary))
            })
        });
        self.store.write(Lane::Caller, add).await
    }

    /// The calendars that an account sees.
    pub async fn calendars_of(&self, account: AccountKey) -> Result<Vec<CalendarEntry>, ConnectError> {
        Ok(self.google.calendar_list(account).await?)
    }
}

/// A calendar of an account's list, to be mirrored; it concerns nobody yet.
#[must_use]
pub fn entry_calendar(id: CalendarId, account: &Account, entry: &CalendarEntry, fallback: chrono_tz::Tz) -> Calendar {
    let zone = entry.time_zone.as_deref().and_then(|zone| zone.parse().ok());
    Calendar {
        business: account.business,
        id,
        account: account.id,
        google_id: entry.id.clone(),
        summary: entry.title.clone().unwrap_or_default(),
        time_zone: zone.unwrap_or(fallback),
        access_role: entry.access_role.clone().unwrap_or_default(),
        resource: None,
        blocks: false,
        target: false,
        mirror: Mirror::unread(account.status),
    }
}
