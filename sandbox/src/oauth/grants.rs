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

/// A consent that waits to be exchanged for tokens.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) redirect_uri: String,
    /// The S256 challenge of PKCE (RFC 7636).
    pub(crate) challenge: Option<String>,
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
}

struct Refresh {
    user: String,
    scopes: Vec<String>,
}

/// Everything that has been granted.
pub(crate) struct Grants {
    pub(crate) client: ClientCredentials,
    pub(crate) access_ttl: Duration,
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    /// By age: the number of issue, with the token.
    refresh: BTreeMap<u64, (String, Refresh)>,
    issued: u64,
    /// Users with a live consent.
    consented: HashSet<String>,
    scripts: HashMap<String, String>,
}

impl Grants {
    pub(crate) fn new(access_ttl: Duration) -> Self {
        let client = ClientCredentials {
            client_id: format!("{}.apps.googleusercontent.com", HEXLOWER.encode(&rand::random::<[u8; 8]>())),
            client_secret: format!("GOCSPX-{}", random_text()),
        };
        Self {
            client,
            access_ttl,
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: BTreeMap::new(),
            issued: 0,
            consented: HashSet::new(),
            scripts: HashMap::new(),
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
        let access = Access { user: user.to_owned(), scopes: scopes.to_vec(), expires: Some(now + self.access_ttl) };
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
        let of_user: Vec<u64> = self
            .refresh
            .iter()
            .filter(|(_, (_, refresh))| refresh.user == code.user)
            .map(|(number, _)| *number)
            .collect();
        if of_user.len() >= REFRESH_TOKENS_MAX {
            self.refresh.remove(&of_user[0]);
        }
        self.issued += 1;
        let text = format!("1//0{}", random_text());
        let refresh = Refresh { user: code.user.clone(), scopes: code.scopes.clone() };
        self.refresh.insert(self.issued, (text.clone(), refresh));
        Some(text)
    }

    /// The user and scopes of a live refresh token.
    pub(crate) fn refresh(&self, token: &str) -> Option<(String, Vec<String>)> {
        let found = self.refresh.values().find(|(known, _)| known == token);
        found.map(|(_, refresh)| (refresh.user.clone(), refresh.scopes.clone()))
    }

    /// A new refresh token in place of a live one, which ends.
    pub(crate) fn rotate(&mut self, token: &str) -> Option<String> {
        let (known, _) = self.refresh.values_mut().find(|(known, _)| known == token)?;
        *known = format!("1//0{}", random_text());
        Some(known.clone())
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
        let user = match self.refresh(token) {
            Some((user, _)) => user,
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
        self.access.insert(text.clone(), Access { user: email.to_owned(), scopes, expires: None });
        self.scripts.insert(email.to_owned(), text.clone());
        text
    }
}

fn random_text() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 32]>())
}
