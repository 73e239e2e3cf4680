//! What commands print for people and scripts.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands talk to people")]

/// A line of the answer.
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// A line about what went wrong.
pub(super) fn complain(line: &str) {
    eprintln!("slotd: {line}");
}
