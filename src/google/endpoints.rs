//! Where Google answers.

use url::Url;

/// The five addresses of Google that slotd calls. The default is Google itself; a stand-in has others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Calendar API, up to and including `/calendar/v3`.
    pub api_base_url: Url,
    /// Consent page, where an owner's browser is sent.
    pub auth_url: Url,
    /// Token endpoint: codes and refresh tokens in, access tokens out.
    pub token_url: Url,
    /// Ends a grant.
    pub revoke_url: Url,
    /// Tells who granted (user info of `OpenID` Connect).
    pub userinfo_url: Url,
}

impl Default for Endpoints {
    fn default() -> Self {
        let constant = |text| Url::parse(text).expect("a constant that is a URL");
        Self {
            api_base_url: constant("https://www.googleapis.com/calendar/v3"),
            auth_url: constant("https://accounts.google.com/o/oauth2/v2/auth"),
            token_url: constant("https://oauth2.googleapis.com/token"),
            revoke_url: constant("https://oauth2.googleapis.com/revoke"),
            userinfo_url: constant("https://openidconnect.googleapis.com/v1/userinfo"),
        }
    }
}

impl Endpoints {
    /// Whether any address that slotd itself calls needs TLS. The consent page is opened by browsers only.
    #[must_use]
    pub(super) fn need_tls(&self) -> bool {
        let called = [&self.api_base_url, &self.token_url, &self.revoke_url, &self.userinfo_url];
        called.iter().any(|url| url.scheme() == "https")
    }
}
