//! The token, revocation and userinfo endpoints.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::grants::{Challenge, GrantEnd};
use super::identity::{Subject, claims, id_token};
use crate::api::{Call, Query};
use crate::clock;
use crate::faults::Effect;
use crate::model::SERVICE_ACCOUNTS;
use crate::refusal::Refusal;

/// Lengths that RFC 7636 §4.1 allows for a code verifier.
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// The audience of assertions that are meant for Google.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// An error in the form of RFC 6749 §5.2.
struct Denied {
    status: StatusCode,
    error: String,
    description: &'static str,
    subtype: Option<&'static str>,
}

impl Denied {
    fn new(error: &str, description: &'static str) -> Self {
        let status = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        Self { status, error: error.to_owned(), description, subtype: None }
    }

    /// The refusal of a refresh token that has ended.
    fn ended(why: GrantEnd) -> Self {
        match why {
            GrantEnd::Revoked => Self::new("invalid_grant", "Token has been expired or revoked."),
            GrantEnd::Session => {
                let subtype = Some("invalid_rapt");
                Self { subtype, ..Self::new("invalid_grant", "reauth related error (invalid_rapt)") }
            }
            GrantEnd::Policy => Self::new("admin_policy_enforced", "Access to your account data is restricted."),
            GrantEnd::Account => Self::new("invalid_grant", "Bad Request"),
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error, "error_description": self.description });
        if let Some(subtype) = self.subtype {
            body["error_subtype"] = json!(subtype);
        }
        (self.status, Json(body)).into_response()
    }
}

/// `POST /token`.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape; OAuth has its own errors")]
pub(crate) fn token(call: &Call) -> Result<Response, Refusal> {
    let form = Query::parse(&call.body);
    let answer = match form.get("grant_type") {
        Some("authorization_code") => exchange(call, &form),
        Some("refresh_token") => refresh(call, &form),
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => delegate(call, &form),
        Some(_) => Err(Denied::new("unsupported_grant_type", "Invalid grant_type.")),
        None => Err(Denied::new("invalid_request", "Required parameter is missing: grant_type")),
    };
    let mut response = match answer {
        Ok(body) => Json(body).into_response(),
        Err(denied) => denied.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The client's id and secret come in the form or in the Authorization header.
fn check_client(call: &Call, form: &Query) -> Result<(), Denied> {
    let basic = call.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Basic "));
    let basic = basic.and_then(|value| STANDARD.decode(value).ok()).and_then(|bytes| String::from_utf8(bytes).ok());
    let (id, secret) = match basic.as_deref().and_then(|text| text.split_once(':')) {
        Some(pair) => pair,
        None => (form.get("client_id").unwrap_or_default(), form.get("client_secret").unwrap_or_default()),
    };
    let client = call.state.grants().client.clone();
    let genuine: bool = client.client_secret.as_bytes().ct_eq(secret.as_bytes()).into();
    if id == client.client_id && genuine {
        Ok(())
    } else {
        Err(Denied::new("invalid_client", "The provided client secret is invalid."))
    }
}

fn exchange(call: &Call, form: &Query) -> Result<Value, Denied> {
    check_client(call, form)?;
    let malformed = || Denied::new("invalid_grant", "Malformed auth code.");
    let mut grants = call.state.grants();
    let code = form.get("code").and_then(|code| grants.take_code(code)).ok_or_else(malformed)?;
    if form.get("redirect_uri") != Some(code.redirect_uri.as_str()) {
        return Err(Denied::new("redirect_uri_mismatch", "Bad Request"));
    }
    let proven = match (&code.challenge, form.get("code_verifier")) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) if VERIFIER_LENGTHS.contains(&verifier.len()) => match challenge {
            Challenge::S256(hash) => *hash == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
            Challenge::Plain(text) => text == verifier,
        },
        _ => false,
    };
    if !proven {
        return Err(Denied::new("invalid_grant", "Invalid code verifier."));
    }
    let access = grants.add_access(&code.user, &code.scopes);
    let mut body = bearer(&access, grants.access_ttl, &code.scopes);
    if let Some(Effect::ShortToken { ms }) = call.effect {
        grants.shorten(&access, std::time::Duration::from_millis(ms));
    }
    if let Some(refresh) = grants.add_refresh(&code) {
        body["refresh_token"] = json!(refresh);
        if let Some(ttl) = grants.refresh_ttl {
            body["refresh_token_expires_in"] = json!(ttl.as_secs());
        }
    }
    let client_id = grants.client.client_id.clone();
    drop(grants);
    let (nonce, scopes) = (code.nonce.as_deref(), code.scopes.as_slice());
    let subject = Subject { client_id: &client_id, access_token: &access, nonce, scopes };
    if let Some(token) = id_token(call, &code.user, &subject) {
        body["id_token"] = json!(token);
    }
    Ok(body)
}

