//! Codes and tokens that have been handed out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use crate::api::SCOPE_PREFIX;
use crate::clock;

/// How long an authorization code may be exchanged.
const CODE_TTL: TimeDelta = TimeDelta::minutes(10);
/// Most refresh tokens of one user; the oldest dies silently when there is one more.
const REFRESH_TOKENS_MAX: usize = 100;
/// Most codes and access tokens that are kept.
const ISSUED_MAX: usize = 100_000;

/// The client that is registered with the stand-in.
#[derive(Clone)]
pub struct ClientCredentials {
    /// Its public id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl std::fmt::Debug for ClientCredentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ClientCredentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// The challenge of PKCE (RFC 7636), which the exchange has to meet.
#[derive(Clone)]
pub(crate) enum Challenge {
    S256(String),
    Plain(String),
}

/// Why refreshing a user's tokens fails from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantEnd {
    /// The user removed the app, or the token was not used for too long.
    Revoked,
    /// The organisation wants its users to sign in again from time to time. The consent lives on.
    Session,
    /// The organisation does not allow the app; consent is not given either, until the user is admitted again.
    Policy,
    /// The account was deleted or disabled.
    Account,
}

/// A consent that waits to be exchanged for tokens.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<Challenge>,
    /// What the client wants to find again in the id token.
    pub(crate) nonce: Option<String>,
    pub(crate) offline: bool,
    /// Whether the user was asked even though the consent was known.
    pub(crate) asked_again: bool,
    pub(crate) expires: DateTime<Utc>,
}

/// What a token may do, and for whom.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) user: String,
    pub(crate) scopes: Vec<String>,
    /// `None` for the tokens of scripts.
    pub(crate) expires: Option<DateTime<Utc>>,
    /// The service account that acts for the user, whose quota is used.
    pub(crate) service_account: Option<String>,
}

/// What a refresh token is good for.
#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) user: String,
    pub(crate) scopes: Vec<String>,
    expires: Option<DateTime<Utc>>,
    /// Why it is good for nothing any more.
    pub(crate) ended: Option<GrantEnd>,
}

/// Everything that has been granted.
pub(crate) struct Grants {
    pub(crate) client: ClientCredentials,
    pub(crate) access_ttl: Duration,
    /// How long refresh tokens live, where the user has granted access for a time only.
    pub(crate) refresh_ttl: Option<Duration>,
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    /// By age: the number of issue, with the token.
    refresh: BTreeMap<u64, (String, Refresh)>,
    issued: u64,
    /// Users with a live consent.
    consented: HashSet<String>,
    scripts: HashMap<String, String>,
    /// Users whose organisation does not allow the app.
    barred: HashSet<String>,
}

impl Grants {
    pub(crate) fn new(access_ttl: Duration, refresh_ttl: Option<Duration>) -> Self {
        let client = ClientCredentials {
            client_id: format!("{}.apps.googleusercontent.com", HEXLOWER.encode(&rand::random::<[u8; 8]>())),
            client_secret: format!("GOCSPX-{}", random_text()),
        };
        Self {
            client,
            access_ttl,
            refresh_ttl,
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: BTreeMap::new(),
            issued: 0,
            consented: HashSet::new(),
            scripts: HashMap::new(),
            barred: HashSet::new(),
        }
    }

    /// Remembers a consent. Returns the code to exchange.
    pub(crate) fn add_code(&mut self, mut code: Code) -> String {
        let now = clock::now();
        self.codes.retain(|_, code| code.expires > now);
        code.expires = now + CODE_TTL;
        let text = format!("4/0A{}", random_text());
        if self.codes.len() < ISSUED_MAX {
            self.codes.insert(text.clone(), code);
        }
        text
    }

    /// Takes a code out: it works once.
    pub(crate) fn take_code(&mut self, text: &str) -> Option<Code> {
        self.codes.remove(text).filter(|code| code.expires > clock::now())
    }

    /// A new access token.
    pub(crate) fn add_access(&mut self, user: &str, scopes: &[String]) -> String {
        let now = clock::now();
        if self.access.len() >= ISSUED_MAX {
            self.access.retain(|_, access| access.expires.is_none_or(|expires| expires > now));
        }
        let expires = Some(now + self.access_ttl);
        let access = Access { user: user.to_owned(), scopes: scopes.to_vec(), expires, service_account: None };
        let text = format!("ya29.{}", random_text());
        self.access.insert(text.clone(), access);
        text
    }

    /// A refresh token, if Google would give one: only for offline access, and only with the first consent or when the
    /// user was asked again.
    pub(crate) fn add_refresh(&mut self, code: &Code) -> Option<String> {
        let first = self.consented.insert(code.user.clone());
        if !code.offline || !(first || code.asked_again) {
            return None;
        }
        Some(self.issue_refresh(&code.user, &code.scopes))
    }

