//! Statements for many rows at once.
//!
//! SQLite is fed multi-row VALUES with bare `?`, which it numbers itself; `$N` are named parameters there and are looked
//! up one by one, fifty times slower. PostgreSQL is fed arrays through UNNEST.

/// Most rows in one statement for SQLite; longer input is cut into statements of this size.
pub(super) const SQLITE_ROWS: usize = 64;

/// `head VALUES (?, ?, …), (?, ?, …) tail` with `rows` groups of `columns` marks.
pub(super) fn values(head: &str, columns: usize, rows: usize, tail: &str) -> String {
    let group = format!("({})", vec!["?"; columns].join(", "));
    format!("{head} VALUES {} {tail}", vec![group.as_str(); rows].join(", "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_group_of_marks_stands_for_each_row() {
        assert_eq!(
            super::values("INSERT INTO t (a, b)", 2, 2, "RETURNING a"),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) RETURNING a"
        );
    }
}
