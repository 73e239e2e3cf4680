//! The commands.

/// Runs the command line and tells the process how it went.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
