//! What the operator is told: which deliveries were given up, and which endpoints were disabled. Many are one notice, and
//! none is about a notice itself.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Result, Sql, Tx, execute, fetch, json, micros, parse, to_json, turns::rows};
use crate::domain::{BusinessId, id::DeliveryId};

/// Kinds of deliveries that one notice names; the rest is a number.
const GROUPS_MAX: usize = 50;

/// By which way the operator is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A mail.
    Mail,
    /// A signed webhook.
    Post,
}

impl Channel {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Post => "post",
        }
    }
}

impl std::str::FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Mail, Self::Post];
        all.into_iter().find(|one| one.as_str() == text).ok_or_else(|| format!("`{text}` is no channel"))
    }
}

/// Deliveries of one business and kind that were given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The tenant.
    pub business_id: BusinessId,
    /// What was owed, in a word.
    pub kind: String,
    /// How many.
    pub count: usize,
    /// What came of the last try of one of them.
    pub last_error: Option<String>,
}

/// An endpoint that slotd disabled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisabledEndpoint {
    /// The tenant.
    pub business_id: BusinessId,
    /// Its id.
    pub endpoint_id: String,
    /// `gone` or `failing`.
    pub why: String,
}

/// What the operator is told. Holds ids and counts, and nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Deliveries that were given up since the last news.
    pub dead: usize,
    /// By business and kind, the first of them.
    pub groups: Vec<Group>,
    /// Endpoints that were disabled since the last news.
    pub disabled_endpoints: Vec<DisabledEndpoint>,
}

/// A notice to the operator that this node has taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorNotice {
    /// Its id, the same for each try.
    pub id: DeliveryId,
    /// By which way.
    pub channel: Channel,
    /// What it says.
    pub news: News,
    /// Under which lease.
    pub fence: i64,
    /// Tries so far, this one included.
    pub attempts: i64,
}

const T: &str = "operator_notice";
const UNTOLD: Sql = Sql::same(
    "SELECT CAST((SELECT COUNT(*) FROM outbox WHERE dead = 1 AND told = 0) AS BIGINT)
          + CAST((SELECT COUNT(*) FROM notice WHERE dead = 1 AND told = 0) AS BIGINT)
          + CAST((SELECT COUNT(*) FROM webhook_endpoint WHERE disabled_told = 0) AS BIGINT)",
);
const TELL_OUTBOX: Sql =
    Sql::same("UPDATE outbox SET told = 1 WHERE dead = 1 AND told = 0 RETURNING business_id, kind, last_error");
const TELL_NOTICES: Sql =
    Sql::same("UPDATE notice SET told = 1 WHERE dead = 1 AND told = 0 RETURNING business_id, kind, last_error");
const TELL_ENDPOINTS: Sql = Sql::same(
    "UPDATE webhook_endpoint SET disabled_told = 1 WHERE disabled_told = 0
     RETURNING business_id, id, COALESCE(disabled_why, '')",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO operator_notice (id, channel, body, due_at, lease_until, fence, attempts, dead, created_at)
     VALUES ($1, $2, $3, $4, 0, 0, 0, 0, $4)",
);
const CLAIM: Sql = Sql {
    sqlite: "UPDATE operator_notice SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
              WHERE id IN (SELECT id FROM operator_notice
                            WHERE dead = 0 AND due_at <= $3 AND lease_until <= $1 ORDER BY due_at LIMIT $4)
          RETURNING id, channel, body, fence, attempts",
    postgres: "UPDATE operator_notice SET lease_until = $2, fence = fence + 1, attempts = attempts + 1
                WHERE id IN (SELECT id FROM operator_notice
                              WHERE dead = 0 AND due_at <= $3 AND lease_until <= $1 ORDER BY due_at LIMIT $4
                                FOR UPDATE SKIP LOCKED)
            RETURNING id, channel, body, fence, attempts",
};
const DUE: Sql =
    Sql::same("SELECT COUNT(*) FROM operator_notice WHERE dead = 0 AND due_at <= $1 AND lease_until <= $2");
const DONE: Sql = Sql::same("DELETE FROM operator_notice WHERE id = $1 AND fence = $2");
const AGAIN: Sql = Sql::same(
    "UPDATE operator_notice SET due_at = $3, lease_until = 0, last_error = $4, dead = $5 WHERE id = $1 AND fence = $2",
);
const DEAD: Sql = Sql::same("SELECT COUNT(*) FROM operator_notice WHERE dead = 1");
const FORGET: Sql = Sql::same("DELETE FROM operator_notice WHERE dead = 1 AND created_at < $1");
pub(super) const END_OPERATOR_NOTICES: Sql =
    Sql::same("UPDATE operator_notice SET lease_until = 0 WHERE lease_until > 0");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("UNTOLD", UNTOLD),
    ("TELL_OUTBOX", TELL_OUTBOX),
    ("TELL_NOTICES", TELL_NOTICES),
    ("TELL_ENDPOINTS", TELL_ENDPOINTS),
    ("INSERT", INSERT),
    ("CLAIM", CLAIM),
    ("DUE", DUE),
    ("DONE", DONE),
    ("AGAIN", AGAIN),
    ("DEAD", DEAD),
    ("FORGET", FORGET),
    ("END_OPERATOR_NOTICES", END_OPERATOR_NOTICES),
];

