//! Opening the database and running transactions.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    str::FromStr,
    sync::{Arc, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use sqlx::{
    ConnectOptions, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Notify;

use super::{
    Error, Result, Sql, businesses,
    changes::{Change, Feed},
    fetch,
    gate::{Gate, Lane, Turn},
    instant,
    log::{AUTOCHECKPOINT_PAGES, WriteAheadLog},
    together::Together,
    turnstile::{Moment, Turnstile},
};
use crate::{
    crypto::{BusinessKeys, MasterKeys},
    domain::{BusinessId, SharedChance, SharedClock},
};

/// How to open the database. Without `Debug`: the URL may hold a password.
#[derive(Clone)]
pub struct Options {
    /// `sqlite:PATH` or `postgres://…`.
    pub url: String,
    /// Most connections at once: to PostgreSQL in all; on SQLite, of readers.
    pub connections_max: u32,
    /// The longest wait for a connection.
    pub acquire_timeout: Duration,
}

/// The longest that one statement may run on PostgreSQL, and that a transaction may sit idle there.
const STATEMENT_TIMEOUT_MS: &str = "10000";
/// The longest wait for a row lock on PostgreSQL.
const LOCK_TIMEOUT_MS: &str = "5000";
/// The longest that SQLite waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
enum Engine {
    /// One writer, a few readers that see the last committed state.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        gate: Gate,
        together: Together,
        log: WriteAheadLog,
    },
    Postgres(PgPool),
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    clock: SharedClock,
    chance: SharedChance,
    master: Arc<MasterKeys>,
    keys: Arc<RwLock<HashMap<BusinessId, Arc<BusinessKeys>>>>,
    pub(super) turnstile: Option<Arc<dyn Turnstile>>,
    pub(super) feed: Feed,
    /// Wakes who delivers notices, after they are committed.
    pub(super) announced: Arc<Notify>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("engine", &self.engine).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) enum EngineTx {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A transaction. Repository methods live on it, one file for each table.
pub struct Tx {
    pub(crate) engine: EngineTx,
    store: Store,
    /// What those who listen are told after the commit.
    pub(super) changes: BTreeSet<Change>,
    /// Whether something was announced.
    pub(super) announces: bool,
    _turn: Option<Turn>,
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("engine", &self.engine).finish_non_exhaustive()
    }
}

const DATABASE_TIME: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    postgres: "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
};
const MIGRATIONS: Sql = Sql::same("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[("DATABASE_TIME", DATABASE_TIME), ("MIGRATIONS", MIGRATIONS)];

/// How the tables compare with those that this version works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Migrations that the database lacks.
    pub missing: Vec<i64>,
    /// Migrations that it has and this version does not know.
    pub unknown: Vec<i64>,
}

/// Gives a closure the shape that [`Store::read`] and [`Store::write`] take, and names its types where the compiler cannot
/// tell them.
pub fn work<T, E, F>(work: F) -> F
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
{
    work
}

impl Store {
    /// Opens the database and migrates it to this version.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, is newer than this program, or was written with other master keys.
    pub async fn open(
        options: &Options,
        clock: SharedClock,
        chance: SharedChance,
        master: Arc<MasterKeys>,
    ) -> Result<Self> {
        let engine = if options.url.starts_with("sqlite:") {
            Self::open_sqlite(options).await?
        } else if options.url.starts_with("postgres:") || options.url.starts_with("postgresql:") {
            Self::open_postgres(options).await?
        } else {
            return Err(Error::Open("the URL begins with neither sqlite: nor postgres:".into()));
        };
        let store = Self::over(engine, clock, chance, master);
        // Otherwise the daemon would start, and fail at every request.
        store.read(|tx| Box::pin(businesses::check_master(tx))).await?;
        Ok(store)
    }

