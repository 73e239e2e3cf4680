//! The sections of the settings, each beside its defaults. Units are part of the names.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::types::{CronExpression, DatabaseUrl, LinkPattern};

/// Where everything is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH`, or `postgres://USER@HOST/DATABASE` when several nodes share the work.
    pub url: DatabaseUrl,
    /// A file with the URL, for one that holds a password. It wins over `url`.
    pub url_file: Option<PathBuf>,
    /// Most connections that read at once (SQLite), or connections in all (PostgreSQL).
    pub connections_max: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout_s: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::new("sqlite:slotd.db").expect("a valid default"),
            url_file: None,
            connections_max: 16,
            acquire_timeout_s: 5,
        }
    }
}

/// The public listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where to listen. TLS is the business of a proxy in front.
    pub bind: SocketAddr,
    /// How the world reaches this listener; links and OAuth redirects begin with it. Without it, `http://` and `bind`.
    pub public_url: Option<Url>,
    /// Largest body of a request.
    pub body_max_bytes: usize,
    /// Longest time for a client to send its headers.
    pub header_read_timeout_s: u32,
    /// Longest time for an answer.
    pub request_timeout_s: u32,
    /// Most connections at once; further ones wait to be accepted.
    pub connections_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            body_max_bytes: 64 * 1024,
            header_read_timeout_s: 10,
            request_timeout_s: 30,
            connections_max: 10_000,
        }
    }
}

/// The listener for Prometheus, apart from the public one so that figures are not published by mistake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where to listen.
    pub bind: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// The encryption keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The key file, readable by its owner alone. systemd's credential `keys` stands in when it is not set.
    pub file: Option<PathBuf>,
}

/// Google's endpoints and the OAuth client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Google {
    /// Root of the Calendar API.
    pub api_base_url: Url,
    /// The consent page.
    pub auth_url: Url,
    /// Exchanges codes and refresh tokens.
    pub token_url: Url,
    /// Gives grants back.
    pub revoke_url: Url,
    /// Tells whose account was connected.
    pub userinfo_url: Url,
    /// The OAuth client of type "web application".
    pub client_id: Option<String>,
    /// A file with the client's secret. systemd's credential `google_client_secret` stands in when it is not set.
    pub client_secret_file: Option<PathBuf>,
    /// Where Google can reach this server with its notifications. When it is not set, it is below `http.public_url` if that
    /// is https; else calendars are polled.
    pub push_url: Option<Url>,
    /// Longest time for one call.
    pub request_timeout_s: u32,
    /// Calls in the name of one account in any minute, of this node. Google allows 600 by default, of all nodes and of
    /// whatever else uses the project together; a PATCH counts as three.
    pub account_calls_per_minute: u32,
    /// All calls in any minute, of this node. Google allows 10,000 by default, of all nodes together.
    pub project_calls_per_minute: u32,
    /// All calls of a day, of all nodes together. Days begin at midnight Pacific time.
    pub calls_per_day: u64,
}

impl Default for Google {
    fn default() -> Self {
        let url = |text: &str| Url::parse(text).expect("a valid default");
        Self {
            api_base_url: url("https://www.googleapis.com/calendar/v3"),
            auth_url: url("https://accounts.google.com/o/oauth2/v2/auth"),
            token_url: url("https://oauth2.googleapis.com/token"),
            revoke_url: url("https://oauth2.googleapis.com/revoke"),
            userinfo_url: url("https://openidconnect.googleapis.com/v1/userinfo"),
            client_id: None,
            client_secret_file: None,
            push_url: None,
            request_timeout_s: 30,
            account_calls_per_minute: 480,
            project_calls_per_minute: 8_000,
            calls_per_day: 1_000_000,
        }
    }
}

/// Mirroring of calendars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// How far ahead of today recurring events are expanded; beyond it the answer is "unknown".
    pub horizon_days: u32,
    /// How far back from today.
    pub coverage_back_days: u32,
    /// Calendars that this node mirrors at once.
    pub concurrency: u32,
    /// Of those, calendars of one account.
    pub account_concurrency: u32,
    /// How often a calendar with a live notification channel is looked at nevertheless. Less often when Google's quotas do
    /// not allow it for all calendars.
    pub poll_watched_s: u32,
    /// How often a calendar without one is looked at. Less often, likewise.
    pub poll_unwatched_s: u32,
    /// How long a node may keep a calendar to itself without a sign of life.
    pub lease_s: u32,
    /// Events asked for per page. Google gives at most 2,500.
    pub page_size: u32,
    /// Lifetime asked for a notification channel.
    pub channel_ttl_s: u32,
    /// Most rows written in one transaction, so that bookings need not wait for a long sync.
    pub write_rows_max: u32,
    /// The time over which the daily reading of all lists of calendars is spread.
    pub list_spread_s: u32,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            horizon_days: 400,
            coverage_back_days: 35,
            concurrency: 8,
            account_concurrency: 3,
            poll_watched_s: 4 * 3600,
            poll_unwatched_s: 300,
            lease_s: 60,
            page_size: 2_500,
            channel_ttl_s: 7 * 86_400,
            write_rows_max: 100,
            list_spread_s: 3_600,
        }
    }
}

/// Taking bookings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Booking {
    /// How long a booking, or a question about a stale mirror, waits for a fresh look at Google.
    pub verify_deadline_ms: u32,
    /// A booking waits for such a look when the last one is older than this.
    pub verify_after_s: u32,
    /// What `{link}` in an event is: a URL with `{booking_id}`, and `{business_id}` where it is needed.
    pub event_link: Option<LinkPattern>,
}

