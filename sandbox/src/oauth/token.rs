//! The token, revocation and userinfo endpoints.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::{Call, Query, SCOPE_PREFIX};
use crate::clock;
use crate::faults::Effect;
use crate::refusal::Refusal;

/// Lengths that RFC 7636 §4.1 allows for a code verifier.
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;

/// An error in the form of RFC 6749 §5.2.
struct Denied {
    status: StatusCode,
    error: String,
    description: &'static str,
}

impl Denied {
    fn new(error: &str, description: &'static str) -> Self {
        let status = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        Self { status, error: error.to_owned(), description }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
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
        (Some(challenge), Some(verifier)) if VERIFIER_LENGTHS.contains(&verifier.len()) => {
            *challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
        }
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
    }
    Ok(body)
}

fn refresh(call: &Call, form: &Query) -> Result<Value, Denied> {
    check_client(call, form)?;
    let known = form.get("refresh_token").and_then(|token| call.state.grants().refresh(token));
    let (user, scopes) = known.ok_or_else(|| Denied::new("invalid_grant", "Token has been expired or revoked."))?;
    let mut grants = call.state.grants();
    let access = grants.add_access(&user, &scopes);
    let mut body = bearer(&access, grants.access_ttl, &scopes);
    match call.effect {
        Some(Effect::ShortToken { ms }) => grants.shorten(&access, std::time::Duration::from_millis(ms)),
        Some(Effect::RotateRefreshToken) => {
            let new = form.get("refresh_token").and_then(|token| grants.rotate(token));
            body["refresh_token"] = json!(new);
        }
        _ => {}
    }
    Ok(body)
}

/// A service account that acts for a user of its domain. The signature is not looked at: the stand-in knows no keys.
fn delegate(call: &Call, form: &Query) -> Result<Value, Denied> {
    let invalid = || Denied::new("invalid_grant", "Invalid JWT.");
    let assertion = form.get("assertion").ok_or_else(invalid)?;
    let payload = assertion.split('.').nth(1).ok_or_else(invalid)?;
    let claims: Value =
        URL_SAFE_NO_PAD.decode(payload).ok().and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(invalid)?;
    let (issued, expires) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let timely =
        matches!((issued, expires), (Some(iat), Some(exp)) if exp > clock::now().timestamp() && exp - iat <= 3600);
    if !timely {
        return Err(invalid());
    }
    let scopes: Vec<String> =
        claims["scope"].as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let user = claims["sub"].as_str().filter(|user| call.state.model().users.contains_key(*user));
    let user = user.ok_or_else(|| {
        Denied::new("unauthorized_client", "Client is unauthorized to retrieve access tokens using this method.")
    })?;
    let mut grants = call.state.grants();
    let access = grants.add_access(user, &scopes);
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
    let granted = |scope: &str| scopes.iter().any(|known| known.strip_prefix(SCOPE_PREFIX) == Some(scope));
    let (sub, name) = {
        let model = call.state.model();
        let user = model.users.get(call.user()).ok_or_else(Refusal::invalid_credentials)?;
        (user.sub.clone(), user.name.clone())
    };
    let mut body = json!({ "sub": sub });
    if granted("userinfo.email") {
        body["email"] = json!(call.user());
        body["email_verified"] = json!(true);
    }
    if granted("userinfo.profile") {
        body["name"] = json!(name);
    }
    Ok(Json(body).into_response())
}