fn refresh(call: &Call, form: &Query) -> Result<Value, Denied> {
    check_client(call, form)?;
    let token = form.get("refresh_token").unwrap_or_default();
    let known = call.state.grants().refresh(token).cloned();
    let known = known.ok_or_else(|| Denied::ended(GrantEnd::Revoked))?;
    if let Some(why) = known.ended {
        return Err(Denied::ended(why));
    }
    let mut grants = call.state.grants();
    let access = grants.add_access(&known.user, &known.scopes);
    let mut body = bearer(&access, grants.access_ttl, &known.scopes);
    if let Some(Effect::ShortToken { ms }) = call.effect {
        grants.shorten(&access, std::time::Duration::from_millis(ms));
    }
    if call.effect == Some(Effect::RotateRefreshToken) {
        body["refresh_token"] = json!(grants.rotate(token));
    }
    let client_id = grants.client.client_id.clone();
    drop(grants);
    let subject = Subject { client_id: &client_id, access_token: &access, nonce: None, scopes: &known.scopes };
    if let Some(token) = id_token(call, &known.user, &subject) {
        body["id_token"] = json!(token);
    }
    Ok(body)
}

/// A service account: for a user of its domain, or without `sub` for itself, with an empty calendar of its own. The
/// signature is not looked at: the stand-in knows no keys of others.
fn delegate(call: &Call, form: &Query) -> Result<Value, Denied> {
    let invalid = || Denied::new("invalid_grant", "Invalid JWT.");
    let assertion = form.get("assertion").ok_or_else(invalid)?;
    let payload = assertion.split('.').nth(1).ok_or_else(invalid)?;
    let claims: Value =
        URL_SAFE_NO_PAD.decode(payload).ok().and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(invalid)?;
    let (issued, expires) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let timely =
        matches!((issued, expires), (Some(iat), Some(exp)) if exp > clock::now().timestamp() && exp - iat <= 3600);
    let meant =
        claims["aud"].as_str().is_some_and(|aud| aud == TOKEN_URL || aud == format!("{}/token", call.state.root()));
    let account = claims["iss"].as_str().filter(|account| !account.is_empty()).ok_or_else(invalid)?;
    if !timely || !meant {
        return Err(invalid());
    }
    let scopes: Vec<String> =
        claims["scope"].as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let user = match claims["sub"].as_str() {
        Some(user) => call.state.model().users.contains_key(user).then_some(user),
        None => account.ends_with(SERVICE_ACCOUNTS).then(|| {
            call.state.model().add_user(account, account);
            account
        }),
    };
    let user = user.ok_or_else(|| {
        Denied::new("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method.")
    })?;
    let mut grants = call.state.grants();
    let access = grants.add_access(user, &scopes);
    grants.charge(&access, claims["iss"].as_str().unwrap_or_default());
    let mut body = bearer(&access, grants.access_ttl, &scopes);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("scope");
    }
    Ok(body)
}

fn bearer(access: &str, ttl: std::time::Duration, scopes: &[String]) -> Value {
    json!({
        "access_token": access,
        "expires_in": ttl.as_secs().saturating_sub(1).max(1),
        "scope": scopes.join(" "),
        "token_type": "Bearer",
    })
}

/// `POST /revoke`: ends the grant behind an access or refresh token, and everything else of that user.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape; OAuth has its own errors")]
pub(crate) fn revoke(call: &Call) -> Result<Response, Refusal> {
    let form = Query::parse(&call.body);
    let token = form.get("token").or_else(|| call.query.get("token")).unwrap_or_default();
    let user = call.state.grants().revoke(token);
    Ok(match user {
        Some(user) => {
            call.state.channels.stop_all_of(&user);
            Json(json!({})).into_response()
        }
        None => Denied::new("invalid_token", "Token expired or revoked").into_response(),
    })
}

/// `GET /v1/userinfo`: who the token's user is, as far as its scopes tell.
pub(crate) fn userinfo(call: &Call) -> Result<Response, Refusal> {
    let token = call.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let scopes = call.state.grants().access(token).map(|access| access.scopes.clone()).unwrap_or_default();
    let claims = claims(call, call.user(), &scopes).ok_or_else(Refusal::invalid_credentials)?;
    Ok(Json(claims).into_response())
}
