//! Every metric of the process, in one place.
//!
//! Names are `slotd_<area>_<what>_<unit>`; counters end in `_total`. Label values come from closed sets and route
//! templates, never from input, so that the number of series is fixed and nothing personal is among them. The Grafana
//! dashboard is checked against [`DEFINITIONS`] by a test.

use std::{sync::Arc, time::Duration};

use metrics::{Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio_util::sync::CancellationToken;

/// Answers of the HTTP listener, by `route` (its template), `method` and `status`.
pub const HTTP_REQUEST_DURATION: &str = "slotd_http_request_duration_seconds";
/// Calls to Google, by `method` and `outcome`.
pub const GOOGLE_CALL_DURATION: &str = "slotd_google_call_duration_seconds";
/// Looks at one calendar, by `kind` and `outcome`.
pub const SYNC_PASS_DURATION: &str = "slotd_sync_pass_duration_seconds";
/// Changed events that passes received, by `kind` of pass.
pub const SYNC_ITEMS: &str = "slotd_sync_items_total";
/// Events that could not be understood and were set aside.
pub const SYNC_ODD_EVENTS: &str = "slotd_sync_odd_events_total";
/// Age of the stalest mirror that somebody relies on.
pub const SYNC_FRESHNESS_AGE: &str = "slotd_sync_freshness_age_seconds";
/// Google's notifications, by `outcome`.
pub const PUSH_RECEIVED: &str = "slotd_push_received_total";
/// From a notification to the changed busy slots.
pub const PUSH_TO_BUSY_DURATION: &str = "slotd_push_to_busy_duration_seconds";
/// Requests to book, by `outcome`.
pub const BOOKING_REQUESTS: &str = "slotd_booking_requests_total";
/// Requests to hold a slot, by `outcome`.
pub const HOLD_REQUESTS: &str = "slotd_hold_requests_total";
/// Attempts to deliver, by `kind` and `outcome`.
pub const OUTBOX_DELIVERIES: &str = "slotd_outbox_deliveries_total";
/// Deliveries that wait or are in flight.
pub const OUTBOX_DEPTH: &str = "slotd_outbox_depth_deliveries";
/// Age of the oldest delivery that waits.
pub const OUTBOX_OLDEST_AGE: &str = "slotd_outbox_oldest_age_seconds";
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
    define(SYNC_PASS_DURATION, Kind::Histogram, Unit::Seconds, "Time of one look at one calendar"),
    define(SYNC_ITEMS, Kind::Counter, Unit::Count, "Changed events received"),
    define(SYNC_ODD_EVENTS, Kind::Counter, Unit::Count, "Events that could not be understood and were set aside"),
    define(SYNC_FRESHNESS_AGE, Kind::Gauge, Unit::Seconds, "Age of the stalest mirror that somebody relies on"),
    define(PUSH_RECEIVED, Kind::Counter, Unit::Count, "Notifications received from Google"),
    define(PUSH_TO_BUSY_DURATION, Kind::Histogram, Unit::Seconds, "Time from a notification to the changed busy slots"),
    define(BOOKING_REQUESTS, Kind::Counter, Unit::Count, "Requests to book"),
    define(HOLD_REQUESTS, Kind::Counter, Unit::Count, "Requests to hold a slot"),
    define(OUTBOX_DELIVERIES, Kind::Counter, Unit::Count, "Attempts to deliver"),
    define(OUTBOX_DEPTH, Kind::Gauge, Unit::Count, "Deliveries that wait or are in flight"),
    define(OUTBOX_OLDEST_AGE, Kind::Gauge, Unit::Seconds, "Age of the oldest delivery that waits"),
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
        metrics.set(OUTBOX_DEPTH, &[], 0.0);
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

    /// Events that were set aside.
    pub fn odd_events(&self, events: u64) {
        self.count(SYNC_ODD_EVENTS, &[], events);
    }

    /// How old the stalest mirror is.
    pub fn freshness_age(&self, age: Duration) {
        self.set(SYNC_FRESHNESS_AGE, &[], age.as_secs_f64());
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
        metrics.sync_pass("incremental", "ok", SHORT, 3);
        metrics.push_received("accepted");
        metrics.push_to_busy(SHORT);
        metrics.bookings("confirmed");
        metrics.holds("held");
        metrics.outbox_delivery("google.insert", "done");
        metrics.outbox_depth(4);
        metrics.outbox_oldest_age(SHORT);
        metrics.odd_events(2);
        metrics.freshness_age(SHORT);

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