/// Rows as groups.
fn grouped(dead: Vec<(String, String, Option<String>)>) -> Result<Vec<Group>> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for (business, kind, last_error) in dead {
        let business_id = parse(T, "business_id", &business)?;
        let new = Group { business_id, kind: kind.clone(), count: 0, last_error: None };
        let group = groups.entry((business, kind)).or_insert(new);
        group.count += 1;
        group.last_error = group.last_error.take().or(last_error);
    }
    Ok(groups.into_values().take(GROUPS_MAX).collect())
}

impl Tx {
    /// Whether there is something that the operator was not told yet.
    pub async fn has_untold(&mut self) -> Result<bool> {
        let (count,): (i64,) = fetch!(fetch_one, self, UNTOLD)?;
        Ok(count > 0)
    }

    /// Owes the operator one notice, by each of `channels`, of all that was given up since the last. `false` when there is
    /// nothing new: another node may have told it.
    pub async fn tell_operator(&mut self, channels: &[Channel]) -> Result<bool> {
        let mut dead: Vec<(String, String, Option<String>)> = fetch!(fetch_all, self, TELL_OUTBOX)?;
        let notices: Vec<(String, String, Option<String>)> = fetch!(fetch_all, self, TELL_NOTICES)?;
        dead.extend(notices);
        let endpoints: Vec<(String, String, String)> = fetch!(fetch_all, self, TELL_ENDPOINTS)?;
        if dead.is_empty() && endpoints.is_empty() {
            return Ok(false);
        }
        let disabled = |(business, endpoint_id, why): (String, String, String)| {
            Ok(DisabledEndpoint { business_id: parse(T, "business_id", &business)?, endpoint_id, why })
        };
        let disabled_endpoints: Result<Vec<_>> = endpoints.into_iter().take(GROUPS_MAX).map(disabled).collect();
        let news = News { dead: dead.len(), groups: grouped(dead)?, disabled_endpoints: disabled_endpoints? };
        let (body, now) = (to_json(T, "body", &news)?, self.now());
        for channel in channels {
            let id = DeliveryId::new(self.chance().uuid(now));
            execute!(self, INSERT, id.to_string(), channel.as_str(), &body, micros(now))?;
        }
        Ok(true)
    }

    /// Whether there is a notice to the operator that can be taken.
    pub async fn operator_notice_is_due(&mut self) -> Result<bool> {
        let (due, now) = (micros(self.now()), micros(self.lease_time().await?));
        let (count,): (i64,) = fetch!(fetch_one, self, DUE, due, now)?;
        Ok(count > 0)
    }

    /// Takes up to `limit` due notices to the operator, each for `lease`.
    pub async fn claim_operator_notices(&mut self, lease: Duration, limit: usize) -> Result<Vec<OperatorNotice>> {
        let now = self.lease_time().await?;
        let (until, due) = (micros(now + lease), micros(self.now()));
        let claimed: Vec<(String, String, String, i64, i64)> =
            fetch!(fetch_all, self, CLAIM, micros(now), until, due, rows(limit))?;
        let notice = |(id, channel, body, fence, attempts): (String, String, String, i64, i64)| {
            Ok(OperatorNotice {
                id: parse(T, "id", &id)?,
                channel: parse(T, "channel", &channel)?,
                news: json(T, "body", &body)?,
                fence,
                attempts,
            })
        };
        claimed.into_iter().map(notice).collect()
    }

    /// Ends a notice to the operator, who has it.
    pub async fn operator_told(&mut self, notice: &OperatorNotice) -> Result<()> {
        execute!(self, DONE, notice.id.to_string(), notice.fence)?;
        Ok(())
    }

    /// Puts a notice to the operator back until `due_at`, or gives it up. Nobody is told of that: `slotd doctor` shows it.
    pub async fn operator_later(
        &mut self,
        notice: &OperatorNotice,
        due_at: Option<DateTime<Utc>>,
        why: &str,
    ) -> Result<()> {
        let (id, now) = (notice.id.to_string(), self.now());
        let due = micros(due_at.unwrap_or(now));
        execute!(self, AGAIN, id, notice.fence, due, why, i64::from(due_at.is_none()))?;
        Ok(())
    }

    /// Notices to the operator that were given up.
    pub async fn dead_operator_notices(&mut self) -> Result<i64> {
        let (count,): (i64,) = fetch!(fetch_one, self, DEAD)?;
        Ok(count)
    }

    /// Forgets notices to the operator that were given up before `before`.
    pub async fn forget_operator_notices(&mut self, before: DateTime<Utc>) -> Result<u64> {
        execute!(self, FORGET, micros(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_one_group() {
        let business = "0192f5f4-7c1e-7000-8000-000000000001".to_owned();
        let row = |kind: &str, why: Option<&str>| (business.clone(), kind.to_owned(), why.map(str::to_owned));
        let rows = vec![row("a", None), row("b", Some("x")), row("a", Some("y")), row("a", Some("z"))];
        let groups = grouped(rows).unwrap();
        let told: Vec<_> = groups.iter().map(|one| (one.kind.as_str(), one.count, one.last_error.as_deref())).collect();
        assert_eq!(told, [("a", 3, Some("y")), ("b", 1, Some("x"))]);
    }
}
