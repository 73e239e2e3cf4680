use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slotd_sandbox::Options;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::harness::{ANNA, Answer, Google};

const BACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-in-all";
const SCOPES: &str = "openid email https://www.googleapis.com/auth/calendar.events";

async fn approving() -> Google {
    Google::with(Options { auto_approve: true, ..Options::default() }, Vec::new()).await
}

fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn request(google: &Google, more: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let client = google.sandbox.client();
    let mut pairs = vec![
        ("client_id", client.client_id.as_str()),
        ("redirect_uri", BACK),
        ("response_type", "code"),
        ("scope", SCOPES),
        ("state", "xyz"),
        ("access_type", "offline"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
    pairs.extend(more);
    form(&pairs)
}

/// The parameters that the browser is sent back with.
fn sent_back(answer: &Answer) -> Value {
    assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(&answer.bytes));
    let url = Url::parse(answer.header("location")).unwrap();
    assert!(url.as_str().starts_with(BACK));
    url.query_pairs().map(|(name, value)| (name.into_owned(), json!(value))).collect()
}

pub(crate) async fn authorize(google: &Google, more: &[(&str, &str)]) -> Value {
    let path = format!("/o/oauth2/v2/auth?{}", request(google, more));
    sent_back(&google.try_send(Method::GET, &path, &[], "").await.unwrap())
}

pub(crate) async fn post(google: &Google, path: &str, pairs: &[(&str, &str)]) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    google.try_send(Method::POST, path, &headers, &form(pairs)).await.unwrap()
}

pub(crate) async fn exchange(google: &Google, code: &str, more: &[(&str, &str)]) -> Answer {
    let client = google.sandbox.client();
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", &client.client_id),
        ("client_secret", &client.client_secret),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
    pairs.extend(more);
    post(google, "/token", &pairs).await
}

pub(crate) async fn refresh(google: &Google, token: &str) -> Answer {
    let client = google.sandbox.client();
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", &client.client_id),
        ("client_secret", &client.client_secret),
    ];
    post(google, "/token", &pairs).await
}

async fn status_with(google: &Google, path: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    google.try_send(Method::GET, path, &[("authorization", &bearer)], "").await.unwrap().status
}

const EVENTS: &str = "/calendar/v3/calendars/primary/events";

