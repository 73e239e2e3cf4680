//! Google's doors: the push webhook, and the consent that connects an account.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Json, Problem, Query, api::Api};
use crate::{
    auth::{Caller, Connect, ConnectError, Connected},
    domain::BusinessId,
    google::TokenError,
    store::api_keys::Scope,
    sync::Push,
};

/// The cookie that ties the browser which leaves for Google to the one that comes back.
const COOKIE: &str = "slotd_connect";
/// How long that cookie lives, in seconds: as long as the consent.
const COOKIE_S: u32 = 600;

/// Takes a push. Answers before anything is synced; whoever forges one learns nothing.
pub(super) async fn push(State(api): State<Api>, headers: HeaderMap) -> Result<StatusCode, Problem> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let push = Push {
        channel: value("x-goog-channel-id"),
        token: value("x-goog-channel-token"),
        state: value("x-goog-resource-state"),
        resource: value("x-goog-resource-id"),
    };
    // Google repeats a push after a 503, and none after a 2xx. An unknown channel is not worth repeating.
    let failed = |error: crate::store::Error| {
        tracing::warn!(%error, "cannot take a push");
        Problem::unavailable(1, "try again")
    };
    api.mirrors.take_push(push).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Body of `POST auth/google-calendar/start`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartBody {
    business_id: BusinessId,
    return_to: Option<String>,
}

/// Where the owner's browser goes.
#[derive(Debug, Serialize)]
struct StartedBody {
    authorization_url: String,
}

/// Begins to connect a Google account.
pub(super) async fn start(
    State(api): State<Api>,
    caller: Caller,
    Json(body): Json<StartBody>,
) -> Result<Response, Problem> {
    caller.at(body.business_id, Scope::Owner)?;
    let local = |path: &String| path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\n', '\r']);
    if body.return_to.as_ref().is_some_and(|path| !local(path)) {
        return Err(Problem::invalid("/return_to", "a path of this server is expected, beginning with one `/`"));
    }
    let started = connect(&api)?.start(body.business_id, body.return_to).await.map_err(|error| match error {
        ConnectError::NoBusiness => Problem::not_found("business"),
        other => Problem::internal(other),
    })?;
    let url = started.authorization_url.to_string();
    let secure = if api.public_url.scheme() == "https" { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={}; Path=/api/v1/auth/google-calendar; Max-Age={COOKIE_S}; HttpOnly; SameSite=Lax{secure}",
        started.browser
    );
    let mut response = (StatusCode::SEE_OTHER, Json(StartedBody { authorization_url: url.clone() })).into_response();
    for (name, value) in [(header::LOCATION, url), (header::SET_COOKIE, cookie)] {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).map_err(Problem::internal)?);
    }
    Ok(response)
}

fn connect(api: &Api) -> Result<&Connect, Problem> {
    let missing = || {
        Problem::conflict(
            "not_configured",
            "the operator has not set google.client_id and google.client_secret_file yet",
        )
    };
    api.connect.as_ref().ok_or_else(missing)
}

/// What Google sends back with the browser. Whatever else it adds is ignored.
#[derive(Debug, Deserialize)]
pub(super) struct CallbackQuery {
    state: Option<String>,
    code: Option<SecretString>,
    error: Option<String>,
}

/// The browser comes back from Google.
pub(super) async fn callback(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, Problem> {
    let connect = connect(&api)?;
    let Some(state) = query.state else { return Ok(page(StatusCode::BAD_REQUEST, EXPIRED.0, EXPIRED.1)) };
    if query.error.is_some() {
        connect.abandon(&state).await.map_err(Problem::internal)?;
        return Ok(page(StatusCode::OK, "Not connected", "Nothing was changed. Start again whenever you like."));
    }
    let Some(code) = query.code else { return Ok(page(StatusCode::BAD_REQUEST, EXPIRED.0, EXPIRED.1)) };
    let browser = cookie(&headers);
    match connect.finish(&state, &code, browser.as_deref(), false).await {
        Err(ConnectError::OtherBrowser { business }) => {
            use secrecy::ExposeSecret;
            Ok(confirm(&business, &state, code.expose_secret()))
        }
        outcome => told(&api, outcome),
    }
}

/// What the confirmation page sends.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmForm {
    state: String,
    code: SecretString,
}

