//! Reading the settings from their sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::{Config, ConfigError, DatabaseUrl, Origin};

/// What an environment variable that overrides a setting begins with.
const PREFIX: &str = "SLOTD_";
/// Largest file with one secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Worst spelling for which a known key is suggested, as similarity from 0 to 1.
const SIMILAR_MIN: f64 = 0.5;

/// Where settings come from; later ones win: the defaults, `file`, `environment`.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The settings file. It must exist when it is named.
    pub file: Option<PathBuf>,
    /// The process's environment.
    ///
    /// `SLOTD_SECTION__KEY` overrides `key` of `[section]`, for example `SLOTD_HTTP__BIND=0.0.0.0:80`. A value that is
    /// a TOML boolean, number or quoted string counts as that, any other as a string. Of the other variables only
    /// `CREDENTIALS_DIRECTORY` is looked at.
    pub environment: Vec<(String, String)>,
}

impl Sources {
    /// The file, and the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        // A variable that is not Unicode cannot be one of ours.
        let environment =
            std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Self { file, environment: environment.collect() }
    }

    fn origin(&self, key: &str, in_file: &Table) -> Origin {
        let name = format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase());
        if self.environment.iter().any(|(variable, _)| *variable == name) {
            return Origin::Environment(name);
        }
        match &self.file {
            Some(path) if find(in_file, key).is_some() => Origin::File(path.clone()),
            _ => Origin::Default,
        }
    }
}

impl Config {
    /// Reads, merges and checks the settings.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let in_file = read_file(sources.file.as_deref())?;
        let mut table = in_file.clone();
        for (variable, value) in &sources.environment {
            let key = variable.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__"));
            if let Some((section, key)) = key {
                let section = table.entry(section.to_ascii_lowercase()).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(section) = section {
                    section.insert(key.to_ascii_lowercase(), scalar(value));
                }
            }
        }

        let mut config = serde_path_to_error::deserialize::<_, Self>(table.clone()).map_err(|error| {
            let path = error.path().to_string();
            explain(&path, error.inner().message(), &table, |key| sources.origin(key, &in_file))
        })?;
        config.check().map_err(|refused| ConfigError::Value {
            key: refused.key.to_owned(),
            value: find(&table, refused.key).map_or_else(|| "the default".to_owned(), Value::to_string),
            expected: refused.expected,
            origin: sources.origin(refused.key, &in_file),
        })?;

        config.take_credentials(&sources.environment);
        if let Some(path) = &config.database.url_file {
            let url = secrecy::ExposeSecret::expose_secret(&read_secret(path)?).to_owned();
            let path = path.clone();
            config.database.url = DatabaseUrl::new(&url).map_err(|expected| ConfigError::Secret { path, expected })?;
        }
        Ok(config)
    }

    /// systemd's credentials stand in for the secret files that the settings do not name.
    fn take_credentials(&mut self, environment: &[(String, String)]) {
        let Some((_, directory)) = environment.iter().find(|(key, _)| key == "CREDENTIALS_DIRECTORY") else { return };
        for (setting, name) in [
            (&mut self.keys.file, "keys"),
            (&mut self.google.client_secret_file, "google_client_secret"),
            (&mut self.database.url_file, "database_url"),
            (&mut self.support.smtp_password_file, "smtp_password"),
            (&mut self.support.post_secret_file, "support_post_secret"),
        ] {
            let path = Path::new(directory).join(name);
            if setting.is_none() && path.is_file() {
                *setting = Some(path);
            }
        }
    }
}

