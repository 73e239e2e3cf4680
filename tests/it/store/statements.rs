//! The SQL texts and the two schemas.

use std::{collections::BTreeSet, fs, path::Path};

use slotd::store::{STATEMENTS, Sql};

use crate::harness::{Db, on_both_engines};

on_both_engines! {
    async fn every_statement_prepares(db: Db) {
        for file in STATEMENTS {
            db.store.prepare(file).await.unwrap();
        }
    }

    async fn a_statement_that_the_engine_does_not_understand_is_named(db: Db) {
        let refused = db.store.prepare(&[("ODD", Sql::same("SELECT nothing FROM nowhere"))]).await.unwrap_err();
        assert!(refused.starts_with("ODD: "), "{refused}");
    }
}

/// What an incremental pass and a push run, by file and name.
const OF_A_PASS: [&str; 12] = [
    "SERIES",
    "DELETE",
    "DELETE_SERIES",
    "SLOTS",
    "FREE_SLOT",
    "FREE_SERIES",
    "KEEP",
    "FINISH",
    "WAKE",
    "AWAKE",
    "FULL",
    "LIMITED",
];

#[tokio::test]
async fn a_pass_and_a_push_find_their_rows_by_an_index() {
    let db = Db::sqlite().await;
    let pool = db.raw(1).await.sqlite();
    let mut found = 0;
    for (name, sql) in STATEMENTS.iter().copied().flatten().filter(|(name, _)| OF_A_PASS.contains(name)) {
        found += 1;
        let explain = format!("EXPLAIN QUERY PLAN {}", sql.sqlite);
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sqlx::AssertSqlSafe(explain)).fetch_all(&pool).await.unwrap();
        assert!(plan.iter().all(|(.., step)| !step.starts_with("SCAN")), "{name}: {plan:?}");
    }
    assert!(found >= OF_A_PASS.len(), "{found}");
}

#[test]
fn every_statement_is_listed_where_the_test_of_them_all_looks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let all = fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let module = path.file_stem().unwrap().to_str().unwrap();
        for name in statements(&text) {
            found += 1;
            assert!(text.contains(&format!("(\"{name}\", {name})")), "{module}: {name} is not in STATEMENTS");
            assert!(all.contains(&format!("    {module}::STATEMENTS,\n")), "{module} is not in store::STATEMENTS");
        }
    }
    let listed: usize = STATEMENTS.iter().map(|file| file.len()).sum();
    assert_eq!(found, listed);
}

/// The names of the constants of type `Sql`.
fn statements(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let (head, _) = line.split_once(": Sql =")?;
        head.rsplit_once("const ").map(|(_, name)| name)
    })
}

/// A column: table, name, type, whether it must have a value, and its place in the primary key.
type Column = (String, String, String, i64, i64);

const COLUMNS: Sql = Sql {
    sqlite: "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk
               FROM sqlite_schema t JOIN pragma_table_info(t.name) c
              WHERE t.type = 'table' AND substr(t.name, 1, 5) <> '_sqlx' AND substr(t.name, 1, 7) <> 'sqlite_'",
    postgres: "SELECT c.table_name::text, c.column_name::text,
                      CASE c.data_type WHEN 'bigint' THEN 'INTEGER' WHEN 'bytea' THEN 'BLOB' WHEN 'text' THEN 'TEXT'
                                       ELSE c.data_type END,
                      CASE c.is_nullable WHEN 'NO' THEN 1::bigint ELSE 0 END,
                      COALESCE((SELECT k.ordinal_position::bigint
                                  FROM information_schema.table_constraints p
                                  JOIN information_schema.key_column_usage k
                                    ON k.constraint_schema = p.constraint_schema
                                   AND k.constraint_name = p.constraint_name
                                 WHERE p.constraint_type = 'PRIMARY KEY' AND p.table_schema = c.table_schema
                                   AND p.table_name = c.table_name AND k.column_name = c.column_name), 0)
                 FROM information_schema.columns c
                WHERE c.table_schema = 'public' AND left(c.table_name, 5) <> '_sqlx'",
};
/// A foreign key's column: table, name, the table and column that it names, and what a deletion there does.
type Reference = (String, String, String, String, String);

const REFERENCES: Sql = Sql {
    sqlite: "SELECT t.name, f.\"from\", f.\"table\", f.\"to\", f.on_delete
               FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table'",
    postgres: "SELECT f.conrelid::regclass::text, a.attname::text, f.confrelid::regclass::text, b.attname::text,
                      CASE f.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'a' THEN 'NO ACTION' ELSE f.confdeltype::text END
                 FROM pg_constraint f
                CROSS JOIN LATERAL unnest(f.conkey, f.confkey) AS pair (own, other)
                 JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = pair.own
                 JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = pair.other
                WHERE f.contype = 'f'",
};
const INDEXES: Sql = Sql {
    sqlite: "SELECT name, tbl_name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
    postgres: "SELECT indexname::text, tablename::text FROM pg_indexes
                WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)",
};

#[tokio::test]
async fn the_two_schemas_agree() {
    let (sqlite, postgres) = (Db::sqlite().await, Db::postgres().await);
    let (one, other) = (sqlite.raw(1).await, postgres.raw(1).await);

    let left: BTreeSet<Column> = one.rows(COLUMNS).await.into_iter().collect();
    let right: BTreeSet<Column> = other.rows(COLUMNS).await.into_iter().collect();
    assert!(left.iter().any(|(table, column, ..)| table == "busy_slot" && column == "generation"), "{left:?}");
    assert_eq!(differences(&left, &right), Vec::<&Column>::new());

    let left: BTreeSet<Reference> = one.rows(REFERENCES).await.into_iter().collect();
    let right: BTreeSet<Reference> = other.rows(REFERENCES).await.into_iter().collect();
    assert!(!left.is_empty());
    assert_eq!(differences(&left, &right), Vec::<&Reference>::new());

    let left: BTreeSet<(String, String)> = one.rows(INDEXES).await.into_iter().collect();
    let right: BTreeSet<(String, String)> = other.rows(INDEXES).await.into_iter().collect();
    assert!(!left.is_empty());
    assert_eq!(differences(&left, &right), Vec::<&(String, String)>::new());
}

fn differences<'a, T: Ord>(left: &'a BTreeSet<T>, right: &'a BTreeSet<T>) -> Vec<&'a T> {
    left.symmetric_difference(right).collect()
}
