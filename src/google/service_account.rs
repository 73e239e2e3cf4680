//! Service accounts with domain-wide delegation: a Workspace administrator lets slotd act for the domain's people.

use std::{fmt, time::Duration};

use hyper::Uri;
use secrecy::{ExposeSecret, SecretString};
use yup_oauth2::{
    CustomHyperClientBuilder, Error as FlowError, ServiceAccountAuthenticator, ServiceAccountKey,
    authenticator::Authenticator,
};

use super::{
    AccessToken, CALENDAR_SCOPES, FetchedToken, TokenError, Transport, grant::refusal_by_code, oauth::timed,
    transport::Connector,
};
use crate::domain::{Clock, clock::SystemClock};

/// The key of a service account. Cheap enough to clone; the key never shows.
#[derive(Clone)]
pub struct ServiceAccount {
    key: ServiceAccountKey,
    transport: Transport,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccount(..)")
    }
}

impl ServiceAccount {
    /// Takes the JSON key file that Google Cloud gives out, and checks that it can sign. Its `token_uri` is the token
    /// endpoint.
    pub async fn load(key_json: &SecretString, transport: Transport) -> Result<Self, TokenError> {
        let key: ServiceAccountKey = serde_json::from_str(key_json.expose_secret())
            .map_err(|_| misconfigured("is not a JSON key file of Google"))?;
        // yup-oauth2 takes for granted that this is one.
        let uri: Uri = key.token_uri.parse().map_err(|_| misconfigured("has a token_uri that is not an address"))?;
        if uri.scheme().is_none() || uri.host().is_none() {
            return Err(misconfigured("has a token_uri without a host"));
        }
        let account = Self { key, transport };
        account.authenticator("nobody").await?;
        Ok(account)
    }

    /// A new access token to act as `subject`, the e-mail address of a person of the domain.
    ///
    /// `unauthorized_client` and thus [`TokenError::Misconfigured`] says that the domain's administrator has not (or not
    /// for these scopes) delegated to this service account.
    pub async fn access_token(&self, subject: &str) -> Result<FetchedToken, TokenError> {
        timed(&self.transport, "oauth.delegate", async {
            // A new one each time has an empty cache: when a token is asked for here, a new one is meant.
            let authenticator = self.authenticator(subject).await?;
            let token = authenticator.token(&CALENDAR_SCOPES).await.map_err(refusal)?;
            let text = token.token().ok_or_else(|| TokenError::unavailable("no token in the answer"))?;
            // yup-oauth2 gives the end by the machine's clock, so the rest is measured by the same one.
            let now = SystemClock.now().timestamp();
            let ends = if let Some(ends) = token.expiration_time() { ends.unix_timestamp() } else { now + 3_599 };
            let expires_in = Duration::from_secs(u64::try_from(ends - now).unwrap_or_default());
            Ok(FetchedToken { token: AccessToken::new(text), expires_in })
        })
        .await
    }

    async fn authenticator(&self, subject: &str) -> Result<Authenticator<Connector>, TokenError> {
        let client = CustomHyperClientBuilder::from(self.transport.client());
        let builder = ServiceAccountAuthenticator::with_client(self.key.clone(), client).subject(subject);
        builder.build().await.map_err(|_| misconfigured("holds no RSA private key"))
    }
}

fn misconfigured(what: &str) -> TokenError {
    TokenError::Misconfigured(format!("the service account key {what}"))
}

fn refusal(error: FlowError) -> TokenError {
    match error {
        FlowError::AuthError(error) => refusal_by_code(error.error.as_str()),
        // The others may quote bodies.
        FlowError::HttpError(_) | FlowError::HttpClientError(_) => TokenError::unavailable("no answer"),
        _ => TokenError::unavailable("the answer is not that of a token endpoint"),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use bytes::Bytes;
    use serde_json::{Value, json};
    use url::form_urlencoded;

    use super::*;
    use crate::google::{
        Limits,
        fixture::{Canned, Stand, transport_at},
    };

    fn key_at(token_uri: &str) -> SecretString {
        // Made for this test and good for nothing else.
        let private_key = include_str!("fixture_key.pem");
        json!({ "type": "service_account", "client_email": "slotd@project.iam.gserviceaccount.com",
            "private_key": private_key, "token_uri": token_uri })
        .to_string()
        .into()
    }

    async fn account_at(stand: &Stand, limits: Limits) -> ServiceAccount {
        let key = key_at(stand.url().join("/token").unwrap().as_str());
        ServiceAccount::load(&key, transport_at(stand.url(), limits)).await.unwrap()
    }

    #[tokio::test]
    async fn each_token_is_asked_for_in_the_name_of_its_person() {
        let token = |text: &str| json!({ "access_token": text, "expires_in": 3599, "token_type": "Bearer" });
        let stand = Stand::answering([Canned::json(200, token("a1")), Canned::json(200, token("a2"))]).await;
        let account = account_at(&stand, Limits::default()).await;
        let first = account.access_token("anna@corp.example").await.unwrap();
        let second = account.access_token("anna@corp.example").await.unwrap();
        assert_eq!((first.token.expose(), second.token.expose()), ("a1", "a2"), "none comes from a cache");
        assert!((3_590..=3_600).contains(&first.expires_in.as_secs()), "{:?}", first.expires_in);

        let sent = stand.seen()[0].body.clone();
        let (_, assertion) = form_urlencoded::parse(sent.as_bytes()).find(|(key, _)| key == "assertion").unwrap();
        // yup-oauth2 pads, although RFC 7515 does not. Google takes both.
        let claims = assertion.split('.').nth(1).unwrap().trim_end_matches('=');
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["sub"], "anna@corp.example");
        assert_eq!(claims["scope"], CALENDAR_SCOPES.join(" "));
        assert_eq!(claims["aud"], stand.url().join("/token").unwrap().as_str());
        assert!(!format!("{account:?}").contains("PRIVATE"));
    }

    #[tokio::test]
    async fn refusals_and_troubles_are_told_apart() {
        let refused = |code: &str| Canned::json(400, json!({ "error": code, "error_description": "anna" }));
        let html = Canned::new(503, Bytes::from_static(b"<html>anna</html>"));
        let answers = [refused("invalid_grant"), refused("unauthorized_client"), html, Canned::hang_up()];
        let stand = Stand::answering(answers).await;
        let account = account_at(&stand, Limits::default()).await;
        for expected in ["needs_reconnect", "misconfigured", "unavailable", "unavailable"] {
            let error = account.access_token("anna@corp.example").await.unwrap_err();
            assert_eq!(error.outcome_label(), expected);
            assert!(!format!("{error:?}").contains("anna"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn the_deadline_holds_here_too() {
        let stand = Stand::answering([Canned::stalling()]).await;
        let limits = Limits { request: Duration::from_millis(200), ..Limits::default() };
        let error = account_at(&stand, limits).await.access_token("anna@corp.example").await.unwrap_err();
        assert_eq!(error.outcome_label(), "unavailable");
    }

    #[tokio::test]
    async fn an_unusable_key_is_refused_when_it_is_loaded() {
        let stand = Stand::answering([]).await;
        let mut no_key: Value = serde_json::from_str(key_at("http://127.0.0.1/token").expose_secret()).unwrap();
        no_key["private_key"] = json!("-----BEGIN PRIVATE KEY-----");
        for key in [SecretString::from("{}"), key_at("/token"), key_at(""), no_key.to_string().into()] {
            let refused = ServiceAccount::load(&key, transport_at(stand.url(), Limits::default())).await.unwrap_err();
            assert!(matches!(refused, TokenError::Misconfigured(_)), "{refused:?}");
        }
    }
}
