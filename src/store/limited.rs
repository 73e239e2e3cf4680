//! Series that are not mirrored in full, so that a person can look at them.

use super::{Result, Sql, Tx, events::Generation, execute, fetch};
use crate::domain::BusinessId;

/// Why a series is not mirrored in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Some of its rules cannot be read.
    Odd,
    /// It repeats more often than slotd follows.
    Truncated,
}

impl Limited {
    /// The word for tables and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Odd => "odd",
            Self::Truncated => "truncated",
        }
    }
}

const FULL: Sql = Sql::same(
    "DELETE FROM limited_series WHERE business_id = $1 AND calendar_id = $2 AND generation = $3 AND series_id = $4",
);
const LIMITED: Sql = Sql::same(
    "INSERT INTO limited_series (business_id, calendar_id, generation, series_id, why) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (business_id, calendar_id, generation, series_id) DO UPDATE SET why = excluded.why",
);
const COUNT: Sql =
    Sql::same("SELECT COUNT(*) FROM limited_series WHERE business_id = $1 AND calendar_id = $2 AND generation = $3");
const LIST: Sql = Sql::same(
    "SELECT l.calendar_id, l.series_id, l.why FROM calendar c
       JOIN limited_series l ON l.business_id = c.business_id AND l.calendar_id = c.id AND l.generation = c.generation
      WHERE c.business_id = $1 ORDER BY l.calendar_id, l.series_id LIMIT $2",
);
const EVERYWHERE: Sql = Sql::same(
    "SELECT COUNT(*) FROM limited_series l
       JOIN calendar c ON l.business_id = c.business_id AND l.calendar_id = c.id AND l.generation = c.generation",
);
pub(super) const PURGE: Sql = Sql::same(
    "DELETE FROM limited_series
      WHERE business_id = $1 AND calendar_id = $2 AND generation < $3
        AND generation <> (SELECT generation FROM calendar c WHERE c.business_id = $1 AND c.id = $2)",
);
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("FULL", FULL),
    ("LIMITED", LIMITED),
    ("COUNT", COUNT),
    ("LIST", LIST),
    ("EVERYWHERE", EVERYWHERE),
    ("PURGE", PURGE),
];

/// A series that is not mirrored in full: slotd's id of its calendar, Google's of its master, and why as a word.
pub type LimitedSeries = (String, String, String);

impl Tx {
    /// Notes why a series is not mirrored in full; `None` when it is.
    pub async fn limit_series(&mut self, of: Generation, series_id: &str, why: Option<Limited>) -> Result<()> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        match why {
            None => execute!(self, FULL, &business, &calendar, of.number, series_id)?,
            Some(why) => execute!(self, LIMITED, &business, &calendar, of.number, series_id, why.as_str())?,
        };
        Ok(())
    }

    /// How many series of a mirror are not there in full.
    pub async fn count_limited(&mut self, of: Generation) -> Result<i64> {
        let (business, calendar) = (of.business.to_string(), of.calendar.to_string());
        let (count,): (i64,) = fetch!(fetch_one, self, COUNT, &business, &calendar, of.number)?;
        Ok(count)
    }

    /// Up to `limit` series of a business that are not mirrored in full, by calendar.
    pub async fn limited_series(&mut self, business: BusinessId, limit: usize) -> Result<Vec<LimitedSeries>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        fetch!(fetch_all, self, LIST, business.to_string(), limit)
    }

    /// How many series of all businesses are not mirrored in full.
    pub async fn limited_series_everywhere(&mut self) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, EVERYWHERE)?;
        Ok(count)
    }
}
