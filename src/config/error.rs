//! What is wrong with the settings, said so that the operator can put it right.

use std::{fmt, io, path::PathBuf};

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// Built in: nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The settings file is not TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        message: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting `{key}`{}", suggestion.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
    Unknown {
        /// The key, with its section.
        key: String,
        /// The known key that is spelled most alike.
        suggestion: Option<String>,
        /// Who set it.
        origin: Origin,
    },
    /// A setting has a value that it cannot have.
    #[error("{origin}: `{key}` = {value}: {expected}")]
    Value {
        /// The key, with its section.
        key: String,
        /// The value, as TOML.
        value: String,
        /// What would be right.
        expected: String,
        /// Who set it.
        origin: Origin,
    },
    /// A file that should hold a secret holds none.
    #[error("{}: {expected}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What would be right.
        expected: &'static str,
    },
}
