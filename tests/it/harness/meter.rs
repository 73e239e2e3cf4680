//! Counts the rows that are written, whoever writes them.

use std::collections::BTreeMap;

use slotd::store::Sql;

use super::Raw;

const TABLES: Sql = Sql {
    sqlite: "SELECT name FROM sqlite_schema
              WHERE type = 'table' AND substr(name, 1, 5) <> '_sqlx' AND substr(name, 1, 7) <> 'sqlite_'",
    postgres: "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND left(tablename, 5) <> '_sqlx'",
};
const WRITTEN: Sql = Sql::same("SELECT what, COUNT(*) FROM meter GROUP BY what");

impl Raw {
    /// Begins to count.
    pub(crate) async fn meter(&self) {
        let tables: Vec<(String,)> = self.rows(TABLES).await;
        self.execute("CREATE TABLE meter (what TEXT NOT NULL)").await.unwrap();
        if matches!(self, Self::Postgres(_)) {
            let count = "CREATE FUNCTION meter_row() RETURNS trigger LANGUAGE plpgsql AS $$
                         BEGIN INSERT INTO meter VALUES (TG_TABLE_NAME || ' ' || lower(TG_OP)); RETURN NULL; END $$";
            self.execute(count).await.unwrap();
        }
        for (table,) in tables {
            for event in ["insert", "update", "delete"] {
                let trigger = format!("CREATE TRIGGER meter_{table}_{event} AFTER {event} ON {table}");
                let count = match self {
                    Self::Sqlite(_) => format!("{trigger} BEGIN INSERT INTO meter VALUES ('{table} {event}'); END"),
                    Self::Postgres(_) => format!("{trigger} FOR EACH ROW EXECUTE FUNCTION meter_row()"),
                };
                self.execute(&count).await.unwrap();
            }
        }
    }

    /// The rows written since the last time, as `table verb`.
    pub(crate) async fn written(&self) -> BTreeMap<String, i64> {
        let written: Vec<(String, i64)> = self.rows(WRITTEN).await;
        self.execute("DELETE FROM meter").await.unwrap();
        written.into_iter().collect()
    }
}