    /// Opens the database as it is and only to read it: nothing is made or migrated. Another process may be at work on it.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub async fn open_to_read(
        options: &Options,
        clock: SharedClock,
        chance: SharedChance,
        master: Arc<MasterKeys>,
    ) -> Result<Self> {
        let open = |error: sqlx::Error| Error::Open(error.to_string());
        let engine = if options.url.starts_with("sqlite:") {
            let connect = SqliteConnectOptions::from_str(&options.url)
                .map_err(open)?
                .read_only(true)
                .busy_timeout(BUSY_TIMEOUT)
                .disable_statement_logging();
            let one = || SqlitePoolOptions::new().max_connections(1).acquire_timeout(options.acquire_timeout);
            let writer = one().connect_with(connect.clone()).await.map_err(open)?;
            let readers = one().connect_with(connect.clone()).await.map_err(open)?;
            let log = WriteAheadLog::open(connect).await.map_err(open)?;
            Engine::Sqlite { writer, readers, gate: Gate::new(), together: Together::default(), log }
        } else {
            let connect = Self::postgres_options(options)?.options([("default_transaction_read_only", "on")]);
            let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(options.acquire_timeout);
            Engine::Postgres(pool.connect_with(connect).await.map_err(open)?)
        };
        Ok(Self::over(engine, clock, chance, master))
    }

    fn over(engine: Engine, clock: SharedClock, chance: SharedChance, master: Arc<MasterKeys>) -> Self {
        let feed = Feed::new(chance.uuid(clock.now()));
        let (keys, announced) = (Arc::default(), Arc::default());
        Self { engine, clock, chance, master, keys, turnstile: None, feed, announced }
    }

    /// Whether the master keys at hand open what is stored.
    ///
    /// # Errors
    ///
    /// When they do not.
    pub async fn check_keys(&self) -> Result<()> {
        self.read(|tx| Box::pin(businesses::check_master(tx))).await
    }

    /// How the tables compare with those that this version works with.
    ///
    /// # Errors
    ///
    /// When it was never migrated.
    pub async fn schema(&self) -> Result<Schema> {
        let read = work::<Vec<(i64,)>, Error, _>(|tx| Box::pin(async move { fetch!(fetch_all, tx, MIGRATIONS) }));
        let applied: Vec<i64> = self.read(read).await?.into_iter().map(|(version,)| version).collect();
        let known: Vec<i64> = match &self.engine {
            Engine::Sqlite { .. } => sqlx::migrate!("migrations/sqlite").iter().map(|one| one.version).collect(),
            Engine::Postgres(_) => sqlx::migrate!("migrations/postgres").iter().map(|one| one.version).collect(),
        };
        Ok(Schema {
            missing: known.iter().filter(|version| !applied.contains(version)).copied().collect(),
            unknown: applied.into_iter().filter(|version| !known.contains(version)).collect(),
        })
    }

    async fn open_sqlite(options: &Options) -> Result<Engine> {
        let open = |error: sqlx::Error| Error::Open(error.to_string());
        let connect = SqliteConnectOptions::from_str(&options.url)
            .map_err(open)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With NORMAL a committed booking could be gone after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", "-65536")
            .pragma("mmap_size", "268435456")
            .pragma("wal_autocheckpoint", AUTOCHECKPOINT_PAGES)
            .optimize_on_close(true, None)
            .disable_statement_logging();
        if let Some(folder) = Path::new(connect.get_filename()).parent()
            && !folder.as_os_str().is_empty()
            && !folder.exists()
        {
            return Err(Error::Open(format!("the folder {} does not exist", folder.display())));
        }
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.clone())
            .await
            .map_err(open)?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|error| Error::Open(error.to_string()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections_max.clamp(1, 8))
            .acquire_timeout(options.acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect.clone().read_only(true).create_if_missing(false).optimize_on_close(false, None))
            .await
            .map_err(open)?;
        let log = WriteAheadLog::open(connect.clone()).await.map_err(open)?;
        Ok(Engine::Sqlite { writer, readers, gate: Gate::new(), together: Together::default(), log })
    }

    fn postgres_options(options: &Options) -> Result<PgConnectOptions> {
        Ok(PgConnectOptions::from_str(&options.url)
            .map_err(|error| Error::Open(error.to_string()))?
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT_MS),
                ("lock_timeout", LOCK_TIMEOUT_MS),
                ("idle_in_transaction_session_timeout", STATEMENT_TIMEOUT_MS),
                // Each start would log that the table of migrations exists already.
                ("client_min_messages", "warning"),
            ])
            .disable_statement_logging())
    }

    async fn open_postgres(options: &Options) -> Result<Engine> {
        let open = |error: sqlx::Error| Error::Open(error.to_string());
        let connect = Self::postgres_options(options)?;
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max.max(2))
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .connect_with(connect)
            .await
            .map_err(open)?;
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(|error| Error::Open(error.to_string()))?;
        Ok(Engine::Postgres(pool))
    }

    /// The word for the engine: `sqlite` or `postgres`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// The server's connections, where there is a server.
    pub(super) const fn postgres(&self) -> Option<&PgPool> {
        match &self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres(pool) => Some(pool),
        }
    }

    /// Runs `work` in a transaction that may write, and commits when it gives `Ok`.
    ///
    /// The transaction has a task of its own, so it runs to its end even when the caller goes away: `Pool::begin` of
    /// sqlx 0.9 leaves a connection inside an open transaction when it is dropped half-way on PostgreSQL.
    ///
    /// # Errors
    ///
    /// What `work` gives, after rolling back; or the engine's refusal to begin or commit.
    pub async fn write<T, E, F>(&self, lane: Lane, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.turn(Moment::BeforeWrite).await;
        let outcome = Box::pin(self.write_undisturbed(lane, work)).await;
        if outcome.is_ok() {
            self.turn(Moment::Committed).await;
        }
        outcome
    }

    async fn write_undisturbed<T, E, F>(&self, lane: Lane, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let store = self.clone();
        if matches!((&self.engine, lane), (Engine::Sqlite { .. }, Lane::Caller)) {
            return Self::undisturbed(Box::pin(async move { store.write_together(work).await })).await;
        }
        Self::undisturbed(async move {
            let tx = store.begin(lane).await?;
            let outcome = tx.run(work).await;
            if let Engine::Sqlite { log, .. } = &store.engine {
                log.wrote(lane).await;
            }
            outcome
        })
        .await
    }

    /// Runs a caller's `work` on SQLite in a transaction that others may share.
    async fn write_together<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
        E: From<Error>,
    {
        let Engine::Sqlite { writer, gate, together, log, .. } = &self.engine else { return Err(Error::Died.into()) };
        let turn = gate.pass(Lane::Caller).await;
        let open = together.enter(writer).await?;
        let (outcome, left) = open.work(self, work).await?;
        // Whoever waits for a turn has one next, and commits for us.
        let durable = if left.is_full() || !gate.callers_wait() {
            let durable = left.commit(self).await;
            log.wrote(Lane::Caller).await;
            durable
        } else {
            together.leave(left)
        };
        drop(turn);
        durable.reached().await?;
        outcome
    }

    /// Runs `work` on one consistent state of the database. It cannot write.
    ///
    /// # Errors
    ///
    /// What `work` gives; or the engine's refusal to begin.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let store = self.clone();
        self.turn(Moment::BeforeRead).await;
        Self::undisturbed(async move {
            let tx = store.begin_read().await?;
            tx.run(work).await
        })
        .await
    }

    #[expect(clippy::disallowed_methods, reason = "transactions outlive the callers that started them")]
    async fn undisturbed<T: Send + 'static, E: From<Error> + Send + 'static>(
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        tokio::spawn(work).await.unwrap_or_else(|_| Err(Error::Died.into()))
    }

    async fn begin(&self, lane: Lane) -> Result<Tx> {
        let (engine, turn) = match &self.engine {
            Engine::Sqlite { writer, gate, .. } => {
                let turn = gate.pass(lane).await;
                (EngineTx::Sqlite(begin_immediate(writer).await?), Some(turn))
            }
            Engine::Postgres(pool) => (EngineTx::Postgres(pool.begin().await?), None),
        };
        Ok(Tx { engine, store: self.clone(), changes: BTreeSet::new(), announces: false, _turn: turn })
    }

    async fn begin_read(&self) -> Result<Tx> {
        let engine = match &self.engine {
            Engine::Sqlite { readers, .. } => EngineTx::Sqlite(readers.begin().await?),
            Engine::Postgres(pool) => {
                EngineTx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        };
        Ok(Tx { engine, store: self.clone(), changes: BTreeSet::new(), announces: false, _turn: None })
    }

    /// Closes all connections, after those in use are given back.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers, log, .. } => {
                log.close().await;
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres(pool) => pool.close().await,
        }
    }

    /// Prepares each of `statements` without running it.
    ///
    /// # Errors
    ///
    /// The first that the engine does not understand.
    pub async fn prepare(&self, statements: &[(&str, Sql)]) -> Result<(), String> {
        use sqlx::{Executor, SqlSafeStr};
        for (name, sql) in statements {
            let prepared = match &self.engine {
                Engine::Sqlite { writer, .. } => writer.prepare(sql.sqlite.into_sql_str()).await.map(drop),
                Engine::Postgres(pool) => pool.prepare(sql.postgres.into_sql_str()).await.map(drop),
            };
            prepared.map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(())
    }

    /// The keys of a business, from memory after the first time.
    ///
    /// # Errors
    ///
    /// [`Error::NoBusiness`]; [`Error::Sealed`] when the master key is not the one that wrapped them.
    pub async fn keys(&self, business: BusinessId) -> Result<Arc<BusinessKeys>> {
        if let Some(keys) = self.cached_keys(business) {
            return Ok(keys);
        }
        self.read(move |tx| Box::pin(async move { tx.keys(business).await })).await
    }

    /// Wakes whoever waits for it, once for each time that notices were committed by this process.
    #[must_use]
    pub fn announced(&self) -> Arc<Notify> {
        Arc::clone(&self.announced)
    }

    fn cached_keys(&self, business: BusinessId) -> Option<Arc<BusinessKeys>> {
        self.keys.read().ok()?.get(&business).cloned()
    }

    /// Forgets keys that a transaction read which was then rolled back.
    pub(super) fn forget_keys(&self, business: BusinessId) {
        if let Ok(mut cache) = self.keys.write() {
            cache.remove(&business);
        }
    }

    pub(super) fn master(&self) -> &MasterKeys {
        &self.master
    }
}

