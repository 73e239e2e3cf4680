use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slotd_sandbox::{GrantEnd, Options};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::harness::{ANNA, Answer, Google, timed};

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
        (("code_challenge_method", "S512"), 400),
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
    let assertion = |changes: Value| {
        let scope = "https://www.googleapis.com/auth/calendar.events";
        let robot = "robot@project.iam.gserviceaccount.com";
        let aud = format!("{}/token", google.sandbox.root());
        let mut claims = json!({ "iss": robot, "aud": aud, "scope": scope, "iat": now, "exp": now + 3600 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let ask = async |changes: Value| post(&google, "/token", &[grant, ("assertion", &assertion(changes))]).await;
    let tokens = ask(json!({ "sub": ANNA })).await.ok();
    assert_eq!(status_with(&google, EVENTS, tokens["access_token"].as_str().unwrap()).await, 200);
    for (changes, error) in [
        (json!({ "sub": "x@other.example" }), "unauthorized_client"),
        (json!({ "aud": "https://elsewhere.example/token" }), "invalid_grant"),
        (json!({ "exp": now + 7200 }), "invalid_grant"),
        (json!({ "exp": now - 1 }), "invalid_grant"),
    ] {
        let answer = ask(changes.clone()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{changes}");
    }

    // For itself it has an empty calendar of its own, and may not invite.
    google.insert(timed("Cut", 4, 9)).await;
    let tokens = ask(json!({})).await.ok();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let own = google.try_send(Method::GET, EVENTS, &headers, "").await.unwrap().ok();
    assert_eq!((own["items"].as_array().unwrap().len(), &own["accessRole"]), (0, &json!("owner")));
    let mut party = timed("Party", 4, 9);
    party["attendees"] = json!([{ "email": ANNA }]);
    let refused = google.try_send(Method::POST, EVENTS, &headers, &party.to_string()).await.unwrap();
    assert_eq!(refused.refusal(), (403, "forbiddenForServiceAccounts".into()));
}

#[tokio::test]
async fn a_plain_challenge_is_met_by_the_same_text() {
    let google = approving().await;
    for (verifier, status) in [(VERIFIER, 200), ("another-verifier-of-at-least-forty-three-characters", 400)] {
        let more = [("code_challenge", VERIFIER), ("code_challenge_method", "plain")];
        let back = authorize(&google, &more).await;
        let answer = exchange(&google, back["code"].as_str().unwrap(), &[("code_verifier", verifier)]).await;
        assert_eq!(answer.status, status, "{verifier}");
    }
}

/// The parts of a token of three parts, the first two read.
fn parts(token: &str) -> (Value, Value, String, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let [header, claims] =
        [header, claims].map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap());
    (header, claims, signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

#[tokio::test]
async fn an_id_token_says_who_the_user_is_and_is_signed_with_the_published_key() {
    let google = approving().await;
    let back = authorize(&google, &[("nonce", "n-1")]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    let (header, claims, signed, signature) = parts(tokens["id_token"].as_str().unwrap());

    let get = async |path: &str| google.try_send(Method::GET, path, &[], "").await.unwrap().ok();
    let configuration = get("/.well-known/openid-configuration").await;
    let keys = configuration["jwks_uri"].as_str().unwrap().strip_prefix(&google.sandbox.root()).unwrap();
    let key = get(keys).await["keys"][0].clone();
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &key["kid"]));
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = ring::signature::RsaPublicKeyComponents { n: number("n"), e: number("e") };
    let scheme = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
    public.verify(scheme, signed.as_bytes(), &signature).unwrap();
    assert!(public.verify(scheme, b"something else", &signature).is_err());

    assert_eq!((&claims["iss"], &configuration["issuer"]), (&json!("https://accounts.google.com"), &claims["iss"]));
    assert_eq!((&claims["aud"], &claims["nonce"]), (&json!(google.sandbox.client().client_id), &json!("n-1")));
    assert_eq!((&claims["email"], &claims["email_verified"], claims.get("name")), (&json!(ANNA), &json!(true), None));
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let info = google.try_send(Method::GET, "/v1/userinfo", &[("authorization", &bearer)], "").await.unwrap().ok();
    assert_eq!(claims["sub"], info["sub"]);

    let renewed = refresh(&google, tokens["refresh_token"].as_str().unwrap()).await.ok();
    assert_eq!(parts(renewed["id_token"].as_str().unwrap()).1["sub"], info["sub"]);
    let events = "https://www.googleapis.com/auth/calendar.events";
    let back = authorize(&google, &[("scope", events)]).await;
    let nameless = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    assert!(nameless.get("id_token").is_none());
}

#[tokio::test]
async fn grants_end_in_each_way_that_google_knows() {
    let google = approving().await;
    let connect = async || {
        let back = authorize(&google, &[("prompt", "consent")]).await;
        let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
        ["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap().to_owned())
    };
    for (why, error, subtype) in [
        (GrantEnd::Revoked, "invalid_grant", Value::Null),
        (GrantEnd::Session, "invalid_grant", json!("invalid_rapt")),
        (GrantEnd::Account, "invalid_grant", Value::Null),
        (GrantEnd::Policy, "admin_policy_enforced", Value::Null),
    ] {
        let [access, token] = connect().await;
        google.sandbox.end_grants(ANNA, why);
        let answer = refresh(&google, &token).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{why:?}");
        assert_eq!(answer.json()["error_subtype"], subtype, "{why:?}");
        assert_eq!(status_with(&google, EVENTS, &access).await, 401, "{why:?}");
    }
    let path = format!("/o/oauth2/v2/auth?{}", request(&google, &[]));
    let page = google.try_send(Method::GET, &path, &[], "").await.unwrap();
    assert!(page.status == 400 && String::from_utf8_lossy(&page.bytes).contains("admin_policy_enforced"));
    let headers = [("content-type", "application/json")];
    let control = async |path: &str, body: &str| {
        google.try_send(Method::POST, &format!("/sandbox/users/{ANNA}/grants/{path}"), &headers, body).await.unwrap()
    };
    assert_eq!((control("admit", "").await.status, control("admit", "").await.status), (204, 404));
    let [_, token] = connect().await;
    assert_eq!(control("end", r#"{"why":"session"}"#).await.status, 204);
    assert_eq!(refresh(&google, &token).await.json()["error_subtype"], "invalid_rapt");
}

#[tokio::test]
async fn the_oldest_of_more_than_a_hundred_refresh_tokens_dies_silently() {
    let google = approving().await;
    let mut tokens = Vec::new();
    for _ in 0..101 {
        let back = authorize(&google, &[("prompt", "consent")]).await;
        let answer = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
        tokens.push(answer["refresh_token"].as_str().unwrap().to_owned());
    }
    assert_eq!(refresh(&google, &tokens[0]).await.json()["error"], "invalid_grant");
    for token in [&tokens[1], &tokens[100]] {
        assert_eq!(refresh(&google, token).await.status, 200);
    }
}

#[tokio::test]
async fn access_for_a_time_ends_by_itself() {
    let options = Options {
        auto_approve: true,
        refresh_token_ttl: Some(std::time::Duration::from_hours(2)),
        ..Options::default()
    };
    let google = Google::with(options.clone(), Vec::new()).await;
    let back = authorize(&google, &[]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    assert_eq!(tokens["refresh_token_expires_in"], 7200);
    assert_eq!(refresh(&google, tokens["refresh_token"].as_str().unwrap()).await.status, 200);

    let short = Options { refresh_token_ttl: Some(std::time::Duration::ZERO), ..options };
    let google = Google::with(short, Vec::new()).await;
    let back = authorize(&google, &[]).await;
    let tokens = exchange(&google, back["code"].as_str().unwrap(), &[]).await.ok();
    assert_eq!(refresh(&google, tokens["refresh_token"].as_str().unwrap()).await.json()["error"], "invalid_grant");
}
