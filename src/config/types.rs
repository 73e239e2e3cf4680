//! Values that are checked when they are read.

use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use url::Url;

use crate::domain::{BookingId, BusinessId, template};

/// Where the database is. A password in it is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes `sqlite:PATH`, `postgres://…` or `postgresql://…`; the error says what is expected and never quotes the URL.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let postgres = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        let sqlite = text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty());
        if sqlite || (postgres && Url::parse(text).is_ok()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected sqlite:PATH or postgres://USER@HOST/DATABASE")
        }
    }

    /// The whole URL, with its password.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it names a PostgreSQL server.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.0.starts_with("postgres")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_postgres() {
            return f.write_str(&self.0);
        }
        let Ok(mut url) = Url::parse(&self.0) else { return f.write_str("postgres://…") };
        let hidden = url.password().is_none() || url.set_password(Some("***")).is_ok();
        // A password may also be given as a parameter.
        url.set_query(None);
        if hidden { fmt::Display::fmt(&url, f) } else { f.write_str("postgres://…") }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The pattern of a link to a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPattern(String);

impl LinkPattern {
    /// The link to one booking.
    #[must_use]
    pub fn link(&self, business: BusinessId, booking: BookingId) -> String {
        template::link(&self.0, &business.to_string(), &booking.to_string()).unwrap_or_default()
    }
}

impl FromStr for LinkPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let filled = template::link(text, "1", "2").and_then(|link| Url::parse(&link).ok());
        let web = filled.filter(|url| matches!(url.scheme(), "https" | "http") && text.len() <= 500);
        let expected = "expected an http or https URL with {booking_id}, and {business_id} where it is needed";
        web.map(|_| Self(text.to_owned())).ok_or(expected)
    }
}

impl Serialize for LinkPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LinkPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A schedule in cron's notation with a leading field for seconds, read in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression(cron::Schedule);

impl CronExpression {
    /// The schedule, to ask for its next instants.
    #[must_use]
    pub fn schedule(&self) -> &cron::Schedule {
        &self.0
    }

    /// How far its next two instants after `now` lie apart; a day when there are no two.
    #[must_use]
    pub fn period(&self, now: DateTime<Utc>) -> Duration {
        let mut next = self.0.after(&now);
        let apart = next.next().zip(next.next()).and_then(|(one, other)| (other - one).to_std().ok());
        apart.unwrap_or(Duration::from_hours(24))
    }
}

impl FromStr for CronExpression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "expected six fields, second minute hour day-of-month month day-of-week, such as \"0 30 3 * * *\"";
        if text.split_whitespace().count() != 6 {
            return Err(expected.to_owned());
        }
        cron::Schedule::from_str(text).map(Self).map_err(|error| format!("{expected}: {error}"))
    }
}

impl Serialize for CronExpression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.source())
    }
}

impl<'de> Deserialize<'de> for CronExpression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_password_is_shown_nowhere() {
        let url = DatabaseUrl::new("postgres://slotd:hunter2@db.example/slotd?password=hunter2").unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "postgres://slotd:***@db.example/slotd postgres://slotd:***@db.example/slotd"
        );
        assert!(url.reveal().contains("hunter2"));
    }

    #[test]
    fn the_period_of_a_schedule_is_the_time_between_its_runs() {
        let now = "2027-03-01T09:30:00Z".parse().unwrap();
        let period = |text: &str| text.parse::<CronExpression>().unwrap().period(now);
        assert_eq!(period("0 23 * * * *"), Duration::from_hours(1));
        assert_eq!(period("0 17 2 * * *"), Duration::from_hours(24));
    }

    #[test]
    fn only_the_two_engines_are_taken() {
        assert!(DatabaseUrl::new("sqlite:/var/lib/slotd/slotd.db").is_ok());
        for other in ["mysql://host/db", "slotd.db", "sqlite:", "postgres:host"] {
            assert!(DatabaseUrl::new(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_cron_expression_has_six_fields() {
        assert!("0 30 3 * * *".parse::<CronExpression>().is_ok());
        for other in ["30 3 * * *", "0 30 3 * * * 2027", "0 61 * * * *", "daily"] {
            let refused = other.parse::<CronExpression>().unwrap_err();
            assert!(refused.contains("six fields"), "{refused}");
        }
    }
}
