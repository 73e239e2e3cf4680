//! Typed settings: one TOML file, overridden by the environment, with every default in the code.
//!
//! Secrets never stand in the settings. A setting that ends in `_file` names the file that holds one, and systemd's
//! credentials are found without being named: `keys`, `google_client_secret`, `database_url`,
//! `smtp_password` and `support_post_secret`.

mod check;
mod error;
mod load;
mod sections;
mod types;

use serde::{Deserialize, Serialize};

pub use error::{ConfigError, Origin};
pub use load::{Sources, read_secret};
pub use sections::{
    Booking, Calls, Database, Google, Http, Jobs, Keys, Log, LogFormat, Metrics, Notify, Outbox, SmtpSecurity, Support,
    Sync,
};
pub use types::{CronExpression, DatabaseUrl, LinkPattern};

/// All settings of one process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is stored.
    pub database: Database,
    /// The public listener.
    pub http: Http,
    /// The listener for Prometheus.
    pub metrics: Metrics,
    /// The encryption keys.
    pub keys: Keys,
    /// Google's endpoints, the OAuth client and quotas.
    pub google: Google,
    /// Mirroring of calendars.
    pub sync: Sync,
    /// Taking bookings.
    pub booking: Booking,
    /// Telling running calls what changes.
    pub calls: Calls,
    /// Deliveries to the outside.
    pub outbox: Outbox,
    /// Notices to the businesses' own programs.
    pub notify: Notify,
    /// Where the operator is told what needs a person.
    pub support: Support,
    /// When maintenance runs.
    pub jobs: Jobs,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// The settings as TOML, without secrets, for the operator to read.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are plain tables")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../config/slotd.toml");

    fn keys(table: &toml::Table) -> Vec<String> {
        table
            .iter()
            .flat_map(|(section, keys)| keys.as_table().unwrap().keys().map(move |key| format!("{section}.{key}")))
            .collect()
    }

    /// The sample is the documentation, so it must parse and say what the code does.
    #[test]
    fn the_shipped_sample_is_the_defaults() {
        assert_eq!(toml::from_str::<Config>(SAMPLE).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_sample_shows_every_setting() {
        // Settings without a default stand there as `#key = example`.
        let uncomment = |line: &'static str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            _ => line,
        };
        let full = SAMPLE.lines().map(uncomment).collect::<Vec<_>>().join("\n");
        let config: Config = toml::from_str(&full).unwrap();
        config.check().unwrap();
        let (mut shown, mut known) = (keys(&full.parse().unwrap()), keys(&config.to_toml().parse().unwrap()));
        shown.sort();
        known.sort();
        assert_eq!(shown, known);
    }

    #[test]
    fn the_defaults_are_within_their_limits() {
        Config::default().check().unwrap();
    }
}
