//! Keeps SQLite's write-ahead log short without making anybody wait who must not.
//!
//! By itself SQLite moves the log into the database within the commit that makes it long, while the writer holds the
//! gate. Here a connection of its own does it beside the writer, and the background transaction that came before waits
//! for it, so that a long first sync cannot outrun it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::Lane;

/// Pages at which a commit moves the log itself after all: 64 MiB of 4 KiB each.
pub(super) const AUTOCHECKPOINT_PAGES: &str = "16384";
/// Commits after which the log is moved.
const COMMITS: usize = 16;
/// The first round leaves what was committed during it. Only a log that was moved to its end begins anew.
const ROUNDS: usize = 2;

#[derive(Debug, Clone)]
pub(super) struct WriteAheadLog {
    connection: SqlitePool,
    commits: Arc<AtomicUsize>,
}

impl WriteAheadLog {
    pub(super) async fn open(connect: SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let one = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let connection = one.connect_with(connect.optimize_on_close(false, None)).await?;
        Ok(Self { connection, commits: Arc::default() })
    }

    /// Is told of each transaction that has ended.
    pub(super) async fn wrote(&self, lane: Lane) {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if lane == Lane::Caller || commits < COMMITS {
            return;
        }
        self.commits.store(0, Ordering::Relaxed);
        for _ in 0..ROUNDS {
            // PASSIVE waits for nobody and makes nobody wait. What it cannot move now, it moves the next time.
            if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.connection).await {
                return tracing::warn!(%error, "cannot move SQLite's log into the database; it grows meanwhile");
            }
        }
    }

    pub(super) async fn close(&self) {
        self.connection.close().await;
    }
}