/// A person said yes on the confirmation page.
pub(super) async fn confirmed(
    State(api): State<Api>,
    headers: HeaderMap,
    axum::Form(form): axum::Form<ConfirmForm>,
) -> Result<Response, Problem> {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if site.is_some_and(|site| site != "same-origin") {
        return Err(Problem::forbidden("this form is sent from its own page only"));
    }
    let outcome = connect(&api)?.finish(&form.state, &form.code, None, true).await;
    told(&api, outcome)
}

const EXPIRED: (&str, &str) =
    ("This link is used up", "It was used already, or is older than ten minutes. Start again and it will work.");

/// What came of it, in plain words.
fn told(api: &Api, outcome: Result<Connected, ConnectError>) -> Result<Response, Problem> {
    let connected = match outcome {
        Ok(connected) => connected,
        Err(error) => return refused(error),
    };
    api.mirrors.wake();
    if let Some(path) = &connected.return_to {
        let value = HeaderValue::from_str(path).map_err(Problem::internal)?;
        return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, value)]).into_response());
    }
    let next = match &connected.mirrored {
        Some(name) => format!("The calendar “{name}” is being read now; bookings go there."),
        None if connected.resumed > 0 => "Its calendars are read again now.".to_owned(),
        None => format!("{} calendars can be chosen now.", connected.calendars),
    };
    Ok(page(StatusCode::OK, "Google Calendar is connected", &format!("Account: {}. {next}", connected.email)))
}

fn refused(error: ConnectError) -> Result<Response, Problem> {
    let (status, title, text) = match error {
        ConnectError::Expired
        | ConnectError::OtherBrowser { .. }
        | ConnectError::Token(TokenError::NeedsReconnect { .. }) => (StatusCode::GONE, EXPIRED.0, EXPIRED.1),
        ConnectError::NoBusiness => return Err(Problem::not_found("business")),
        ConnectError::MissingScopes(_) => (
            StatusCode::FORBIDDEN,
            "Something is missing",
            "Please start again and leave both calendar permissions ticked: slotd has to see when you are busy and to \
             write bookings.",
        ),
        ConnectError::NoRefreshToken => (
            StatusCode::CONFLICT,
            "Google gave no lasting permission",
            "Remove slotd at myaccount.google.com/permissions and start again.",
        ),
        ConnectError::Token(TokenError::Unavailable { .. }) | ConnectError::Google(_) => (
            StatusCode::BAD_GATEWAY,
            "Google does not answer at the moment",
            "Nothing was lost. Please start again in a few minutes.",
        ),
        error @ (ConnectError::Token(TokenError::Misconfigured(_)) | ConnectError::Store(_)) => {
            return Err(Problem::internal(error));
        }
    };
    Ok(page(status, title, text))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

/// Asks a person, when the browser that comes back is not known to be the one that left.
fn confirm(business: &str, state: &str, code: &str) -> Response {
    let (business, state, code) = (escape(business), escape(state), escape(code));
    let body = format!(
        "<p>This connects the Google account that you just chose to the business <strong>{business}</strong>.</p>\
         <form method=\"post\"><input type=\"hidden\" name=\"state\" value=\"{state}\">\
         <input type=\"hidden\" name=\"code\" value=\"{code}\"><button>Connect to {business}</button></form>\
         <p>If you do not know this business, close this page.</p>"
    );
    shell(StatusCode::OK, "Connect Google Calendar?", &body)
}

fn page(status: StatusCode, title: &str, text: &str) -> Response {
    shell(status, title, &format!("<p>{}</p>", escape(text)))
}

fn shell(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}}\
         button{{font:inherit;padding:.6rem 1.2rem}}</style><h1>{title}</h1>{body}</html>"
    );
    let headers = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, Html(html)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
