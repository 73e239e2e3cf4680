//! Every metric of the process, in one place.
//!
//! Names are `slotd_<area>_<what>_<unit>`; counters end in `_total`. Label values come from closed sets and route
//! templates, never from input, so that the number of series is fixed and nothing personal is among them. The Grafana
//! dashboard is checked against [`DEFINITIONS`] by a test.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;

use crate::domain::drift::whole_seconds;

/// Answers of the HTTP listener, by `route` (its template), `method` and `status`.
pub const HTTP_REQUEST_DURATION: &str = "slotd_http_request_duration_seconds";
/// Calls to Google, by `method` and `outcome`.
pub const GOOGLE_CALL_DURATION: &str = "slotd_google_call_duration_seconds";
/// Calls that were not made yet, to stay within a quota, by `urgency` and `why`.
pub const GOOGLE_HELD_BACK: &str = "slotd_google_held_back_total";
/// Calls that can be made now, by `quota`: what the project and the busiest account have left of a minute, and what is
/// left of the day.
pub const GOOGLE_QUOTA_LEFT: &str = "slotd_google_quota_left_calls";
/// Calls of all nodes since the day's quota came back.
pub const GOOGLE_TODAY: &str = "slotd_google_today_calls";
/// Accounts about which Google is left alone at its own word, by `what` it is: `all` or `writes`.
pub const GOOGLE_PAUSED: &str = "slotd_google_paused_accounts";
/// How often calendars are looked at, by `channel`: `watched` or `unwatched`.
pub const SYNC_POLL_PERIOD: &str = "slotd_sync_poll_period_seconds";
/// Looks at one calendar, by `kind` and `outcome`.
pub const SYNC_PASS_DURATION: &str = "slotd_sync_pass_duration_seconds";
/// Changed events that passes received, by `kind` of pass.
pub const SYNC_ITEMS: &str = "slotd_sync_items_total";
/// Events that could not be understood and were set aside.
pub const SYNC_ODD_EVENTS: &str = "slotd_sync_odd_events_total";
/// Series that are not mirrored in full.
pub const SYNC_LIMITED_SERIES: &str = "slotd_sync_limited_series";
/// Age of the stalest mirror that somebody relies on.
pub const SYNC_FRESHNESS_AGE: &str = "slotd_sync_freshness_age_seconds";
/// Calendars that Google does not show any more, though their accounts are connected.
pub const SYNC_LOST: &str = "slotd_sync_lost_calendars";
/// Bookings whose events are gone in numbers, and whose owners are asked.
pub const SYNC_ASKED: &str = "slotd_sync_asked_bookings";
/// Conflicts between bookings and calendars that are not over, by `kind`.
pub const OPEN_CONFLICTS: &str = "slotd_booking_open_conflicts";
/// Google's notifications, by `outcome`.
pub const PUSH_RECEIVED: &str = "slotd_push_received_total";
/// From a notification to the changed busy slots.
pub const PUSH_TO_BUSY_DURATION: &str = "slotd_push_to_busy_duration_seconds";
/// Requests to book, by `outcome`.
pub const BOOKING_REQUESTS: &str = "slotd_booking_requests_total";
/// Requests to hold a slot, by `outcome`.
pub const HOLD_REQUESTS: &str = "slotd_hold_requests_total";
/// Searches for bookings, by `outcome`.
pub const BOOKING_SEARCHES: &str = "slotd_booking_searches_total";
/// Customers who were to be invited to their event, by `outcome`.
pub const BOOKING_INVITATIONS: &str = "slotd_booking_invitations_total";
/// Attempts to deliver, by `kind` and `outcome`.
pub const OUTBOX_DELIVERIES: &str = "slotd_outbox_deliveries_total";
/// Deliveries that wait or are in flight.
pub const OUTBOX_DEPTH: &str = "slotd_outbox_depth_deliveries";
/// Age of the oldest delivery that waits.
pub const OUTBOX_OLDEST_AGE: &str = "slotd_outbox_oldest_age_seconds";
/// Deliveries that were given up and wait for a person, by `kind`: `google`, `webhook` or `operator`.
pub const OUTBOX_DEAD: &str = "slotd_outbox_dead_deliveries";
/// Notices to webhook endpoints that wait or are in flight.
pub const NOTICE_DEPTH: &str = "slotd_notice_depth_deliveries";
/// Age of the oldest notice that waits.
pub const NOTICE_OLDEST_AGE: &str = "slotd_notice_oldest_age_seconds";
/// Webhook endpoints that were disabled because they failed or are gone.
pub const NOTICE_DISABLED: &str = "slotd_notice_disabled_endpoints";
/// Ended audits of mirrors, by `outcome`.
pub const AUDIT_RUNS: &str = "slotd_audit_runs_total";
/// Busy time, in seconds, that audits found to differ from Google's, by `kind`.
pub const AUDIT_DRIFT: &str = "slotd_audit_drift_seconds_total";
/// Age of the oldest last audit of a mirror.
pub const AUDIT_OLDEST_AGE: &str = "slotd_audit_oldest_age_seconds";
/// Mirrors whose last audit found drift.
pub const AUDIT_DRIFTING: &str = "slotd_audit_drifting_calendars";
/// Always 1, by `version`.
pub const BUILD_INFO: &str = "slotd_build_info";

