//! What was found, for people and for programs.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::cli::output;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Ok,
    Warning,
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// `database`, or `calendar` and its id.
    pub(super) about: String,
    /// One sentence. Holds no secret and no name, phone number or whole e-mail address.
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) what_to_do: Option<String>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn ok(&mut self, about: impl Into<String>, found: impl Into<String>) {
        self.add(Level::Ok, about, found, None);
    }

    pub(super) fn warn(&mut self, about: impl Into<String>, found: impl Into<String>, what_to_do: &str) {
        self.add(Level::Warning, about, found, Some(what_to_do));
    }

    pub(super) fn fail(&mut self, about: impl Into<String>, found: impl Into<String>, what_to_do: &str) {
        self.add(Level::Failure, about, found, Some(what_to_do));
    }

    fn add(&mut self, level: Level, about: impl Into<String>, found: impl Into<String>, what_to_do: Option<&str>) {
        let what_to_do = what_to_do.map(str::to_owned);
        self.findings.push(Finding { level, about: about.into(), found: found.into(), what_to_do });
    }

    fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Prints it and gives the exit code: 0 when all is well, 1 with warnings, 2 with failures.
    pub(super) fn tell(&self, as_json: bool) -> ExitCode {
        if as_json {
            output::say(&json!({ "result": self.worst(), "findings": self.findings }).to_string());
        } else {
            for finding in &self.findings {
                let level = match finding.level {
                    Level::Ok => "ok     ",
                    Level::Warning => "warning",
                    Level::Failure => "FAILURE",
                };
                output::say(&format!("{level}  {}: {}", finding.about, finding.found));
                if let Some(what_to_do) = &finding.what_to_do {
                    output::say(&format!("         → {what_to_do}"));
                }
            }
            let (warnings, failures) = (self.count(Level::Warning), self.count(Level::Failure));
            output::say(&match (warnings, failures) {
                (0, 0) => "All is well.".to_owned(),
                _ => format!("Warnings: {warnings}. Failures: {failures}."),
            });
        }
        match self.worst() {
            Level::Ok => ExitCode::SUCCESS,
            Level::Warning => ExitCode::from(1),
            Level::Failure => ExitCode::from(2),
        }
    }
}
