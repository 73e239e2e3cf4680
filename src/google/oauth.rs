//! Google's OAuth 2.0 for web servers: consent address, codes and refresh tokens into access tokens, revocation, and
//! who it was that granted.

use std::sync::atomic::AtomicBool;

use futures_util::{FutureExt, future::BoxFuture};
use hyper::{Method, Request, StatusCode, header};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use url::{Url, form_urlencoded};

use super::{
    AccessToken, Endpoints, Grant, SCOPES, TokenError, Transport, UserInfo,
    call::bearer,
    grant::{Tokens, grant, refusal},
    judge::retry_after,
    transport::{Answer, Lost},
};

/// The operator's OAuth client of a Google Cloud project.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    /// Public.
    pub client_id: String,
    /// Secret of that client.
    pub client_secret: SecretString,
}

/// What goes into a consent address.
#[derive(Clone, Copy)]
pub struct Authorization<'a> {
    /// Comes back with the browser; binds the answer to the question.
    pub state: &'a str,
    /// PKCE code verifier, 43 to 128 unreserved characters (RFC 7636 section 4.1). Only its hash goes into the address.
    pub verifier: &'a SecretString,
    /// Exactly as registered with Google.
    pub redirect_uri: &'a Url,
    /// The e-mail address that is probably meant.
    pub login_hint: Option<&'a str>,
}

type WebClient = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The web-server flow of one OAuth client. Cheap to clone.
#[derive(Clone)]
pub struct OAuth {
    transport: Transport,
    endpoints: Endpoints,
    client: WebClient,
}

impl OAuth {
    /// The flow over the given connections.
    #[must_use]
    pub fn new(transport: Transport, endpoints: &Endpoints, client: &OAuthClient) -> Self {
        let secret = ClientSecret::new(client.client_secret.expose_secret().to_owned());
        let client = Client::new(ClientId::new(client.client_id.clone()))
            .set_client_secret(secret)
            .set_auth_uri(AuthUrl::from_url(endpoints.auth_url.clone()))
            .set_token_uri(TokenUrl::from_url(endpoints.token_url.clone()))
            .set_auth_type(AuthType::RequestBody);
        Self { transport, endpoints: endpoints.clone(), client }
    }

    /// Where to send the owner's browser. Asks for a refresh token each time, and keeps what was granted before.
    #[must_use]
    pub fn authorize_url(&self, ask: &Authorization<'_>) -> Url {
        let verifier = PkceCodeVerifier::new(ask.verifier.expose_secret().to_owned());
        let state = ask.state.to_owned();
        let mut request = self
            .client
            .authorize_url(move || CsrfToken::new(state))
            .add_scopes(SCOPES.map(|scope| oauth2::Scope::new(scope.to_owned())))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .set_redirect_uri(std::borrow::Cow::Owned(RedirectUrl::from_url(ask.redirect_uri.clone())))
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent")
            .add_extra_param("include_granted_scopes", "true");
        if let Some(hint) = ask.login_hint {
            request = request.add_extra_param("login_hint", hint);
        }
        request.url().0
    }

    /// Exchanges the code that came back with the owner's browser. [`TokenError::NeedsReconnect`] says that the code is
    /// used, expired or not meant for this verifier.
    pub async fn exchange_code(
        &self,
        code: &SecretString,
        verifier: &SecretString,
        redirect_uri: &Url,
    ) -> Result<Grant, TokenError> {
        let endpoint = TokenEndpoint(&self.transport);
        let request = self
            .client
            .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
            .set_redirect_uri(std::borrow::Cow::Owned(RedirectUrl::from_url(redirect_uri.clone())))
            .request_async(&endpoint);
        self.timed("oauth.exchange", async { request.await.map(grant).map_err(refusal) }).await
    }

    /// Exchanges a refresh token for an access token.
    pub async fn refresh(&self, refresh_token: &SecretString) -> Result<Grant, TokenError> {
        let endpoint = TokenEndpoint(&self.transport);
        let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
        let request = self.client.exchange_refresh_token(&token).request_async(&endpoint);
        self.timed("oauth.refresh", async { request.await.map(grant).map_err(refusal) }).await
    }

