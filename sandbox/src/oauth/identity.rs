//! Who a user is: id tokens, the keys that sign them, and where everything is.

use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::{Call, SCOPE_PREFIX};
use crate::clock;
use crate::model::digest;
use crate::refusal::Refusal;

/// What Google calls itself in id tokens; its own libraries insist on it.
const ISSUER: &str = "https://accounts.google.com";
/// Seconds that an id token is good for.
const LIFE_S: i64 = 3600;

/// A key that everybody may know: what it signs is a stand-in's.
static KEY: LazyLock<KeyPair> = LazyLock::new(|| {
    let text = include_str!("signing_key.pem");
    let text: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(text).expect("the key is compiled in");
    KeyPair::from_pkcs8(&der).expect("the key is compiled in")
});

/// Who the token is about, and to whom it is given.
pub(super) struct Subject<'a> {
    pub(super) client_id: &'a str,
    pub(super) access_token: &'a str,
    pub(super) nonce: Option<&'a str>,
    pub(super) scopes: &'a [String],
}

/// What the granted scopes tell about a user.
pub(super) fn claims(call: &Call, email: &str, scopes: &[String]) -> Option<Value> {
    let granted = |scope: &str| scopes.iter().any(|known| known.strip_prefix(SCOPE_PREFIX) == Some(scope));
    let model = call.state.model();
    let user = model.users.get(email)?;
    let mut claims = json!({ "sub": user.sub });
    if granted("userinfo.email") {
        claims["email"] = json!(email);
        claims["email_verified"] = json!(true);
    }
    if granted("userinfo.profile") {
        claims["name"] = json!(user.name);
    }
    Some(claims)
}

/// An id token, if the user was asked who it is.
pub(super) fn id_token(call: &Call, email: &str, subject: &Subject) -> Option<String> {
    if !subject.scopes.iter().any(|scope| scope == "openid") {
        return None;
    }
    let mut claims = claims(call, email, subject.scopes)?;
    let now = clock::now().timestamp();
    claims["iss"] = json!(ISSUER);
    claims["aud"] = json!(subject.client_id);
    claims["azp"] = json!(subject.client_id);
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + LIFE_S);
    claims["at_hash"] = json!(URL_SAFE_NO_PAD.encode(&Sha256::digest(subject.access_token)[..16]));
    if let Some(nonce) = subject.nonce {
        claims["nonce"] = json!(nonce);
    }
    let header = json!({ "alg": "RS256", "kid": key_id(), "typ": "JWT" });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; KEY.public().modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn public() -> PublicKeyComponents<Vec<u8>> {
    KEY.public().into()
}

fn key_id() -> String {
    digest(&[&URL_SAFE_NO_PAD.encode(public().n)])
}

/// `GET /oauth2/v3/certs`: the keys with which id tokens can be checked.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape")]
pub(crate) fn certs(_: &Call) -> Result<Response, Refusal> {
    let [n, e] = [public().n, public().e].map(|number| URL_SAFE_NO_PAD.encode(number));
    let key = json!({ "alg": "RS256", "e": e, "kid": key_id(), "kty": "RSA", "n": n, "use": "sig" });
    Ok(Json(json!({ "keys": [key] })).into_response())
}

/// `GET /.well-known/openid-configuration`: where everything is.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape")]
pub(crate) fn configuration(call: &Call) -> Result<Response, Refusal> {
    let at = |path: &str| format!("{}{path}", call.state.root());
    let configuration = json!({
        "issuer": ISSUER,
        "authorization_endpoint": at("/o/oauth2/v2/auth"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "userinfo_endpoint": at("/v1/userinfo"),
        "jwks_uri": at("/oauth2/v3/certs"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "name", "sub"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": [
            "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
    });
    Ok(Json(configuration).into_response())
}