impl Default for Booking {
    fn default() -> Self {
        Self { verify_deadline_ms: 300, verify_after_s: 1, event_link: None }
    }
}

/// Telling running calls what changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// How long a call is told what becomes of a slot that it was offered.
    pub offers_kept_s: u32,
    /// Most streams of events at once, on this node, for one business.
    pub streams_per_business: usize,
    /// Most for one API key.
    pub streams_per_key: usize,
}

impl Default for Calls {
    fn default() -> Self {
        Self { offers_kept_s: 900, streams_per_business: 200, streams_per_key: 1_000 }
    }
}

/// Deliveries to Google and elsewhere, after the booking has been answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// Deliveries in flight on this node.
    pub concurrency: u32,
    /// Of those, deliveries in the name of one account.
    pub account_concurrency: u32,
    /// How long a node may keep a delivery to itself. It must exceed the slowest delivery.
    pub lease_s: u32,
    /// How often to look for due deliveries when nothing wakes the worker.
    pub poll_s: u32,
    /// Attempts before a delivery is set aside for the operator.
    pub attempts_max: u32,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { concurrency: 16, account_concurrency: 4, lease_s: 60, poll_s: 5, attempts_max: 20 }
    }
}

/// Notices to the businesses' own programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Notices in flight on this node.
    pub concurrency: u32,
    /// Of those, notices to one endpoint.
    pub endpoint_concurrency: u32,
    /// How long a node may keep a notice to itself. It must exceed the slowest delivery.
    pub lease_s: u32,
    /// How often to look for due notices when nothing wakes the worker. Notices of other nodes wake nobody here.
    pub poll_s: u32,
    /// Longest time for one try.
    pub request_timeout_s: u32,
    /// The wait after each failed try. After the last one more is made, and then the notice is given up.
    pub retry_s: Vec<u32>,
    /// An endpoint that failed for so long without taking anything is disabled.
    pub disable_after_s: u32,
    /// Whether endpoints may be http, on this machine and inside the network. Businesses could then reach what only machines
    /// there may reach.
    pub allow_local: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            concurrency: 16,
            endpoint_concurrency: 4,
            lease_s: 60,
            poll_s: 1,
            request_timeout_s: 15,
            // About three days and a half in all, as Standard Webhooks recommends.
            retry_s: vec![5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
            disable_after_s: 5 * 86_400,
            allow_local: false,
        }
    }
}

/// Where the operator is told what needs a person: by mail, by a signed POST, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Support {
    /// Who gets mails.
    pub mail_to: Option<String>,
    /// Who they come from.
    pub mail_from: Option<String>,
    /// The relay that takes them.
    pub smtp_host: Option<String>,
    /// Its port.
    pub smtp_port: u16,
    /// How the way to it is protected.
    pub smtp_security: SmtpSecurity,
    /// The name to log in with, if it wants one.
    pub smtp_user: Option<String>,
    /// A file with the password. systemd's credential `smtp_password` stands in when it is not set.
    pub smtp_password_file: Option<PathBuf>,
    /// Where signed POSTs go.
    pub post_url: Option<Url>,
    /// A file with their secret, `whsec_…`. systemd's credential `support_post_secret` stands in when it is not set.
    pub post_secret_file: Option<PathBuf>,
    /// How long is waited for more, so that many are one notice.
    pub gather_s: u32,
}

impl Default for Support {
    fn default() -> Self {
        Self {
            mail_to: None,
            mail_from: None,
            smtp_host: None,
            smtp_port: 465,
            smtp_security: SmtpSecurity::Tls,
            smtp_user: None,
            smtp_password_file: None,
            post_url: None,
            post_secret_file: None,
            gather_s: 60,
        }
    }
}

/// How the way to the mail relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpSecurity {
    /// TLS from the start.
    Tls,
    /// TLS after a command; without it nothing is sent.
    StartTls,
    /// None. Only on this machine.
    None,
}

/// When maintenance runs: cron expressions of six fields (second, minute, hour, day of month, month, day of week), UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Renews notification channels that end soon.
    pub renew_channels: CronExpression,
    /// Moves the horizon of every calendar forward.
    pub extend_horizon: CronExpression,
    /// Reads the list of calendars of every connected account.
    pub refresh_calendars: CronExpression,
    /// Audits the mirrors whose last audit is oldest, so many each time that each is audited once a week.
    pub audit: CronExpression,
    /// Marks holds that ran out, and bookings that are over.
    pub settle_bookings: CronExpression,
    /// Deletes what is no longer needed.
    pub purge: CronExpression,
}

impl Default for Jobs {
    fn default() -> Self {
        let cron = |text: &str| text.parse().expect("a valid default");
        Self {
            renew_channels: cron("0 */10 * * * *"),
            extend_horizon: cron("0 17 2 * * *"),
            refresh_calendars: cron("0 7 1 * * *"),
            audit: cron("0 23 * * * *"),
            settle_bookings: cron("30 * * * * *"),
            purge: cron("0 47 3 * * *"),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// Levels by target, such as `info,slotd::sync=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl LogFormat {
    /// Whether lines are JSON, when it does not depend on the terminal.
    #[must_use]
    pub fn json(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Text => Some(false),
            Self::Json => Some(true),
        }
    }
}
