//! Tests of the whole, and of the rules that the compiler does not hold.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod binary;
mod daemon;
mod dashboard;
mod dependencies;
mod expander;
mod floors;
mod harness;
mod judges;
mod owner_model;
mod stage;
mod store;
