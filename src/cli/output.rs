//! What commands print for people and scripts.

use std::io::{self, Write};

/// A line of the answer. Whoever reads it may have enough of it and be gone, as `head` does: that is no failure.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line about what went wrong.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "slotd: {line}");
}
