//! The Grafana dashboard and the metrics belong together.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use slotd::telemetry::metrics::{DEFINITIONS, Kind};

/// The metrics that the queries of the dashboard name, without what Prometheus adds to the name of a histogram.
fn charted() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/slotd.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries =
        panels.flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| target["expr"].as_str().unwrap());
    let words = queries.flat_map(|query| query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words.filter(|word| word.starts_with("slotd_")).map(base_name).collect()
}

fn base_name(series: &str) -> String {
    let histograms = DEFINITIONS.iter().filter(|metric| metric.kind == Kind::Histogram);
    let base = histograms.map(|metric| metric.name).find(|name| {
        let added = series.strip_prefix(name);
        matches!(added, Some("_bucket" | "_count" | "_sum"))
    });
    base.unwrap_or(series).to_owned()
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let defined: BTreeSet<String> = DEFINITIONS.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(charted(), defined);
}