/// Reads the one secret that a file holds; white space around it does not count.
pub fn read_secret(path: &Path) -> Result<SecretString, ConfigError> {
    let failed = |source| ConfigError::File { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > SECRET_BYTES_MAX {
        return Err(ConfigError::Secret { path: path.to_owned(), expected: "expected a file with one secret in it" });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    let secret = text.trim();
    if secret.is_empty() {
        return Err(ConfigError::Secret { path: path.to_owned(), expected: "expected a secret, but it is empty" });
    }
    Ok(SecretString::from(secret))
}

fn read_file(path: Option<&Path>) -> Result<Table, ConfigError> {
    let Some(path) = path else { return Ok(Table::new()) };
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

/// The value of an environment variable.
fn scalar(text: &str) -> Value {
    #[derive(Deserialize)]
    struct Line {
        value: Value,
    }
    let parsed = toml::from_str::<Line>(&format!("value = {text}")).map(|line| line.value);
    match parsed {
        Ok(value @ (Value::Boolean(_) | Value::Integer(_) | Value::Float(_) | Value::String(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn find<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    match key.split_once('.') {
        Some((section, key)) => table.get(section)?.as_table()?.get(key),
        None => table.get(key),
    }
}

/// Turns what serde says about the setting at `path` into what the operator should read.
fn explain(path: &str, message: &str, table: &Table, origin: impl Fn(&str) -> Origin) -> ConfigError {
    // serde says: unknown field `a`, expected one of `b`, `c`
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let mut names = rest.split('`').step_by(2);
        let unknown = names.next().unwrap_or_default();
        let known = names.map(|name| (strsim::jaro_winkler(unknown, name), name));
        let closest = known.max_by(|one, two| one.0.total_cmp(&two.0)).filter(|(similar, _)| *similar >= SIMILAR_MIN);
        // The path ends with the unknown key itself.
        let section = path.strip_suffix(unknown).unwrap_or_default();
        let key = format!("{section}{unknown}");
        let origin = origin(&key);
        return ConfigError::Unknown { suggestion: closest.map(|(_, name)| format!("{section}{name}")), key, origin };
    }
    // A URL with a password, perhaps.
    let secret = path == "database.url";
    let value = find(table, path).filter(|_| !secret).map_or_else(|| "…".to_owned(), Value::to_string);
    ConfigError::Value { key: path.to_owned(), value, expected: message.to_owned(), origin: origin(path) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use secrecy::ExposeSecret;

    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_owned();
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(&Sources { file: Some(path.clone()), environment })
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "slotd.toml"))
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let environment = [
            ("SLOTD_HTTP__BIND", "0.0.0.0:80"),
            ("SLOTD_SYNC__CONCURRENCY", "3"),
            ("SLOTD_LOG__FILTER", "info,slotd=debug"),
            ("SLOTD_GOOGLE__CLIENT_ID", "\"12345\""),
            ("SLOTD_TEST_POSTGRES_URL", "not a setting"),
            ("PATH", "/bin"),
        ];
        let config = load("[http]\nbind = \"127.0.0.1:1\"\n[sync]\nlease_s = 45", &environment).unwrap();
        assert_eq!(config.http.bind.to_string(), "0.0.0.0:80");
        assert_eq!((config.sync.concurrency, config.sync.lease_s, config.sync.page_size), (3, 45, 2_500));
        assert_eq!(config.log.filter, "info,slotd=debug");
        assert_eq!(config.google.client_id.as_deref(), Some("12345"));
    }

    #[test]
    fn mistakes_are_answered_with_key_value_place_and_remedy() {
        let none: &[(&str, &str)] = &[];
        let cases = [
            (
                "[sync]\npagesize = 10",
                none,
                "slotd.toml: there is no setting `sync.pagesize`; did you mean `sync.page_size`?",
            ),
            ("[snyc]\n", none, "slotd.toml: there is no setting `snyc`; did you mean `sync`?"),
            ("[sync]\nxyzzy = 10", none, "slotd.toml: there is no setting `sync.xyzzy`"),
            (
                "",
                &[("SLOTD_HTTP__BINDS", "1")][..],
                "environment variable SLOTD_HTTP__BINDS: there is no setting `http.binds`; did you mean `http.bind`?",
            ),
            (
                "[sync]\npage_size = \"many\"",
                none,
                "slotd.toml: `sync.page_size` = \"many\": invalid type: string \"many\", expected u32",
            ),
            ("[sync]\npage_size = 2501", none, "slotd.toml: `sync.page_size` = 2501: expected 1 to 2500"),
            (
                "",
                &[("SLOTD_SYNC__LEASE_S", "0")][..],
                "environment variable SLOTD_SYNC__LEASE_S: `sync.lease_s` = 0: expected 5 to 3600",
            ),
            ("[http]\nbind = \"8080\"", none, "slotd.toml: `http.bind` = \"8080\": invalid socket address syntax"),
            (
                "[google]\npush_url = \"http://slotd.example/push\"",
                none,
                "slotd.toml: `google.push_url` = \"http://slotd.example/push\": expected an https URL, or http on the loopback interface",
            ),
            ("[jobs]\npurge = \"daily\"", none, "slotd.toml: `jobs.purge` = \"daily\": expected six fields"),
            (
                "[database]\nurl = \"mysql://u:hunter2@h/d\"",
                none,
                "slotd.toml: `database.url` = …: expected sqlite:PATH",
            ),
            (
                "[booking]\nevent_link = \"https://salon.example/\"",
                none,
                "slotd.toml: `booking.event_link` = \"https://salon.example/\": expected an http or https URL with {booking_id}",
            ),
            (
                "[log]\nformat = \"xml\"",
                none,
                "slotd.toml: `log.format` = \"xml\": unknown variant `xml`, expected one of",
            ),
        ];
        for (text, environment, expected) in cases {
            let refused = load(text, environment).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}\nshould be\n{expected}");
        }
    }

    #[test]
    fn broken_toml_names_the_line() {
        let refused = load("[http]\nbind = \n", &[]).unwrap_err();
        assert!(refused.starts_with("slotd.toml: TOML parse error at line 2"), "{refused}");
    }

    #[test]
    fn a_lease_outlives_the_slowest_delivery() {
        let refused = load("[google]\nrequest_timeout_s = 60", &[]).unwrap_err();
        assert!(refused.contains("`outbox.lease_s`"), "{refused}");
        assert!(refused.contains("more than google.request_timeout_s, which is 60"), "{refused}");
    }

    #[test]
    fn no_account_may_make_more_calls_than_the_project() {
        let refused = load("[google]\nproject_calls_per_minute = 100", &[]).unwrap_err();
        let expected = "expected at most google.project_calls_per_minute, which is 100";
        assert!(refused.contains("`google.account_calls_per_minute`") && refused.contains(expected), "{refused}");
        let none = load("", &[("SLOTD_GOOGLE__CALLS_PER_DAY", "0")]).unwrap_err();
        assert!(none.contains("`google.calls_per_day` = 0: expected 1000 to 10000000000"), "{none}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let sources = Sources { file: Some("/nonexistent/slotd.toml".into()), ..Sources::default() };
        assert!(matches!(Config::load(&sources), Err(ConfigError::File { .. })));
    }

    #[test]
    fn credentials_of_systemd_are_found_unless_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("keys"), "keys").unwrap();
        fs::write(dir.path().join("google_client_secret"), " secret\n").unwrap();
        fs::write(dir.path().join("database_url"), "postgres://slotd:pw@db/slotd\n").unwrap();
        let environment = [("CREDENTIALS_DIRECTORY", dir.path().to_str().unwrap())];
        let config = load("[keys]\nfile = \"/etc/slotd/keys\"", &environment).unwrap();

        assert_eq!(config.keys.file, Some("/etc/slotd/keys".into()));
        assert_eq!(config.database.url.reveal(), "postgres://slotd:pw@db/slotd");
        let secret = read_secret(config.google.client_secret_file.as_deref().unwrap()).unwrap();
        assert_eq!(secret.expose_secret(), "secret");
        assert!(!config.to_toml().contains("pw@"), "{}", config.to_toml());
    }

    #[test]
    fn an_empty_secret_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(read_secret(file.path()), Err(ConfigError::Secret { .. })));
    }
}
