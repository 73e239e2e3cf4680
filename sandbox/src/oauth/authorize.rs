//! The authorization endpoint and its consent page.

use std::fmt::Write as _;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use url::Url;

use super::grants::{Challenge, Code};
use crate::api::{Call, Query, SCOPE_PREFIX};
use crate::refusal::Refusal;
use crate::server::is_loopback;

/// Scopes that identify the user; they cannot be unticked.
const SIGN_IN: &[&str] = &["openid", "userinfo.email", "userinfo.profile"];
/// What the consent form carries over from the authorization request.
const CARRIED: &[&str] = &[
    "access_type",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "login_hint",
    "nonce",
    "prompt",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

/// An authorization request that may be put to the user.
struct Asked {
    redirect_uri: Url,
    /// The redirect address as given; the exchange must repeat it exactly.
    redirect_text: String,
    scopes: Vec<String>,
    state: Option<String>,
    challenge: Option<Challenge>,
    nonce: Option<String>,
    offline: bool,
    prompts: Vec<String>,
}

impl Asked {
    /// The error is a page for the user: nothing may be sent to an address that is not trusted.
    fn read(query: &Query, client_id: &str) -> Result<Self, Box<Response>> {
        let page = |code: u16, error: &str, text: &str| Box::new(error_page(code, error, text));
        if query.get("client_id") != Some(client_id) {
            return Err(page(401, "invalid_client", "The OAuth client was not found."));
        }
        let redirect_text = query.get("redirect_uri").unwrap_or_default();
        let redirect_uri = Url::parse(redirect_text).ok().filter(is_own);
        let redirect_uri = redirect_uri
            .ok_or_else(|| page(400, "redirect_uri_mismatch", "The redirect address must lie on this machine."))?;
        if query.get("response_type") != Some("code") {
            return Err(page(400, "invalid_request", "response_type must be code."));
        }
        let scopes: Vec<String> = query.get("scope").unwrap_or_default().split_whitespace().map(full_scope).collect();
        if scopes.is_empty() {
            return Err(page(400, "invalid_request", "Missing required parameter: scope"));
        }
        let challenge = match (query.get("code_challenge"), query.get("code_challenge_method")) {
            (None, _) => None,
            (Some(challenge), Some("S256")) => Some(Challenge::S256(challenge.to_owned())),
            (Some(challenge), None | Some("plain")) => Some(Challenge::Plain(challenge.to_owned())),
            (Some(_), _) => return Err(page(400, "invalid_request", "code_challenge_method must be S256 or plain.")),
        };
        Ok(Self {
            redirect_uri,
            redirect_text: redirect_text.to_owned(),
            scopes,
            state: query.get("state").map(str::to_owned),
            challenge,
            nonce: query.get("nonce").map(str::to_owned),
            offline: query.get("access_type") == Some("offline"),
            prompts: query.get("prompt").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// Back to the client with these parameters.
    fn redirect(&self, parameters: &[(&str, &str)]) -> Response {
        let mut url = self.redirect_uri.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        if let Some(state) = &self.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        let location = HeaderValue::from_str(url.as_str()).unwrap_or(HeaderValue::from_static("/"));
        (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
    }

    fn grant(&self, call: &Call, user: &str, scopes: Vec<String>) -> Response {
        if call.state.grants().is_barred(user) {
            let text = "Your organisation does not allow access to this app.";
            return error_page(400, "admin_policy_enforced", text);
        }
        let scope = scopes.join(" ");
        let code = Code {
            user: user.to_owned(),
            scopes,
            redirect_uri: self.redirect_text.clone(),
            challenge: self.challenge.clone(),
            nonce: self.nonce.clone(),
            offline: self.offline,
            asked_again: self.prompts.iter().any(|prompt| prompt == "consent"),
            expires: crate::clock::now(),
        };
        let code = call.state.grants().add_code(code);
        self.redirect(&[("code", &code), ("scope", &scope), ("authuser", "0"), ("prompt", "consent")])
    }
}

/// Codes go back to programs on this machine only.
fn is_own(url: &Url) -> bool {
    is_loopback(url) && matches!(url.scheme(), "http" | "https") && url.fragment().is_none()
}

/// Short names of the sign-in scopes come back long.
fn full_scope(scope: &str) -> String {
    match scope {
        "email" | "profile" => format!("{SCOPE_PREFIX}userinfo.{scope}"),
        other => other.to_owned(),
    }
}

fn is_sign_in(scope: &str) -> bool {
    SIGN_IN.contains(&scope.strip_prefix(SCOPE_PREFIX).unwrap_or(scope))
}

/// `GET /o/oauth2/v2/auth`: asks the user, or approves at once where the stand-in is set to.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape; OAuth has its own errors")]
pub(crate) fn authorize(call: &Call) -> Result<Response, Refusal> {
    let client_id = call.state.grants().client.client_id.clone();
    let asked = match Asked::read(&call.query, &client_id) {
        Ok(asked) => asked,
        Err(page) => return Ok(*page),
    };
    let hint = call.query.get("login_hint");
    let user = {
        let model = call.state.model();
        let hinted = hint.and_then(|hint| model.users.iter().find(|(email, user)| *email == hint || user.sub == hint));
        hinted.or_else(|| model.users.iter().next().filter(|_| hint.is_none())).map(|(email, _)| email.clone())
    };
    if asked.prompts.iter().any(|prompt| prompt == "none") {
        return Ok(match user.filter(|user| call.state.grants().has_consented(user)) {
            Some(user) => asked.grant(call, &user, asked.scopes.clone()),
            None => asked.redirect(&[("error", "interaction_required")]),
        });
    }
    if call.state.options.auto_approve {
        return Ok(match user {
            Some(user) => asked.grant(call, &user, asked.scopes.clone()),
            None => error_page(400, "invalid_request", "There is no such account here."),
        });
    }
    Ok(consent_page(call, &asked, user.as_deref()))
}

/// `POST /o/oauth2/v2/auth`: what the user decided on the consent page.
#[expect(clippy::unnecessary_wraps, reason = "all methods have this shape; OAuth has its own errors")]
pub(crate) fn consent(call: &Call) -> Result<Response, Refusal> {
    let form = Query::parse(&call.body);
    let client_id = call.state.grants().client.client_id.clone();
    let asked = match Asked::read(&form, &client_id) {
        Ok(asked) => asked,
        Err(page) => return Ok(*page),
    };
    if form.get("decision") != Some("allow") {
        return Ok(asked.redirect(&[("error", "access_denied")]));
    }
    let user = form.get("account").unwrap_or_default();
    if !call.state.model().users.contains_key(user) {
        return Ok(error_page(400, "invalid_request", "There is no such account here."));
    }
    let ticked: Vec<&str> = form.all("granted").collect();
    let scopes = asked.scopes.iter().filter(|scope| is_sign_in(scope) || ticked.contains(&scope.as_str()));
    let scopes = scopes.cloned().collect();
    Ok(asked.grant(call, user, scopes))
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:2rem auto;padding:0 1rem}\
    label{display:block;padding:.3rem 0}fieldset{border:1px solid #bbb;border-radius:.5rem;margin:0 0 1rem}\
    button{font:inherit;padding:.5rem 1.2rem;margin-right:.5rem}";

fn error_page(code: u16, error: &str, text: &str) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    let page = format!(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><title>Error {code}: {error}</title><style>{STYLE}</style>\
         <h1>Access blocked</h1><p>{text}<p>Error {code}: {error}"
    );
    (status, Html(page)).into_response()
}

fn consent_page(call: &Call, asked: &Asked, chosen: Option<&str>) -> Response {
    let mut page = format!(
        "<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>Sign in - Google stand-in</title><style>{STYLE}</style><h1>Give access to your calendars</h1>\
         <p>This is the stand-in for Google's consent page. Nothing leaves this machine.\
         <form method=post action=/o/oauth2/v2/auth><fieldset><legend>Account</legend>"
    );
    // Writing to a string cannot fail.
    for user in call.state.users() {
        let checked = if chosen == Some(user.email.as_str()) { " checked" } else { "" };
        let (email, name) = (escape(&user.email), escape(&user.name));
        let _ = write!(
            page,
            "<label><input type=radio name=account value=\"{email}\" required{checked}> {name} ({email})</label>"
        );
    }
    page.push_str("</fieldset><fieldset><legend>May</legend>");
    for scope in &asked.scopes {
        let (value, name) = (escape(scope), escape(scope.strip_prefix(SCOPE_PREFIX).unwrap_or(scope)));
        let locked = if is_sign_in(scope) { " disabled" } else { "" };
        let _ =
            write!(page, "<label><input type=checkbox name=granted value=\"{value}\" checked{locked}> {name}</label>");
    }
    page.push_str("</fieldset>");
    for name in CARRIED {
        if let Some(value) = call.query.get(name) {
            let _ = write!(page, "<input type=hidden name={name} value=\"{}\">", escape(value));
        }
    }
    page.push_str("<button name=decision value=allow>Allow</button><button name=decision value=deny formnovalidate>Deny</button></form>");
    Html(page).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