/// A deferred transaction that reads and then writes fails at once when somebody else wrote, whatever the busy timeout. Taking
/// the write lock first makes it wait its turn.
pub(super) async fn begin_immediate(writer: &SqlitePool) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>> {
    Ok(writer.begin_with("BEGIN IMMEDIATE").await?)
}

impl Tx {
    /// One that somebody else commits.
    pub(super) fn shared(tx: sqlx::Transaction<'static, sqlx::Sqlite>, store: &Store) -> Self {
        let engine = EngineTx::Sqlite(tx);
        Self { engine, store: store.clone(), changes: BTreeSet::new(), announces: false, _turn: None }
    }

    async fn run<T, E, F>(mut self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>>,
        E: From<Error>,
    {
        match work(&mut self).await {
            Ok(value) => {
                let (changes, store) = (self.record_changes().await?, self.store.clone());
                self.commit().await?;
                store.feed.publish(changes, store.postgres().is_some());
                Ok(value)
            }
            Err(error) => {
                // The rollback of a connection that is gone has happened already.
                let _ = self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn commit(self) -> Result<()> {
        match self.engine {
            EngineTx::Sqlite(tx) => tx.commit().await?,
            EngineTx::Postgres(tx) => tx.commit().await?,
        }
        if self.announces {
            self.store.announced.notify_one();
        }
        Ok(())
    }

    async fn roll_back(self) -> Result<()> {
        match self.engine {
            EngineTx::Sqlite(tx) => tx.rollback().await?,
            EngineTx::Postgres(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    /// The keys of a business, read inside this transaction when they are not in memory.
    ///
    /// # Errors
    ///
    /// As [`Store::keys`].
    pub async fn keys(&mut self, business: BusinessId) -> Result<Arc<BusinessKeys>> {
        if let Some(keys) = self.store.cached_keys(business) {
            return Ok(keys);
        }
        let keys = Arc::new(businesses::load_keys(self, business).await?);
        if let Ok(mut cache) = self.store.keys.write() {
            cache.insert(business, Arc::clone(&keys));
        }
        Ok(keys)
    }

    /// The instant by which leases are judged: the database's own on PostgreSQL, so that nodes whose clocks disagree
    /// still agree; the injected clock on SQLite, which only one machine uses.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn lease_time(&mut self) -> Result<DateTime<Utc>> {
        match self.engine {
            EngineTx::Sqlite(_) => Ok(self.now()),
            EngineTx::Postgres(_) => self.database_time().await,
        }
    }

    /// The instant by the database's own clock.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn database_time(&mut self) -> Result<DateTime<Utc>> {
        let (micros,): (i64,) = fetch!(fetch_one, self, DATABASE_TIME)?;
        instant("-", "clock", micros)
    }

    /// The injected clock's instant.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.store.clock.now()
    }

    pub(crate) fn chance(&self) -> &SharedChance {
        &self.store.chance
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}