    fn issue_refresh(&mut self, user: &str, scopes: &[String]) -> String {
        let lives = |refresh: &Refresh| refresh.user == user && refresh.ended.is_none();
        let of_user = self.refresh.iter().filter(|(_, (_, refresh))| lives(refresh));
        let of_user: Vec<u64> = of_user.map(|(number, _)| *number).collect();
        if of_user.len() >= REFRESH_TOKENS_MAX {
            self.refresh.remove(&of_user[0]);
        }
        self.issued += 1;
        let text = format!("1//0{}", random_text());
        let expires = self.refresh_ttl.map(|ttl| clock::now() + ttl);
        let refresh = Refresh { user: user.to_owned(), scopes: scopes.to_vec(), expires, ended: None };
        self.refresh.insert(self.issued, (text.clone(), refresh));
        text
    }

    /// What a refresh token is good for, also one that has ended for a reason of its own.
    pub(crate) fn refresh(&self, token: &str) -> Option<&Refresh> {
        let (_, refresh) = self.refresh.values().find(|(known, _)| known == token)?;
        Some(refresh).filter(|refresh| refresh.expires.is_none_or(|expires| expires > clock::now()))
    }

    /// Ends a user's tokens. Whoever refreshes them is told why.
    pub(crate) fn end(&mut self, user: &str, why: GrantEnd) {
        for (_, refresh) in self.refresh.values_mut().filter(|(_, refresh)| refresh.user == user) {
            refresh.ended = Some(why);
        }
        self.end_access(user);
        self.codes.retain(|_, code| code.user != user);
        if why != GrantEnd::Session {
            self.consented.remove(user);
        }
        if why == GrantEnd::Policy {
            self.barred.insert(user.to_owned());
        }
    }

    /// Allows the app again for a user whose organisation did not.
    pub(crate) fn admit(&mut self, user: &str) -> bool {
        self.barred.remove(user)
    }

    pub(crate) fn is_barred(&self, user: &str) -> bool {
        self.barred.contains(user)
    }

    /// A new refresh token in place of a live one, which ends.
    pub(crate) fn rotate(&mut self, token: &str) -> Option<String> {
        let (known, _) = self.refresh.values_mut().find(|(known, _)| known == token)?;
        *known = format!("1//0{}", random_text());
        Some(known.clone())
    }

    /// Charges a service account for the calls that are made with an access token.
    pub(crate) fn charge(&mut self, token: &str, service_account: &str) {
        if let Some(access) = self.access.get_mut(token) {
            access.service_account = Some(service_account.to_owned());
        }
    }

    /// Makes an access token end sooner than it was said to.
    pub(crate) fn shorten(&mut self, token: &str, life: Duration) {
        if let Some(access) = self.access.get_mut(token) {
            access.expires = Some(clock::now() + life);
        }
    }

    /// Ends a user's access tokens. Refresh tokens and the tokens of scripts live on.
    pub(crate) fn end_access(&mut self, user: &str) {
        self.access.retain(|_, access| access.user != user || access.expires.is_none());
    }

    /// What a live access token may do.
    pub(crate) fn access(&self, token: &str) -> Option<&Access> {
        self.access.get(token).filter(|access| access.expires.is_none_or(|expires| expires > clock::now()))
    }

    /// Whether the user has consented and not revoked.
    pub(crate) fn has_consented(&self, user: &str) -> bool {
        self.consented.contains(user)
    }

    /// Ends the grant behind an access or refresh token, with all tokens of the user. Returns the user.
    pub(crate) fn revoke(&mut self, token: &str) -> Option<String> {
        let user = match self.refresh(token).filter(|refresh| refresh.ended.is_none()) {
            Some(refresh) => refresh.user.clone(),
            None => self.access(token).filter(|access| access.expires.is_some())?.user.clone(),
        };
        self.revoke_user(&user);
        Some(user)
    }

    /// Ends a user's grant. The tokens of scripts live on.
    pub(crate) fn revoke_user(&mut self, user: &str) {
        self.refresh.retain(|_, (_, refresh)| refresh.user != user);
        self.end_access(user);
        self.codes.retain(|_, code| code.user != user);
        self.consented.remove(user);
    }

    /// The user's token for scripts.
    pub(crate) fn script_token(&mut self, email: &str) -> String {
        if let Some(known) = self.scripts.get(email) {
            return known.clone();
        }
        let text = format!("ya29.{}", random_text());
        let full = ["calendar", "userinfo.email", "userinfo.profile"].map(|scope| format!("{SCOPE_PREFIX}{scope}"));
        let scopes = full.into_iter().chain(["openid".to_owned()]).collect();
        self.access
            .insert(text.clone(), Access { user: email.to_owned(), scopes, expires: None, service_account: None });
        self.scripts.insert(email.to_owned(), text.clone());
        text
    }
}

fn random_text() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>())
}
