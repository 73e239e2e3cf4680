//! What cannot work is refused at the start, in one clear sentence.

use std::{fs, process::Command};

use hyper::Method;
use serde_json::json;

use super::installation::Installation;
use crate::harness::{Home, on_both_engines};

/// Runs a command that has to fail, and gives the one line that it says.
fn complaint(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said.trim_end().strip_prefix("slotd: ").unwrap().to_owned()
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let mut installation = Installation::new(Home::sqlite().await).await;
    let daemon = installation.start().await;
    let taken = daemon.api.root.strip_prefix("http://").unwrap().to_owned();
    installation.set("SLOTD_HTTP__BIND", &taken);
    let said = complaint(&mut installation.command(&["serve"]));
    assert_eq!(said, format!("cannot listen on http.bind = {taken}: Address already in use (os error 98)"));
    assert!(daemon.api.send(Method::GET, "/readyz", &[], None).await.is_some_and(|answer| answer.status == 200));
}

#[tokio::test]
async fn a_key_file_that_is_missing_is_named() {
    let mut installation = Installation::new(Home::sqlite().await).await;
    let missing = installation.path("no-such-keys").display().to_string();
    installation.set("SLOTD_KEYS__FILE", &missing);
    let said = complaint(&mut installation.command(&["serve"]));
    assert_eq!(said, format!("{missing}: No such file or directory (os error 2)"));
}

on_both_engines! {
    async fn keys_that_are_not_those_of_the_database_are_refused(home: Home) {
        let mut installation = Installation::new(home).await;
        let daemon = installation.start().await;
        let business = json!({ "name": "Salon Aurora", "time_zone": "Europe/Berlin" });
        daemon.api.post("/api/v1/businesses", &business).await;
        daemon.kill();
        let other = installation.path("other-keys").display().to_string();
        let made = installation.command(&["encryption-key", "generate", &other]).status().unwrap();
        assert!(made.success());
        installation.set("SLOTD_KEYS__FILE", &other);
        let said = complaint(&mut installation.command(&["serve"]));
        assert!(said.starts_with("cannot open the database: the encryption keys are not those of its data"), "{said}");
    }
}

#[tokio::test]
async fn a_setting_that_does_not_exist_is_named_with_its_file() {
    let installation = Installation::new(Home::sqlite().await).await;
    let file = installation.path("slotd.toml");
    fs::write(&file, "[sync]\nhorizon_dayz = 3\n").unwrap();
    let file = file.display().to_string();
    let said = complaint(&mut installation.command(&["--config", &file, "serve"]));
    assert_eq!(said, format!("{file}: there is no setting `sync.horizon_dayz`; did you mean `sync.horizon_days`?"));
}

/// TLS needs a provider of ciphers, which is chosen when the program starts; without one the first call would panic.
#[tokio::test]
async fn endpoints_behind_tls_that_do_not_answer_are_a_problem_and_no_panic() {
    let mut installation = Installation::new(Home::sqlite().await).await;
    for name in ["API_BASE_URL", "AUTH_URL", "TOKEN_URL", "REVOKE_URL", "USERINFO_URL"] {
        installation.set(&format!("SLOTD_GOOGLE__{name}"), "https://127.0.0.1:1/");
    }
    let daemon = installation.start().await;
    let api = daemon.api.clone();
    let made = api.post("/api/v1/businesses", &json!({ "name": "Salon Aurora", "time_zone": "Europe/Berlin" })).await;
    let body = json!({ "business_id": made["id"] });
    let started = api.send(Method::POST, "/api/v1/auth/google-calendar/start", &[], Some(&body)).await.unwrap();
    let location = url::Url::parse(started.header("location")).unwrap();
    let state = location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
    let back = format!("/api/v1/auth/google-calendar/callback?code=a&state={state}");
    let answer = api.send(Method::GET, &back, &[("cookie", &cookie)], None).await.unwrap();
    assert_eq!(answer.status, 502, "{:?}", answer.body);
    daemon.kill();
}
