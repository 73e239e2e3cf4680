//! A way past the store, for what only a fault or an attacker would do.

use std::str::FromStr;

use slotd::store::Sql;
use sqlx::{
    AssertSqlSafe, Error, FromRow, PgPool, SqlitePool,
    postgres::{PgPoolOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};

/// Plain connections of either driver.
pub(crate) enum Raw {
    /// With sqlx's settings, not the store's.
    Sqlite(SqlitePool),
    /// Likewise.
    Postgres(PgPool),
}

impl Raw {
    pub(super) async fn connect(url: &str, connections_max: u32) -> Self {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).unwrap();
            let pool = SqlitePoolOptions::new().max_connections(connections_max);
            Self::Sqlite(pool.connect_with(options).await.unwrap())
        } else {
            Self::Postgres(PgPoolOptions::new().max_connections(connections_max).connect(url).await.unwrap())
        }
    }

    /// Runs a statement that binds nothing. Returns how many rows it touched.
    pub(crate) async fn execute(&self, sql: &str) -> Result<u64, Error> {
        match self {
            Self::Sqlite(pool) => sqlx::query(AssertSqlSafe(sql)).execute(pool).await.map(|done| done.rows_affected()),
            Self::Postgres(pool) => {
                sqlx::query(AssertSqlSafe(sql)).execute(pool).await.map(|done| done.rows_affected())
            }
        }
    }

    /// Every row of a query that binds nothing.
    pub(crate) async fn rows<T>(&self, sql: Sql) -> Vec<T>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite(pool) => sqlx::query_as(sql.sqlite).fetch_all(pool).await.unwrap(),
            Self::Postgres(pool) => sqlx::query_as(sql.postgres).fetch_all(pool).await.unwrap(),
        }
    }

    /// How many rows a query that binds nothing counts.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        let rows: Vec<(i64,)> = self.rows(Sql::same(sql)).await;
        rows[0].0
    }

    /// The pool, when the database is on PostgreSQL.
    pub(crate) fn postgres(self) -> PgPool {
        match self {
            Self::Postgres(pool) => pool,
            Self::Sqlite(_) => panic!("this test is about PostgreSQL"),
        }
    }

    /// The pool, when the database is SQLite.
    pub(crate) fn sqlite(self) -> SqlitePool {
        match self {
            Self::Sqlite(pool) => pool,
            Self::Postgres(_) => panic!("this test is about SQLite"),
        }
    }
}
