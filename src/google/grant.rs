//! What an owner granted, or why nothing was.

use std::{fmt, time::Duration};

use google_calendar3::api::Scope;
use oauth2::{
    RequestTokenError, StandardTokenResponse, TokenResponse,
    basic::{BasicErrorResponse, BasicTokenType},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{AccessToken, FetchedToken, TokenError, judge::word, transport::Lost};

/// What slotd needs of Google Calendar: events of any calendar that the account sees, and the list of calendars.
pub const CALENDAR_SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/calendar.events",
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly",
];

/// What an owner is asked for: [`CALENDAR_SCOPES`] and who they are.
pub const SCOPES: [&str; 4] = ["openid", "email", CALENDAR_SCOPES[0], CALENDAR_SCOPES[1]];

/// Google never says how long a token is good only when it is not Google.
const LIFE_WHEN_UNSAID: Duration = Duration::from_secs(3_599);

/// What a code or a refresh token was exchanged for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// For calls.
    pub access_token: AccessToken,
    /// How long it is good from now on.
    pub expires_in: Duration,
    /// For more access tokens. Absent when Google sees no reason to give a new one: keep the old one then.
    pub refresh_token: Option<SecretString>,
    /// How long the refresh token is good, when the owner limited it.
    pub refresh_expires_in: Option<Duration>,
    /// What was granted; owners can untick single scopes. Empty when Google does not say: nothing has changed then.
    pub scopes: Vec<String>,
}

impl Grant {
    /// The scopes of [`CALENDAR_SCOPES`] that the owner did not grant. `calendar` alone covers both.
    #[must_use]
    pub fn missing_scopes(&self) -> Vec<&'static str> {
        let has = |scope: &str| self.scopes.iter().any(|granted| granted == scope);
        let everything = has(Scope::Full.as_ref());
        CALENDAR_SCOPES.into_iter().filter(|scope| !everything && !has(scope)).collect()
    }

    /// The access token as a cache wants it.
    #[must_use]
    pub fn fetched(&self) -> FetchedToken {
        FetchedToken { token: self.access_token.clone(), expires_in: self.expires_in }
    }
}

/// Who granted.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct UserInfo {
    /// Google's id of the person. Stays when the address changes.
    pub sub: String,
    /// Personal.
    pub email: Option<String>,
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(..)")
    }
}

/// Google's additions to the token response of RFC 6749.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Extra {
    refresh_token_expires_in: Option<u64>,
}
impl oauth2::ExtraTokenFields for Extra {}

/// The token response of RFC 6749 with Google's additions.
pub(super) type Tokens = StandardTokenResponse<Extra, BasicTokenType>;
#[expect(clippy::needless_pass_by_value, reason = "the tokens move into the grant")]
/// Takes the response apart.
pub(super) fn grant(tokens: Tokens) -> Grant {
    let extra = tokens.extra_fields().refresh_token_expires_in;
    let scopes = tokens.scopes().into_iter().flatten();
    Grant {
        access_token: AccessToken::new(tokens.access_token().secret().as_str()),
        expires_in: tokens.expires_in().unwrap_or(LIFE_WHEN_UNSAID),
        refresh_token: tokens.refresh_token().map(|token| token.secret().as_str().into()),
        refresh_expires_in: extra.map(Duration::from_secs),
        scopes: scopes.map(|scope| scope.to_string()).collect(),
    }
}

/// Judges a failure of the token endpoint.
pub(super) fn refusal(error: RequestTokenError<Lost, BasicErrorResponse>) -> TokenError {
    match error {
        RequestTokenError::Request(Lost::Unwell { status, retry_after }) => {
            TokenError::Unavailable { reason: format!("status {status}"), retry_after }
        }
        RequestTokenError::Request(lost) => TokenError::unavailable(lost.to_string()),
        RequestTokenError::ServerResponse(answer) => refusal_by_code(answer.error().as_ref()),
        // These quote the body.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            TokenError::unavailable("the answer is not that of a token endpoint")
        }
    }
}

/// Judges an error code of the token endpoint (RFC 6749 section 5.2, and Google's own).
pub(super) fn refusal_by_code(code: &str) -> TokenError {
    let code = word(code);
    match code.as_str() {
        // The last two: an administrator closed the service, or ended the session.
        "invalid_grant" | "access_denied" | "admin_policy_enforced" | "invalid_rapt" => {
            TokenError::NeedsReconnect { reason: code }
        }
        "invalid_client"
        | "unauthorized_client"
        | "invalid_request"
        | "invalid_scope"
        | "unsupported_grant_type"
        | "redirect_uri_mismatch"
        | "deleted_client"
        | "disabled_client"
        | "org_internal" => TokenError::Misconfigured(code),
        _ => TokenError::unavailable(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_are_those_of_the_calendar_schema() {
        assert_eq!(CALENDAR_SCOPES, [Scope::Event.as_ref(), Scope::CalendarlistReadonly.as_ref()]);
    }

    #[test]
    fn the_scope_of_everything_covers_all_that_is_needed() {
        let grant = |scopes: &[&str]| Grant {
            access_token: AccessToken::new("a1"),
            expires_in: LIFE_WHEN_UNSAID,
            refresh_token: None,
            refresh_expires_in: None,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        };
        assert!(grant(&[Scope::Full.as_ref()]).missing_scopes().is_empty());
        assert!(grant(&SCOPES).missing_scopes().is_empty());
        assert_eq!(grant(&["openid"]).missing_scopes(), CALENDAR_SCOPES);
    }
}