    /// Ends a grant by any of its tokens. A token that Google no longer knows counts as ended.
    ///
    /// Google ends everything that this person granted to the project, also to another business.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), TokenError> {
        // In one expression: the serializer is not `Send` and must not live across an await.
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("token", token.expose_secret()).finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoints.revoke_url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        self.timed("oauth.revoke", async {
            let answer = self.answer(request).await?;
            match code(&answer).as_str() {
                _ if answer.status.is_success() => Ok(()),
                "invalid_token" => Ok(()),
                _ => Err(unwell(&answer)),
            }
        })
        .await
    }

    /// Who granted the access token.
    pub async fn userinfo(&self, token: &AccessToken) -> Result<UserInfo, TokenError> {
        let unusable = || TokenError::unavailable("the access token is not printable");
        let request = Request::builder()
            .uri(self.endpoints.userinfo_url.as_str())
            .header(header::AUTHORIZATION, bearer(token).ok_or_else(unusable)?)
            .body(String::new());
        self.timed("oauth.userinfo", async {
            let answer = self.answer(request).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED => Err(TokenError::NeedsReconnect { reason: "unauthorized".to_owned() }),
                status if status.is_success() => serde_json::from_slice(&answer.body)
                    .map_err(|_| TokenError::unavailable("the user info cannot be read")),
                _ => Err(unwell(&answer)),
            }
        })
        .await
    }

    async fn answer(&self, request: Result<Request<String>, hyper::http::Error>) -> Result<Answer, TokenError> {
        let request = request.map_err(|_| TokenError::Misconfigured("an address is not usable".to_owned()))?;
        let lost = |lost: Lost| TokenError::unavailable(lost.to_string());
        self.transport.exchange(request, &AtomicBool::default()).await.map_err(lost)
    }

    async fn timed<T>(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<T, TokenError>>,
    ) -> Result<T, TokenError> {
        timed(&self.transport, method, work).await
    }
}

/// Puts the deadline around `work` and notes how it went.
pub(super) async fn timed<T>(
    transport: &Transport,
    method: &'static str,
    work: impl Future<Output = Result<T, TokenError>>,
) -> Result<T, TokenError> {
    let started = Instant::now();
    let late = || TokenError::unavailable(Lost::Late.to_string());
    let outcome = timeout(transport.limits().request, work).await.unwrap_or_else(|_| Err(late()));
    transport.note(method, outcome.as_ref().map_or_else(TokenError::outcome_label, |_| "ok"), started);
    outcome
}

/// The HTTP client that `oauth2` is given. Not a closure: the futures of closures that borrow are not `Send` for every
/// lifetime, and what awaits them could not be spawned.
struct TokenEndpoint<'a>(&'a Transport);

impl<'c> oauth2::AsyncHttpClient<'c> for TokenEndpoint<'_> {
    type Error = Lost;
    type Future = BoxFuture<'c, Result<oauth2::HttpResponse, Lost>>;

    /// A trouble of the server becomes an error here; `oauth2` would only say that it cannot parse the page.
    fn call(&'c self, request: oauth2::HttpRequest) -> Self::Future {
        async move {
            let (head, body) = request.into_parts();
            let body = String::from_utf8(body).map_err(|_| Lost::Garbled)?;
            let answer = self.0.exchange(Request::from_parts(head, body), &AtomicBool::default()).await?;
            let status = answer.status;
            if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(Lost::Unwell { status: status.as_u16(), retry_after: retry_after(&answer.headers) });
            }
            let mut response = hyper::Response::new(answer.body);
            *response.status_mut() = status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        }
        .boxed()
    }
}

/// The `error` of an OAuth answer, or nothing.
fn code(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    serde_json::from_slice::<Body>(&answer.body).map(|body| body.error).unwrap_or_default()
}