/// From 1 ms to a minute: below is noise, above is an incident.
const DURATION_BUCKETS_S: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// How often recorded durations are folded into their buckets, so that they do not pile up between scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The type of [`Metrics::render`], for the answer's header.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations, in buckets.
    Histogram,
}

/// One metric and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name, as Prometheus sees it.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// What one of it is; none for plain facts.
    pub unit: Option<Unit>,
    /// What it means.
    pub help: &'static str,
}

const fn define(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Definition {
    Definition { name, kind, unit: Some(unit), help }
}

/// All metrics.
pub const DEFINITIONS: &[Definition] = &[
    define(HTTP_REQUEST_DURATION, Kind::Histogram, Unit::Seconds, "Time to answer a request"),
    define(GOOGLE_CALL_DURATION, Kind::Histogram, Unit::Seconds, "Time of one call to Google"),
    define(GOOGLE_HELD_BACK, Kind::Counter, Unit::Count, "Calls that were put off to stay within a quota"),
    define(GOOGLE_QUOTA_LEFT, Kind::Gauge, Unit::Count, "Calls that the quotas allow now"),
    define(GOOGLE_TODAY, Kind::Gauge, Unit::Count, "Calls of all nodes since the day's quota came back"),
    define(GOOGLE_PAUSED, Kind::Gauge, Unit::Count, "Accounts about which Google asked to be left alone"),
    define(SYNC_POLL_PERIOD, Kind::Gauge, Unit::Seconds, "Time between two looks at a calendar without a notification"),
    define(SYNC_PASS_DURATION, Kind::Histogram, Unit::Seconds, "Time of one look at one calendar"),
    define(SYNC_ITEMS, Kind::Counter, Unit::Count, "Changed events received"),
    define(SYNC_ODD_EVENTS, Kind::Counter, Unit::Count, "Events that could not be understood and were set aside"),
    define(SYNC_LIMITED_SERIES, Kind::Gauge, Unit::Count, "Series that are not mirrored in full"),
    define(SYNC_FRESHNESS_AGE, Kind::Gauge, Unit::Seconds, "Age of the stalest mirror that somebody relies on"),
    define(SYNC_LOST, Kind::Gauge, Unit::Count, "Calendars that Google does not show any more"),
    define(OPEN_CONFLICTS, Kind::Gauge, Unit::Count, "Conflicts between bookings and calendars that are not over"),
    define(SYNC_ASKED, Kind::Gauge, Unit::Count, "Bookings that wait for an owner's word on their lost events"),
    define(PUSH_RECEIVED, Kind::Counter, Unit::Count, "Notifications received from Google"),
    define(PUSH_TO_BUSY_DURATION, Kind::Histogram, Unit::Seconds, "Time from a notification to the changed busy slots"),
    define(BOOKING_REQUESTS, Kind::Counter, Unit::Count, "Requests to book"),
    define(HOLD_REQUESTS, Kind::Counter, Unit::Count, "Requests to hold a slot"),
    define(BOOKING_SEARCHES, Kind::Counter, Unit::Count, "Searches for bookings"),
    define(BOOKING_INVITATIONS, Kind::Counter, Unit::Count, "Customers who were to be invited to their event"),
    define(OUTBOX_DELIVERIES, Kind::Counter, Unit::Count, "Attempts to deliver"),
    define(OUTBOX_DEPTH, Kind::Gauge, Unit::Count, "Deliveries that wait or are in flight"),
    define(OUTBOX_OLDEST_AGE, Kind::Gauge, Unit::Seconds, "Age of the oldest delivery that waits"),
    define(OUTBOX_DEAD, Kind::Gauge, Unit::Count, "Deliveries that were given up and wait for a person"),
    define(NOTICE_DEPTH, Kind::Gauge, Unit::Count, "Notices to webhook endpoints that wait or are in flight"),
    define(NOTICE_OLDEST_AGE, Kind::Gauge, Unit::Seconds, "Age of the oldest notice that waits"),
    define(NOTICE_DISABLED, Kind::Gauge, Unit::Count, "Webhook endpoints that slotd disabled"),
    define(AUDIT_RUNS, Kind::Counter, Unit::Count, "Ended audits of mirrors"),
    // Its name has to end like a counter's.
    Definition {
        name: AUDIT_DRIFT,
        kind: Kind::Counter,
        unit: None,
        help: "Seconds of busy time that audits found to differ from Google's",
    },
    define(AUDIT_OLDEST_AGE, Kind::Gauge, Unit::Seconds, "Age of the oldest last audit of a mirror"),
    define(AUDIT_DRIFTING, Kind::Gauge, Unit::Count, "Mirrors whose last audit found drift"),
    Definition { name: BUILD_INFO, kind: Kind::Gauge, unit: None, help: "The running version" },
];

/// Says where a metric was recorded; the exporter does not look at it.
static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Records metrics and shows them. Cheap to clone; each daemon of a process has its own.
#[derive(Debug, Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    page: PrometheusHandle,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for metric in DEFINITIONS.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(matcher, DURATION_BUCKETS_S).expect("there are buckets");
        }
        let recorder = builder.build_recorder();
        for metric in DEFINITIONS {
            let (name, help) = (metric.name.into(), metric.help.into());
            match metric.kind {
                Kind::Counter => recorder.describe_counter(name, metric.unit, help),
                Kind::Gauge => recorder.describe_gauge(name, metric.unit, help),
                Kind::Histogram => recorder.describe_histogram(name, metric.unit, help),
            }
        }
        let metrics = Self { page: recorder.handle(), recorder: Arc::new(recorder) };
        metrics.set(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        metrics.count(SYNC_ODD_EVENTS, &[], 0);
        metrics.drift_found(TimeDelta::zero(), TimeDelta::zero());
        metrics.set(AUDIT_DRIFTING, &[], 0.0);
        metrics.set(OUTBOX_DEPTH, &[], 0.0);
        metrics.set(SYNC_LOST, &[], 0.0);
        metrics.set(SYNC_ASKED, &[], 0.0);
        metrics.set(OUTBOX_OLDEST_AGE, &[], 0.0);
        metrics
    }

    /// The current values in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.page.render()
    }

    /// Keeps memory flat while nobody scrapes, until `stop`.
    pub async fn keep_up(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_EVERY)).await.is_some() {
            self.page.run_upkeep();
        }
    }

    /// An answered request. `route` is the template, such as `/api/v1/businesses/{business_id}/busy`.
    pub fn record_http(&self, route: &str, method: &hyper::Method, status: u16, elapsed: Duration) {
        // A client may make up methods.
        let method = match method.as_str() {
            method @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => method,
            _ => "other",
        };
        let labels = [("route", route), ("method", method), ("status", &status.to_string())];
        self.observe(HTTP_REQUEST_DURATION, &labels, elapsed);
    }

    /// A call to Google.
    pub fn google_call(&self, method: &'static str, outcome: &'static str, elapsed: Duration) {
        self.observe(GOOGLE_CALL_DURATION, &[("method", method), ("outcome", outcome)], elapsed);
    }

    /// A call that was put off.
    pub fn google_held_back(&self, urgency: &'static str, why: &'static str) {
        self.count(GOOGLE_HELD_BACK, &[("urgency", urgency), ("why", why)], 1);
    }

    /// What a quota (`project`, `account` or `day`) has left.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
    pub fn google_quota_left(&self, quota: &'static str, calls: i64) {
        self.set(GOOGLE_QUOTA_LEFT, &[("quota", quota)], calls as f64);
    }

    /// Calls since the day's quota came back.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
    pub fn google_today(&self, calls: u64) {
        self.set(GOOGLE_TODAY, &[], calls as f64);
    }

    /// How many accounts are paused altogether, and for writes only.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 accounts")]
    pub fn google_paused(&self, all: usize, writes: usize) {
        self.set(GOOGLE_PAUSED, &[("what", "all")], all as f64);
        self.set(GOOGLE_PAUSED, &[("what", "writes")], writes as f64);
    }

    /// How often calendars are looked at, with a live channel and without.
    pub fn poll_periods(&self, watched: Duration, unwatched: Duration) {
        self.set(SYNC_POLL_PERIOD, &[("channel", "watched")], watched.as_secs_f64());
        self.set(SYNC_POLL_PERIOD, &[("channel", "unwatched")], unwatched.as_secs_f64());
    }

    /// A look at one calendar that brought `items` changed events.
    pub fn sync_pass(&self, kind: &'static str, outcome: &'static str, elapsed: Duration, items: u64) {
        self.observe(SYNC_PASS_DURATION, &[("kind", kind), ("outcome", outcome)], elapsed);
        self.count(SYNC_ITEMS, &[("kind", kind)], items);
    }

    /// A notification from Google.
    pub fn push_received(&self, outcome: &'static str) {
        self.count(PUSH_RECEIVED, &[("outcome", outcome)], 1);
    }

    /// A notification whose changes are now in the busy slots.
    pub fn push_to_busy(&self, elapsed: Duration) {
        self.observe(PUSH_TO_BUSY_DURATION, &[], elapsed);
    }

    /// A request to book.
    pub fn bookings(&self, outcome: &'static str) {
        self.count(BOOKING_REQUESTS, &[("outcome", outcome)], 1);
    }

    /// A search for bookings: `found`, `nothing`, `limited`, `failed`.
    pub fn searches(&self, outcome: &'static str) {
        self.count(BOOKING_SEARCHES, &[("outcome", outcome)], 1);
    }

    /// A customer who was to be invited, or to be told of a change: `sent`; `refused` by Google; `skipped`, since Google
    /// refused others a short while ago.
    pub fn invitations(&self, outcome: &'static str) {
        self.count(BOOKING_INVITATIONS, &[("outcome", outcome)], 1);
    }

    /// A request to hold a slot.
    pub fn holds(&self, outcome: &'static str) {
        self.count(HOLD_REQUESTS, &[("outcome", outcome)], 1);
    }

    /// An attempt to deliver.
    pub fn outbox_delivery(&self, kind: &'static str, outcome: &'static str) {
        self.count(OUTBOX_DELIVERIES, &[("kind", kind), ("outcome", outcome)], 1);
    }

    /// How many deliveries wait or are in flight.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
    pub fn outbox_depth(&self, deliveries: u64) {
        self.set(OUTBOX_DEPTH, &[], deliveries as f64);
    }

    /// How long the oldest delivery has been waiting.
    pub fn outbox_oldest_age(&self, age: Duration) {
        self.set(OUTBOX_OLDEST_AGE, &[], age.as_secs_f64());
    }

    /// How many deliveries were given up: to Google, to webhook endpoints, and notices to the operator.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
    pub fn dead_deliveries(&self, google: u64, webhook: u64, operator: u64) {
        for (kind, count) in [("google", google), ("webhook", webhook), ("operator", operator)] {
            self.set(OUTBOX_DEAD, &[("kind", kind)], count as f64);
        }
    }

    /// How many notices wait or are in flight, how long the oldest has waited, and how many endpoints slotd disabled.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 notices")]
    pub fn notices(&self, waiting: u64, oldest: Duration, disabled: u64) {
        self.set(NOTICE_DEPTH, &[], waiting as f64);
        self.set(NOTICE_OLDEST_AGE, &[], oldest.as_secs_f64());
        self.set(NOTICE_DISABLED, &[], disabled as f64);
    }

    /// Events that were set aside.
    pub fn odd_events(&self, events: u64) {
        self.count(SYNC_ODD_EVENTS, &[], events);
    }

    /// Series that are not mirrored in full.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 series")]
    pub fn limited_series(&self, series: u64) {
        self.set(SYNC_LIMITED_SERIES, &[], series as f64);
    }

    /// How old the stalest mirror is.
    pub fn freshness_age(&self, age: Duration) {
        self.set(SYNC_FRESHNESS_AGE, &[], age.as_secs_f64());
    }

    /// How many calendars are lost.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calendars")]
    pub fn lost_calendars(&self, calendars: u64) {
        self.set(SYNC_LOST, &[], calendars as f64);
    }

    /// How many bookings wait for their owner's word.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 bookings")]
    pub fn asked_bookings(&self, bookings: u64) {
        self.set(SYNC_ASKED, &[], bookings as f64);
    }

    /// How many conflicts of a kind are open.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 conflicts")]
    pub fn open_conflicts(&self, kind: &'static str, conflicts: u64) {
        self.set(OPEN_CONFLICTS, &[("kind", kind)], conflicts as f64);
    }

    /// An ended audit, and the busy time that differs: `missing` here, or here in `surplus`. Parts of seconds count as whole
    /// ones, so that no drift is too small to be seen.
    pub fn audited(&self, outcome: &'static str, missing: TimeDelta, surplus: TimeDelta) {
        self.count(AUDIT_RUNS, &[("outcome", outcome)], 1);
        self.drift_found(missing, surplus);
    }

    fn drift_found(&self, missing: TimeDelta, surplus: TimeDelta) {
        for (kind, time) in [("missing", missing), ("surplus", surplus)] {
            let seconds = u64::try_from(whole_seconds(time)).unwrap_or_default();
            self.count(AUDIT_DRIFT, &[("kind", kind)], seconds);
        }
    }

    /// How old the oldest last audit is, and how many calendars drift.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calendars")]
    pub fn audits(&self, oldest: Duration, drifting: u64) {
        self.set(AUDIT_OLDEST_AGE, &[], oldest.as_secs_f64());
        self.set(AUDIT_DRIFTING, &[], drifting as f64);
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], by: u64) {
        self.recorder.register_counter(&key(name, labels), &METADATA).increment(by);
    }

    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], to: f64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(to);
    }

    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], elapsed: Duration) {
        self.recorder.register_histogram(&key(name, labels), &METADATA).record(elapsed.as_secs_f64());
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    const SHORT: Duration = Duration::from_millis(3);

    #[test]
    fn every_metric_appears_described_and_under_its_name() {
        let metrics = Metrics::new();
        metrics.record_http("/api/v1/businesses/{business_id}/busy", &Method::GET, 200, SHORT);
        metrics.google_call("events.list", "ok", SHORT);
        metrics.google_held_back("poll", "account");
        metrics.google_quota_left("day", 7);
        metrics.google_today(3);
        metrics.google_paused(1, 0);
        metrics.poll_periods(SHORT, SHORT);
        metrics.sync_pass("incremental", "ok", SHORT, 3);
        metrics.push_received("accepted");
        metrics.push_to_busy(SHORT);
        metrics.bookings("confirmed");
        metrics.holds("held");
        metrics.searches("found");
        metrics.invitations("sent");
        metrics.outbox_delivery("google.insert", "done");
        metrics.outbox_depth(4);
        metrics.outbox_oldest_age(SHORT);
        metrics.dead_deliveries(1, 2, 0);
        metrics.notices(3, SHORT, 1);
        metrics.odd_events(2);
        metrics.freshness_age(SHORT);
        metrics.lost_calendars(1);
        metrics.asked_bookings(1);
        metrics.open_conflicts("event", 1);
        metrics.limited_series(1);
        metrics.audited("drift", TimeDelta::milliseconds(2_500), TimeDelta::zero());
        metrics.audits(SHORT, 1);

        let page = metrics.render();
        for metric in DEFINITIONS {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{} in {page}", metric.name);
            assert!(page.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{} in {page}", metric.name);
        }
        let line = "slotd_http_request_duration_seconds_bucket{route=\"/api/v1/businesses/{business_id}/busy\",method=\"GET\",status=\"200\",le=\"0.005\"} 1\n";
        assert!(page.contains(line), "{page}");
        assert!(page.contains("slotd_sync_items_total{kind=\"incremental\"} 3\n"), "{page}");
        assert!(page.contains("slotd_outbox_depth_deliveries 4\n"), "{page}");
        assert!(page.contains("slotd_audit_drift_seconds_total{kind=\"missing\"} 3\n"), "{page}");
    }

    #[test]
    fn names_follow_the_rule() {
        for metric in DEFINITIONS {
            assert!(metric.name.starts_with("slotd_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.unit != Some(Unit::Seconds) || metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }

    #[test]
    fn two_daemons_do_not_share_their_figures() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.odd_events(5);
        assert!(one.render().contains("slotd_sync_odd_events_total 5"));
        assert!(two.render().contains("slotd_sync_odd_events_total 0"));
    }

    #[test]
    fn made_up_methods_share_one_series() {
        let metrics = Metrics::new();
        for n in 0..50 {
            let method = Method::from_bytes(format!("BREW{n}").as_bytes()).unwrap();
            metrics.record_http("/healthz", &method, 405, SHORT);
        }
        assert_eq!(metrics.render().matches("slotd_http_request_duration_seconds_count").count(), 1);
    }
}
