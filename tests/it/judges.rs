//! Judges that share no code with slotd: an expander of recurring events in Python, Google's own clients, and Google's
//! discovery document.

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use slotd_sandbox::{Effect, Options};

use crate::{
    harness::Db,
    stage::{Stage, at, event, eventually, id, text, times},
};

/// Runs a script of this checkout, which has to be content.
fn run(script: &str, arguments: &[String], environment: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(path).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{said}", output.status);
    said
}

#[test]
fn exported_calendars_are_busy_exactly_when_the_independent_expander_says_so() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/fixtures");
    let files = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "ics"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(files.len() >= 5);
    let command = ["compare.py", "--binary", env!("CARGO_BIN_EXE_slotd")].map(str::to_owned);
    let said = run("tools/oracle/run", &[command.as_slice(), &files].concat(), &[]);
    assert_eq!(said.matches(": equal").count(), files.len(), "{said}");
}

#[test]
fn googles_own_clients_find_in_the_stand_in_what_they_find_at_google() {
    let said = run("sandbox/clients/run.sh", &[], &[("SLOTD", env!("CARGO_BIN_EXE_slotd"))]);
    for client in ["google-api-python-client: ", "@googleapis/calendar: "] {
        assert!(said.contains(client), "{said}");
    }
}

#[test]
fn the_stand_in_answers_as_the_discovery_document_says_and_its_judge_finds_what_does_not() {
    let said = run("sandbox/clients/judge.sh", &[], &[("SLOTD", env!("CARGO_BIN_EXE_slotd"))]);
    for judge in ["tour: ", "discovery document: ", "the judge finds each of "] {
        assert!(said.contains(judge), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slotd_asks_google_only_for_what_the_discovery_document_knows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exchanges.jsonl");
    // Nothing is refused for being unknown, so that the document alone decides.
    let options = Options { strict: false, record: Some(file.clone()), ..Options::default() };
    let mut weekly = event("Weekly", at(1, 9, 0), 60);
    for end in ["start", "end"] {
        weekly[end]["timeZone"] = json!("Europe/Berlin");
    }
    weekly["recurrence"] = json!(["RRULE:FREQ=WEEKLY;COUNT=5"]);
    let stage = Stage::before(options, Db::sqlite().await, vec![event("Old", at(3, 9, 0), 60), weekly], |_| {}).await;

    // Everything that slotd writes: insert, patch of times and of texts, delete.
    let first = stage.book_and_write(at(2, 10, 0)).await;
    let path = stage.at(&format!("/bookings/{}", id(&first)));
    stage.api.patch(&path, &json!({ "start": text(at(2, 15, 0)) })).await.ok();
    stage.synced(&first).await;
    stage.api.patch(&path, &json!({ "customer": { "name": "Ada King" }, "notes": "" })).await.ok();
    stage.synced(&first).await;
    stage.api.post(&format!("{path}/cancel"), &json!({})).await.ok();
    let second = stage.book_and_write(at(2, 12, 0)).await;
    // An answer that is lost, an owner who edits, a token that ends, a grant that ends.
    stage.google.strike("calendar.events.insert", Effect::ResetAfter);
    stage.book_and_write(at(2, 16, 0)).await;
    stage.google.patch(second["event_id"].as_str().unwrap(), &times(at(4, 12, 0), 30)).await;
    stage.booking_becomes(&id(&second), "it moves", |booking| booking["start"] == text(at(4, 12, 0))).await;
    stage.google.strike("calendar.events.list", Effect::refuse(410, "calendar", "fullSyncRequired"));
    stage.google.insert(&event("New", at(5, 9, 0), 60)).await;
    stage.expect_free(at(5, 9, 0), 60, false).await;
    stage.google.strike("calendar.events.list", Effect::refuse(401, "global", "authError"));
    stage.google.insert(&event("Newer", at(6, 9, 0), 60)).await;
    stage.expect_free(at(6, 9, 0), 60, false).await;

    let recorded = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let wanted = [
        "calendar.calendarList.list",
        "calendar.events.delete",
        "calendar.events.get",
        "calendar.events.insert",
        "calendar.events.list",
        "calendar.events.patch",
        "calendar.events.watch",
        "oauth2.token",
    ];
    eventually("slotd has asked for everything that it asks for", async || {
        let exchanges = recorded();
        wanted.iter().all(|method| exchanges.iter().any(|one| one["method"] == *method)).then_some(())
    })
    .await;
    let said = run("sandbox/clients/judge.sh", &[file.display().to_string()], &[]);
    assert!(said.contains("discovery document: "), "{said}");
}
