//! A database of its own for each test, on either engine.

mod meter;
mod raw;
pub(crate) mod samples;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use slotd::{
    crypto::MasterKeys,
    domain::{
        Chance, Clock,
        clock::{SystemChance, SystemClock, TestClock},
    },
    store::{self, Lane, Options, Store, Tx},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tempfile::TempDir;

pub(crate) use raw::Raw;

/// Names the PostgreSQL server on which tests make their databases.
const SERVER: &str = "SLOTD_TEST_POSTGRES_URL";

/// Makes each `async fn name(db: Db)` two tests: `name::sqlite` and `name::postgres`. Takes a bare [`Home`], too.
macro_rules! on_both_engines {
    ($(async fn $name:ident($db:ident: $kind:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn check($db: $kind) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                check($kind::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                check($kind::postgres().await).await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// A fresh, migrated database, gone when this is dropped.
pub(crate) struct Db {
    /// Opened with [`Db::clock`], chance of the system, and enough connections for what tests do at once.
    pub(crate) store: Store,
    /// Stands at [`samples::START`] until the test moves it.
    pub(crate) clock: Arc<TestClock>,
    master: Arc<MasterKeys>,
    home: Home,
}

/// Where a new, empty database is. It is gone when this is dropped.
pub(crate) struct Home {
    url: String,
    place: Place,
}

/// What is to be cleaned up.
enum Place {
    Folder(TempDir),
    Server { url: String, name: String },
}

impl Home {
    /// In a file of a new folder.
    #[expect(clippy::unused_async, reason = "made like the other one")]
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("slotd.db").display());
        Self { url, place: Place::Folder(folder) }
    }

    /// On the server that the environment names. Without one the test fails: a skipped test looks like a passed one.
    pub(crate) async fn postgres() -> Self {
        #[expect(clippy::disallowed_methods, reason = "only the environment of the run knows the server")]
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} must name a PostgreSQL server on which tests can make databases, as `tools/postgres run` does"
            )
        });
        Self::on(server).await
    }

    /// On this PostgreSQL server.
    pub(crate) async fn on(server: String) -> Self {
        let name = format!("slotd_test_{}", SystemChance.uuid(SystemClock.now()).simple());
        let mut connection = PgConnection::connect(&server).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        Self { url: url.into(), place: Place::Server { url: server, name } }
    }

    /// As `database.url` names it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is a file.
    pub(crate) fn is_sqlite(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// Connections of the test's own, past any store.
    pub(crate) async fn raw(&self, connections_max: u32) -> Raw {
        Raw::connect(&self.url, connections_max).await
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Place::Server { url, name } = &self.place else { return };
        let (url, drop) = (url.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // A failed test unwinds through here, where nothing can be awaited.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                connection.execute(AssertSqlSafe(drop)).await.unwrap();
            });
        });
        assert!(dropped.join().is_ok() || std::thread::panicking(), "the database {name} stays behind");
    }
}

impl Db {
    /// On SQLite.
    pub(crate) async fn sqlite() -> Self {
        Self::open(Home::sqlite().await).await
    }

    /// On PostgreSQL, as [`Home::postgres`] finds it.
    pub(crate) async fn postgres() -> Self {
        Self::open(Home::postgres().await).await
    }

    async fn open(home: Home) -> Self {
        let clock = TestClock::at(samples::START);
        let master = Arc::new(MasterKeys::generate("test", &SystemChance).unwrap());
        let store = open(home.url(), 24, Arc::clone(&clock), Arc::clone(&master)).await;
        Self { store, clock, master, home }
    }

    /// Another node on the same database: nothing in memory is shared but the clock.
    pub(crate) async fn another_node(&self, connections_max: u32) -> Store {
        open(self.home.url(), connections_max, Arc::clone(&self.clock), Arc::clone(&self.master)).await
    }

    /// The folder of an SQLite database.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        match &self.home.place {
            Place::Folder(folder) => Some(folder.path()),
            Place::Server { .. } => None,
        }
    }

    /// As `database.url` names it.
    pub(crate) fn url(&self) -> &str {
        self.home.url()
    }

    /// The master key of its businesses.
    pub(crate) fn master(&self) -> Arc<MasterKeys> {
        Arc::clone(&self.master)
    }

    /// Connections of the test's own, past the store.
    pub(crate) async fn raw(&self, connections_max: u32) -> Raw {
        self.home.raw(connections_max).await
    }

    /// [`Store::write`] of a caller.
    pub(crate) async fn write<T, F>(&self, work: F) -> store::Result<T>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, store::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.write(Lane::Caller, work).await
    }

    /// [`Store::read`] that must work.
    pub(crate) async fn read<T, F>(&self, work: F) -> T
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, store::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.read(work).await.unwrap()
    }

    /// Lets `time` pass, by the clock that judges leases: ours on SQLite, the server's on PostgreSQL.
    pub(crate) async fn outlast(&self, time: Duration) {
        let lease_time = || self.read(|tx| Box::pin(tx.lease_time()));
        let end = lease_time().await + time;
        if self.folder().is_some() {
            self.clock.advance(chrono::TimeDelta::from_std(time).unwrap());
        }
        while lease_time().await < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn open(url: &str, connections_max: u32, clock: Arc<TestClock>, master: Arc<MasterKeys>) -> Store {
    let options = Options { url: url.to_owned(), connections_max, acquire_timeout: Duration::from_secs(20) };
    Store::open(&options, clock, Arc::new(SystemChance), master).await.unwrap()
}
