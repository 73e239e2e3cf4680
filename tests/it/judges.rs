//! Judges that share no code with slotd: an expander of recurring events in Python, and Google's own clients.

use std::{path::Path, process::Command};

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
