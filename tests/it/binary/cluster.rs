//! A PostgreSQL server of a test's own, which it may crash.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use sqlx::{Connection, PgConnection, Row};

use super::{installation::signal, wait_for};

const TOOL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/postgres");
/// Tells where the server is, and keeps it up for longer than any test lasts.
const TELL: &str = r#"echo "$SLOTD_TEST_POSTGRES_URL"; exec sleep 1200"#;
const SEVER: &str = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

pub(crate) struct Cluster {
    /// As the databases' owner.
    pub(crate) url: String,
    tool: Child,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let command = ["run", "--", "sh", "-c", TELL];
        let mut tool = Command::new(TOOL).args(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(tool.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "tools/postgres tells where the server is: {url:?}");
        Self { url: url.trim().to_owned(), tool }
    }

    async fn connect(&self) -> Option<PgConnection> {
        PgConnection::connect(&self.url).await.ok()
    }

    /// Kills one of the server's processes: PostgreSQL ends all others at once, without a checkpoint, and recovers from its
    /// log, as after a power cut. Returns when it takes connections again.
    pub(crate) async fn crash(&self) {
        let mut connection = self.connect().await.unwrap();
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        signal("KILL", row.get::<i32, _>(0).unsigned_abs());
        wait_for("PostgreSQL recovers", || self.connect()).await;
    }

    /// Ends every connection to the server, as its administrator may. Returns how many there were.
    pub(crate) async fn sever(&self) -> i64 {
        let mut connection = self.connect().await.unwrap();
        sqlx::query(SEVER).fetch_one(&mut connection).await.unwrap().get(0)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        signal("TERM", self.tool.id());
        let _ = self.tool.wait();
    }
}