fn unwell(answer: &Answer) -> TokenError {
    let reason = format!("status {}", answer.status.as_u16());
    TokenError::Unavailable { reason, retry_after: retry_after(&answer.headers) }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::google::{
        CALENDAR_SCOPES, Limits,
        fixture::{Canned, Stand, oauth_at},
    };

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn form(body: &str) -> HashMap<String, String> {
        form_urlencoded::parse(body.as_bytes()).into_owned().collect()
    }

    async fn refresh(answer: Canned) -> Result<Grant, TokenError> {
        let stand = Stand::answering([answer]).await;
        oauth_at(stand.url(), Limits::default()).refresh(&"r1".into()).await
    }

    #[tokio::test]
    async fn the_consent_address_asks_for_a_refresh_token_and_hides_the_verifier() {
        let stand = Stand::answering([]).await;
        let redirect_uri = "https://slotd.example/api/v1/auth/google-calendar/callback".parse().unwrap();
        let url = oauth_at(stand.url(), Limits::default()).authorize_url(&Authorization {
            state: "s1",
            verifier: &VERIFIER.into(),
            redirect_uri: &redirect_uri,
            login_hint: Some("anna@example.com"),
        });
        let asked: HashMap<_, _> = url.query_pairs().into_owned().collect();
        for (key, value) in [
            ("client_id", "id1"),
            ("response_type", "code"),
            ("state", "s1"),
            ("redirect_uri", redirect_uri.as_str()),
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("include_granted_scopes", "true"),
            ("login_hint", "anna@example.com"),
            // The pair of RFC 7636 appendix B.
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("scope", &SCOPES.join(" ")),
        ] {
            assert_eq!(asked.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(url.path(), "/auth");
    }

    #[tokio::test]
    async fn a_code_is_exchanged_for_a_grant() {
        let answer = json!({ "access_token": "a1", "expires_in": 3599, "refresh_token": "r1", "token_type": "Bearer",
            "scope": "openid https://www.googleapis.com/auth/calendar.events", "refresh_token_expires_in": 604_799 });
        let stand = Stand::answering([Canned::json(200, answer)]).await;
        let redirect_uri: Url = "https://slotd.example/callback".parse().unwrap();
        let oauth = oauth_at(stand.url(), Limits::default());
        let grant = oauth.exchange_code(&"c1".into(), &VERIFIER.into(), &redirect_uri).await.unwrap();

        let seen = &stand.seen()[0];
        let sent = form(&seen.body);
        for (key, value) in [
            ("grant_type", "authorization_code"),
            ("code", "c1"),
            ("client_id", "id1"),
            ("client_secret", "hush"),
            ("code_verifier", VERIFIER),
            ("redirect_uri", redirect_uri.as_str()),
        ] {
            assert_eq!(sent.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/token"));
        assert_eq!(grant.access_token.expose(), "a1");
        assert_eq!(grant.refresh_token.as_ref().unwrap().expose_secret(), "r1");
        assert_eq!((grant.expires_in.as_secs(), grant.refresh_expires_in.unwrap().as_secs()), (3_599, 604_799));
        assert_eq!(grant.missing_scopes(), [CALENDAR_SCOPES[1]]);
        let shown = format!("{grant:?}");
        assert!(!shown.contains("a1") && !shown.contains("r1"), "{shown}");
    }

    #[tokio::test]
    async fn a_refresh_may_come_without_a_new_refresh_token() {
        let grant = refresh(Canned::json(200, json!({ "access_token": "a2", "token_type": "Bearer" }))).await.unwrap();
        assert_eq!((grant.fetched().token.expose(), grant.expires_in.as_secs()), ("a2", 3_599));
        assert!(grant.refresh_token.is_none());
    }

    #[tokio::test]
    async fn only_a_refusal_of_the_grant_asks_for_the_owner() {
        let refused =
            |code: &str| Canned::json(400, json!({ "error": code, "error_description": "for anna@example.com" }));
        let invalid = refresh(refused("invalid_grant")).await.unwrap_err();
        assert_eq!(invalid, TokenError::NeedsReconnect { reason: "invalid_grant".to_owned() });
        let client = refresh(refused("invalid_client")).await.unwrap_err();
        assert_eq!(client, TokenError::Misconfigured("invalid_client".to_owned()));

        let html = || Bytes::from_static(b"<html>anna@example.com</html>");
        for answer in [
            Canned::json(503, json!({ "error": "invalid_grant" })),
            Canned::new(500, html()),
            Canned::new(400, html()),
            Canned::new(200, html()),
            Canned::new(403, Bytes::new()),
            Canned::new(302, Bytes::new()),
            Canned::json(429, json!({ "error": "rate_limit_exceeded" })),
            Canned::hang_up(),
            refused("internal_failure"),
        ] {
            let error = refresh(answer).await.unwrap_err();
            assert!(matches!(error, TokenError::Unavailable { .. }), "{error:?}");
            assert!(!format!("{error:?}").contains("anna"), "{error:?}");
        }
        let error = refresh(Canned::new(503, Bytes::new()).with("retry-after", "7")).await.unwrap_err();
        let retry_after = Some(Duration::from_secs(7));
        assert_eq!(error, TokenError::Unavailable { reason: "status 503".to_owned(), retry_after });
    }

    #[tokio::test]
    async fn a_token_endpoint_that_never_ends_meets_the_deadline() {
        let stand = Stand::answering([Canned::stalling()]).await;
        let limits = Limits { request: Duration::from_millis(200), ..Limits::default() };
        let error = oauth_at(stand.url(), limits).refresh(&"r1".into()).await.unwrap_err();
        assert!(matches!(error, TokenError::Unavailable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn revoking_a_token_that_is_dead_already_succeeds() {
        let stand = Stand::answering([
            Canned::json(200, json!({})),
            Canned::json(400, json!({ "error": "invalid_token" })),
            Canned::new(503, Bytes::new()),
        ])
        .await;
        let oauth = oauth_at(stand.url(), Limits::default());
        oauth.revoke(&"r/1+".into()).await.unwrap();
        assert_eq!(form(&stand.seen()[0].body)["token"], "r/1+");
        oauth.revoke(&"r1".into()).await.unwrap();
        assert!(matches!(oauth.revoke(&"r1".into()).await, Err(TokenError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn userinfo_tells_who_granted() {
        let info = json!({ "sub": "108", "email": "anna@example.com", "email_verified": true });
        let stand = Stand::answering([Canned::json(200, info), Canned::new(401, Bytes::new())]).await;
        let oauth = oauth_at(stand.url(), Limits::default());
        let info = oauth.userinfo(&AccessToken::new("a1")).await.unwrap();
        assert_eq!((info.sub.as_str(), info.email.as_deref()), ("108", Some("anna@example.com")));
        assert!(!format!("{info:?}").contains("anna"));
        assert_eq!(stand.seen()[0].headers["authorization"], "Bearer a1");
        let error = oauth.userinfo(&AccessToken::new("a1")).await.unwrap_err();
        assert!(matches!(error, TokenError::NeedsReconnect { .. }));
    }
}
