//! The seam between one SQL text and two drivers.

/// A statement, in the dialect of each engine.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// For SQLite.
    pub sqlite: &'static str,
    /// For PostgreSQL.
    pub postgres: &'static str,
}

impl Sql {
    /// One text that both engines understand.
    #[must_use]
    pub const fn same(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

/// `execute!(tx, SQL, bind, …)`: how many rows it touched.
///
/// Like its sibling it expands to one call for each driver, so that binds and rows are type-checked against both.
macro_rules! execute {
    ($tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.engine {
            $crate::store::engine::EngineTx::Sqlite(tx) => sqlx::query($sql.sqlite)
                $(.bind($bind))*.execute(&mut **tx).await
                .map(|done| done.rows_affected()).map_err($crate::store::Error::from),
            $crate::store::engine::EngineTx::Postgres(tx) => sqlx::query($sql.postgres)
                $(.bind($bind))*.execute(&mut **tx).await
                .map(|done| done.rows_affected()).map_err($crate::store::Error::from),
        }
    };
}

/// `fetch!(fetch_all, tx, SQL, bind, …)`: rows as anything that is `FromRow`.
macro_rules! fetch {
    ($verb:ident, $tx:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.engine {
            $crate::store::engine::EngineTx::Sqlite(tx) => sqlx::query_as($sql.sqlite)
                $(.bind($bind))*.$verb(&mut **tx).await.map_err($crate::store::Error::from),
            $crate::store::engine::EngineTx::Postgres(tx) => sqlx::query_as($sql.postgres)
                $(.bind($bind))*.$verb(&mut **tx).await.map_err($crate::store::Error::from),
        }
    };
}
pub(crate) use {execute, fetch};
