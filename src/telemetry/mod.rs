//! What the operator sees: log lines and metrics.

pub mod logs;
pub mod metrics;

pub use metrics::Metrics;
