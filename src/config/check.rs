//! Limits that types do not say.

use std::{fmt::Display, ops::RangeInclusive};

use url::{Host, Url};

use super::{Config, SmtpSecurity, Support};

/// A setting outside its limits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) key: &'static str,
    pub(super) expected: String,
}

const DAY_S: u32 = 86_400;

impl Config {
    /// Finds the first setting that is outside its limits or contradicts another.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let Self { database, http, google, sync, booking, calls, outbox, notify, .. } = self;
        within("database.connections_max", database.connections_max, 1..=1_000)?;
        within("database.acquire_timeout_s", database.acquire_timeout_s, 1..=60)?;
        within("http.body_max_bytes", http.body_max_bytes, 1_024..=16 * 1024 * 1024)?;
        within("http.header_read_timeout_s", http.header_read_timeout_s, 1..=60)?;
        within("http.request_timeout_s", http.request_timeout_s, 1..=300)?;
        within("http.connections_max", http.connections_max, 1..=1_000_000)?;
        within("google.request_timeout_s", google.request_timeout_s, 1..=300)?;
        within("google.account_calls_per_minute", google.account_calls_per_minute, 10..=1_000_000)?;
        within("google.project_calls_per_minute", google.project_calls_per_minute, 10..=1_000_000)?;
        within("google.calls_per_day", google.calls_per_day, 1_000..=10_000_000_000)?;
        within("sync.horizon_days", sync.horizon_days, 1..=1_100)?;
        within("sync.coverage_back_days", sync.coverage_back_days, 1..=366)?;
        within("sync.concurrency", sync.concurrency, 1..=256)?;
        within("sync.account_concurrency", sync.account_concurrency, 1..=256)?;
        within("sync.poll_watched_s", sync.poll_watched_s, 1..=DAY_S)?;
        within("sync.poll_unwatched_s", sync.poll_unwatched_s, 1..=DAY_S)?;
        within("sync.lease_s", sync.lease_s, 5..=3_600)?;
        within("sync.page_size", sync.page_size, 1..=2_500)?;
        within("sync.channel_ttl_s", sync.channel_ttl_s, 60..=30 * DAY_S)?;
        within("sync.write_rows_max", sync.write_rows_max, 1..=2_500)?;
        within("sync.list_spread_s", sync.list_spread_s, 0..=DAY_S)?;
        within("booking.verify_deadline_ms", booking.verify_deadline_ms, 0..=10_000)?;
        within("booking.verify_after_s", booking.verify_after_s, 0..=DAY_S)?;
        within("calls.offers_kept_s", calls.offers_kept_s, 1..=3_600)?;
        within("calls.streams_per_business", calls.streams_per_business, 1..=100_000)?;
        within("calls.streams_per_key", calls.streams_per_key, 1..=100_000)?;
        within("outbox.concurrency", outbox.concurrency, 1..=1_000)?;
        within("outbox.account_concurrency", outbox.account_concurrency, 1..=1_000)?;
        within("outbox.poll_s", outbox.poll_s, 1..=3_600)?;
        within("outbox.attempts_max", outbox.attempts_max, 1..=1_000)?;
        within("outbox.lease_s", outbox.lease_s, 5..=3_600)?;

        within("notify.concurrency", notify.concurrency, 1..=1_000)?;
        within("notify.endpoint_concurrency", notify.endpoint_concurrency, 1..=1_000)?;
        within("notify.lease_s", notify.lease_s, 5..=3_600)?;
        within("notify.poll_s", notify.poll_s, 1..=3_600)?;
        within("notify.request_timeout_s", notify.request_timeout_s, 1..=300)?;
        within("notify.disable_after_s", notify.disable_after_s, 1..=90 * DAY_S)?;
        if notify.retry_s.len() > 50 || notify.retry_s.iter().any(|wait| *wait > 7 * DAY_S) {
            let expected = format!("expected at most 50 waits of at most {} seconds", 7 * DAY_S);
            return Err(Refused { key: "notify.retry_s", expected });
        }
        if notify.lease_s <= notify.request_timeout_s {
            let expected =
                format!("expected more than notify.request_timeout_s, which is {}", notify.request_timeout_s);
            return Err(Refused { key: "notify.lease_s", expected });
        }
        self.support.check()?;

