//! The HTTP API: how connections are accepted, requests are read and errors are answered.

pub mod accept;
pub mod extract;
pub mod problem;

pub use extract::{BodyLimit, Json, Path, Query, Rfc3339};
pub use problem::Problem;