#[tokio::test]
async fn a_code_is_exchanged_once_and_its_tokens_open_what_was_granted() {
    let google = approving().await;
    let back = authorize(&google, &[("login_hint", ANNA)]).await;
    assert_eq!(back["state"], "xyz");
    assert!(back["scope"].as_str().unwrap().contains("https://www.googleapis.com/auth/userinfo.email"));
    let code = back["code"].as_str().unwrap();
    let tokens = exchange(&google, code, &[]).await.ok();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3599)));
    assert_eq!(exchange(&google, code, &[]).await.json()["error"], "invalid_grant");

    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(status_with(&google, EVENTS, access).await, 200);
    let bearer = format!("Bearer {access}");
    let refused = google
        .try_send(Method::GET, "/calendar/v3/users/me/calendarList", &[("authorization", &bearer)], "")
        .await
        .unwrap();
    assert_eq!(refused.refusal(), (403, "insufficientPermissions".into()));
    assert_eq!(refused.json()["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    let info = google.try_send(Method::GET, "/v1/userinfo", &[("authorization", &bearer)], "").await.unwrap().ok();
    assert_eq!((&info["email"], &info["email_verified"], info.get("name")), (&json!(ANNA), &json!(true), None));

    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let renewed = refresh(&google, refresh_token).await.ok();
    assert!(renewed.get("refresh_token").is_none());
    assert_eq!(status_with(&google, EVENTS, renewed["access_token"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn a_refresh_token_comes_with_the_first_offline_consent_or_when_asked_again() {
    let google = approving().await;
    for (more, wanted) in
        [(vec![("access_type", "online")], false), (vec![], false), (vec![("prompt", "consent")], true)]
    {
        let back = authorize(&google, &more).await;
        let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
        assert_eq!(tokens.get("refresh_token").is_some(), wanted, "{more:?}");
    }
}

#[tokio::test]
async fn an_exchange_needs_the_verifier_the_secret_and_the_same_address() {
    let google = approving().await;
    let other = "another-verifier-of-at-least-forty-three-characters";
    for (more, status, error) in [
        (("code_verifier", other), 400, "invalid_grant"),
        (("code_verifier", ""), 400, "invalid_grant"),
        (("client_secret", "guess"), 401, "invalid_client"),
        (("redirect_uri", "http://127.0.0.1:9/other"), 400, "redirect_uri_mismatch"),
        (("grant_type", "password"), 400, "unsupported_grant_type"),
    ] {
        let back = authorize(&google, &[]).await;
        let answer = exchange(&google, back["code"].as_str().unwrap(), &[more]).await;
        assert_eq!((answer.status, answer.json()["error"].clone()), (status, json!(error)), "{more:?}");
    }
}

#[tokio::test]
async fn the_consent_page_grants_what_is_ticked_or_denies() {
    let google = Google::start().await;
    let events = "https://www.googleapis.com/auth/calendar.events";
    let page =
        google.try_send(Method::GET, &format!("/o/oauth2/v2/auth?{}", request(&google, &[])), &[], "").await.unwrap();
    let html = String::from_utf8_lossy(&page.bytes).into_owned();
    assert_eq!(page.status, 200);
    assert!(html.contains(&format!("value=\"{events}\" checked")) && html.contains(ANNA));

    let decide = async |decision: &[(&str, &str)]| {
        let body = request(&google, decision);
        sent_back(&google.try_send(Method::POST, "/o/oauth2/v2/auth", &[], &body).await.unwrap())
    };
    assert_eq!(decide(&[("decision", "deny")]).await["error"], "access_denied");
    let nothing = decide(&[("decision", "allow"), ("account", ANNA)]).await;
    assert_eq!(nothing["scope"], "openid https://www.googleapis.com/auth/userinfo.email");
    let all = decide(&[("decision", "allow"), ("account", ANNA), ("granted", events)]).await;
    assert!(all["scope"].as_str().unwrap().contains(events));
}

#[tokio::test]
async fn wrong_authorization_requests_end_on_a_page_and_never_redirect() {
    let google = approving().await;
    for (more, status) in [
        (("client_id", "stranger"), 401),
        (("redirect_uri", "https://evil.example/"), 400),
        (("redirect_uri", "http://127.0.0.1.evil.example/"), 400),
        (("response_type", "token"), 400),
        (("code_challenge_method", "plain"), 400),
        (("login_hint", "nobody@example.com"), 400),
    ] {
        let path = format!("/o/oauth2/v2/auth?{}", request(&google, &[more]));
        let answer = google.try_send(Method::GET, &path, &[], "").await.unwrap();
        assert_eq!((answer.status, answer.header("location")), (status, ""), "{more:?}");
    }
}

#[tokio::test]
async fn revoking_any_token_ends_the_whole_grant() {
    let google = approving().await;
    let back = authorize(&google, &[]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    let (access, refresh_token) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert_eq!(post(&google, "/revoke", &[("token", access)]).await.status, 200);
    assert_eq!(status_with(&google, EVENTS, access).await, 401);
    let dead = refresh(&google, refresh_token).await;
    assert_eq!((dead.status, dead.json()["error"].clone()), (400, json!("invalid_grant")));
    assert_eq!(post(&google, "/revoke", &[("token", access)]).await.json()["error"], "invalid_token");
    // The next consent is a first one again.
    let back = authorize(&google, &[]).await;
    assert!(exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok().get("refresh_token").is_some());
}

#[tokio::test]
async fn access_tokens_end_and_refreshing_can_be_refused() {
    let options =
        Options { auto_approve: true, access_token_ttl: std::time::Duration::from_millis(1), ..Options::default() };
    let google = Google::with(options, Vec::new()).await;
    let back = authorize(&google, &[]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(status_with(&google, EVENTS, tokens["access_token"].as_str().unwrap()).await, 401);

    let token = tokens["refresh_token"].as_str().unwrap();
    let faults = google.sandbox.faults();
    faults.refuse_refresh(ANNA, 503, "temporarily_unavailable");
    assert_eq!(refresh(&google, token).await.status, 503);
    faults.clear();
    faults.refuse_refresh(ANNA, 400, "invalid_grant");
    assert_eq!(refresh(&google, token).await.json()["error"], "invalid_grant");
    faults.clear();
    assert_eq!(refresh(&google, token).await.status, 200);
}

#[tokio::test]
async fn a_service_account_acts_for_a_user_of_its_domain() {
    let google = Google::start().await;
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap())
        .timestamp();
    let assertion = |sub: &str| {
        let scope = "https://www.googleapis.com/auth/calendar.events";
        let claims = json!({ "iss": "robot@x", "scope": scope, "sub": sub, "iat": now, "exp": now + 3600 });
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let tokens = post(&google, "/token", &[grant, ("assertion", &assertion(ANNA))]).await.ok();
    assert_eq!(status_with(&google, EVENTS, tokens["access_token"].as_str().unwrap()).await, 200);
    let stranger = post(&google, "/token", &[grant, ("assertion", &assertion("x@other.example"))]).await;
    assert_eq!(stranger.json()["error"], "unauthorized_client");
}