        // Otherwise a second node would start a delivery that the first is still waiting for.
        if outbox.lease_s <= google.request_timeout_s {
            let expected =
                format!("expected more than google.request_timeout_s, which is {}", google.request_timeout_s);
            return Err(Refused { key: "outbox.lease_s", expected });
        }

        // Otherwise a calendar would pass to another node while the first still waits for a page.
        if sync.lease_s <= google.request_timeout_s {
            let expected =
                format!("expected more than google.request_timeout_s, which is {}", google.request_timeout_s);
            return Err(Refused { key: "sync.lease_s", expected });
        }

        if google.account_calls_per_minute > google.project_calls_per_minute {
            let most = google.project_calls_per_minute;
            let expected = format!("expected at most google.project_calls_per_minute, which is {most}");
            return Err(Refused { key: "google.account_calls_per_minute", expected });
        }

        for (key, url) in [
            ("google.api_base_url", &google.api_base_url),
            ("google.auth_url", &google.auth_url),
            ("google.token_url", &google.token_url),
            ("google.revoke_url", &google.revoke_url),
            ("google.userinfo_url", &google.userinfo_url),
        ] {
            secure(key, url)?;
        }
        if let Some(url) = &google.push_url {
            secure("google.push_url", url)?;
        }
        if let Some(url) = &http.public_url {
            secure("http.public_url", url)?;
            if url.path() != "/" || url.query().is_some() {
                let expected = "expected a URL without path, such as https://slotd.example".to_owned();
                return Err(Refused { key: "http.public_url", expected });
            }
        }
        Ok(())
    }
}

impl Support {
    fn check(&self) -> Result<(), Refused> {
        within("support.smtp_port", self.smtp_port, 1..=u16::MAX)?;
        within("support.gather_s", self.gather_s, 0..=3_600)?;
        for (key, address) in [("support.mail_to", &self.mail_to), ("support.mail_from", &self.mail_from)] {
            if address.as_ref().is_some_and(|address| !email_address::EmailAddress::is_valid(address)) {
                return Err(Refused { key, expected: "expected an e-mail address".to_owned() });
            }
        }
        let needs = |key, needed: bool| {
            let expected = "expected a value, since support.mail_to is set".to_owned();
            if self.mail_to.is_some() && needed { Err(Refused { key, expected }) } else { Ok(()) }
        };
        needs("support.mail_from", self.mail_from.is_none())?;
        needs("support.smtp_host", self.smtp_host.is_none())?;
        let local = |host: &str| {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        if self.smtp_security == SmtpSecurity::None && !self.smtp_host.as_deref().is_none_or(local) {
            let expected = "expected tls or starttls, since support.smtp_host is another machine".to_owned();
            return Err(Refused { key: "support.smtp_security", expected });
        }
        match &self.post_url {
            Some(url) => secure("support.post_url", url),
            None => Ok(()),
        }
    }
}

fn within<T: PartialOrd + Display + Copy>(
    key: &'static str,
    value: T,
    limits: RangeInclusive<T>,
) -> Result<(), Refused> {
    if limits.contains(&value) {
        return Ok(());
    }
    Err(Refused { key, expected: format!("expected {} to {}", limits.start(), limits.end()) })
}

/// Tokens and personal data travel to these URLs, so anything but this machine needs TLS.
fn secure(key: &'static str, url: &Url) -> Result<(), Refused> {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && local) {
        return Ok(());
    }
    Err(Refused { key, expected: "expected an https URL, or http on the loopback interface".to_owned() })
}
