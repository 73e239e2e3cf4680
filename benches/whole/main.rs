//! Measures the whole product from outside: the daemon and the stand-in for Google as processes of their own, over HTTP.
//!
//! ```text
//! cargo bench --bench whole                    everything
//! cargo bench --bench whole -- push sync       some of: push questions sync memory bookings storm
//! ```
//!
//! Prints Markdown. With `SLOTD_TEST_POSTGRES_URL` set (`tools/postgres run -- …` sets it), what depends on the database
//! is measured on PostgreSQL too.
#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

mod bookings;
mod calendar;
mod http;
mod memory;
mod process;
mod push;
mod questions;
mod sample;
mod storm;
mod sync;

use anyhow::{Result, bail};
use process::Database;

const PARTS: [&str; 6] = ["push", "questions", "sync", "memory", "bookings", "storm"];

fn main() -> Result<()> {
    // cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = asked.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("`{unknown}` is none of {}", PARTS.join(", "));
    }
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|one| one == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let databases = Database::all();
        if wanted("push") {
            push::measure().await?;
        }
        if wanted("questions") {
            questions::measure(&databases).await?;
        }
        if wanted("sync") {
            sync::measure(&databases).await?;
        }
        if wanted("memory") {
            memory::measure(&databases).await?;
        }
        if wanted("bookings") {
            bookings::measure(&databases).await?;
        }
        if wanted("storm") {
            storm::measure(&databases).await?;
        }
        Ok(())
    })
}
