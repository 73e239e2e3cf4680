//! `slotd doctor` beside a running daemon, and where there is none.

use serde_json::{Value, json};
use slotd::store::Sql;

use super::{
    installation::{Installation, OWNER},
    salon::{Salon, text, tomorrow},
    wait_for,
};
use crate::harness::{Home, on_both_engines};

/// Runs it for scripts: the exit code, and what it found.
fn doctor(installation: &Installation) -> (i32, Value) {
    let output = installation.command(&["doctor", "--json"]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Everything that is not well, as `about: found`.
fn complaints(found: &Value) -> Vec<String> {
    let findings = found["findings"].as_array().unwrap().iter();
    let bad = findings.filter(|finding| finding["level"] != "ok");
    bad.inspect(|finding| assert!(finding["what_to_do"].is_string(), "{finding}"))
        .map(|finding| format!("{}: {}", finding["about"].as_str().unwrap(), finding["found"].as_str().unwrap()))
        .collect()
}

on_both_engines! {
    async fn the_doctor_finds_health_and_drift_and_a_lost_grant(home: Home) {
        let mut installation = Installation::new(home).await;
        // Nobody listens there. Google's channel lives all the same.
        installation.set("SLOTD_GOOGLE__PUSH_URL", "https://127.0.0.1:1/api/v1/webhooks/google-calendar");
        let daemon = installation.start().await;
        let (start, end) = (tomorrow(), tomorrow() + chrono::TimeDelta::minutes(45));
        let event = json!({ "summary": "Dentist", "start": { "dateTime": text(start) }, "end": { "dateTime": text(end) } });
        let salon = Salon::open(&installation, &daemon, vec![event]).await;
        salon.connect(&daemon).await;
        let status = || salon.calendar(&daemon.api);
        wait_for("it is mirrored and watched", || async { status().await["watched_until"].is_string().then_some(()) }).await;
        wait_for("it is mirrored", || async { salon.is_mirrored(&daemon.api).await.then_some(()) }).await;
        let audit = async || {
            let before = status().await["audit"]["at"].clone();
            daemon.api.post(&format!("/api/v1/settings/{}/calendar/audit", salon.id()), &Value::Null).await;
            wait_for("an audit ends", || async { Some(status().await).filter(|known| known["audit"]["at"] != before) }).await
        };
        audit().await;
        let output = installation.command(&["audit"]).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && told.starts_with("equal ") && told.ends_with(": 1 events compared\n"), "{told}");

        let (code, found) = doctor(&installation);
        assert_eq!((code, &found["result"], complaints(&found)), (0, &json!("ok"), Vec::new()), "{found:#}");
        let plain = installation.command(&["doctor"]).output().unwrap();
        let plain = String::from_utf8(plain.stdout).unwrap();
        assert!(plain.ends_with("All is well.\n") && plain.contains("found equal"), "{plain}");

        // A slot is gone, and its healing has to wait.
        let raw = installation.home.raw(1).await;
        for sql in ["DELETE FROM busy_slot", "UPDATE audit_plan SET heal_after = 9000000000000000"] {
            assert_eq!(raw.execute(sql).await.unwrap(), 1);
        }
        let output = installation.command(&["audit", "--json"]).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let calendar = status().await["id"].as_str().unwrap().to_owned();
        let audits = told["audits"].as_array().unwrap();
        assert_eq!((output.status.code(), audits.len(), &told["waiting"]), (Some(2), 1, &json!([])), "{told}");
        assert_eq!((&audits[0]["calendar"], &audits[0]["drift_s"]["missing"]), (&json!(calendar), &json!(2_700)), "{told}");
        let (code, found) = doctor(&installation);
        let said = complaints(&found);
        assert_eq!((code, &found["result"], said.len()), (2, &json!("failure"), 1), "{found:#}");
        assert!(said[0].starts_with(&format!("calendar {calendar}: ")), "{said:?}");
        assert!(said[0].contains("found 2700 s busy at Google and free here"), "{said:?}");

        let revoke = format!("{}/sandbox/revoke", installation.google.root());
        installation.google_client().post(&revoke, &json!({ "user": OWNER })).await;
        daemon.api.post(&format!("/api/v1/settings/{}/calendar/sync", salon.id()), &Value::Null).await;
        wait_for("the grant is found to be gone", || async {
            let rows = raw.count("SELECT COUNT(*) FROM account WHERE status = 'needs_reconnect'").await;
            (rows == 1).then_some(())
        })
        .await;
        let (code, found) = doctor(&installation);
        assert_eq!((code, complaints(&found).len()), (2, 1), "{found:#}");
        assert!(complaints(&found)[0].contains("needs to be connected again"), "{found:#}");
        let plain = installation.command(&["doctor"]).output().unwrap();
        let plain = String::from_utf8(plain.stdout).unwrap();
        assert!(plain.contains("\n         → Send the owner a new link"), "{plain}");
        for secret in [OWNER, "Salon", "Dentist", "slotd_"] {
            assert!(!plain.contains(secret) && !found.to_string().contains(secret), "{secret} in {plain}");
        }
        assert!(plain.contains("(o…@example.com)"), "{plain}");
        daemon.kill();
    }

    async fn a_database_of_another_version_or_with_other_keys_is_named(home: Home) {
        let mut installation = Installation::new(home).await;
        let daemon = installation.start().await;
        let business = json!({ "name": "Salon Aurora", "time_zone": "Europe/Berlin" });
        daemon.api.post("/api/v1/businesses", &business).await;
        daemon.kill();
        let raw = installation.home.raw(1).await;
        let newest: Vec<(i64,)> = raw.rows(Sql::same("SELECT MAX(version) FROM _sqlx_migrations")).await;
        let rename = |from: i64, to: i64| format!("UPDATE _sqlx_migrations SET version = {to} WHERE version = {from}");
        raw.execute(&rename(newest[0].0, 9_999)).await.unwrap();
        let (code, found) = doctor(&installation);
        assert!(code == 2 && found.to_string().contains("written by a newer slotd"), "{found:#}");
        raw.execute("DELETE FROM _sqlx_migrations WHERE version = 9999").await.unwrap();
        let (code, found) = doctor(&installation);
        assert!(code == 2 && found.to_string().contains("1 migrations are missing"), "{found:#}");
        assert_eq!(raw.count("SELECT COUNT(*) FROM _sqlx_migrations WHERE version > 9000").await, 0);

        let other = installation.path("other-keys").display().to_string();
        assert!(installation.command(&["encryption-key", "generate", &other]).status().unwrap().success());
        raw.execute(&format!("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT {}, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1", newest[0].0))
            .await
            .unwrap();
        installation.set("SLOTD_KEYS__FILE", &other);
        let (code, found) = doctor(&installation);
        assert!(code == 2 && complaints(&found).iter().any(|said| said.starts_with("keys: ")), "{found:#}");
        installation.set("SLOTD_KEYS__FILE", "/nowhere/keys");
        let (code, found) = doctor(&installation);
        assert!(code == 2 && complaints(&found).iter().any(|said| said.starts_with("keys: /nowhere/keys")), "{found:#}");
    }
}

#[tokio::test]
async fn the_doctor_makes_no_database_and_needs_no_google() {
    let mut installation = Installation::new(Home::sqlite().await).await;
    let nothing = installation.path("nothing.db");
    installation.set("SLOTD_DATABASE__URL", format!("sqlite:{}", nothing.display()));
    installation.set("SLOTD_GOOGLE__API_BASE_URL", "http://127.0.0.1:1/calendar/v3");
    installation.set("SLOTD_GOOGLE__CLIENT_SECRET_FILE", "/nowhere/secret");
    let (code, found) = doctor(&installation);
    let about: Vec<String> =
        complaints(&found).iter().map(|said| said.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        (code, about),
        (2, ["push", "OAuth client", "Google", "database"].map(str::to_owned).to_vec()),
        "{found:#}"
    );
    assert!(!nothing.exists());
}
