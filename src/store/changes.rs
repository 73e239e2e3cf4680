//! The feed of changes: who shows or caches something is told, after the commit, that it may be different now.
//!
//! A transaction notes what it changed (`Tx::changed`). After its commit those who listen on this node hear of it at
//! once ([`Store::changes`]). On PostgreSQL the other nodes hear of it through NOTIFY, sent beside the transactions because
//! one inside serialises the commits of a database; and whoever missed that reads the table `change`, which the
//! transaction itself wrote. A change says only where to look. What is true is read from the tables.

use std::{
    collections::BTreeSet,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream::BoxStream};
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Notify, broadcast},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{Lane, Result, Sql, Store, Tx, engine, execute, fetch, micros};
use crate::domain::{BusinessId, CalendarId, ResourceId};

/// What may be different now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Anything of the business: its rules, who does what.
    All,
    /// What its calls were offered, or that one ended.
    Calls,
    /// When a resource is taken: holds and bookings.
    Resource(ResourceId),
    /// When a calendar is busy.
    Calendar(CalendarId),
}

/// A change of one business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// Whose.
    pub business: BusinessId,
    /// Of what.
    pub part: Part,
}

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// This may be different now.
    Changed(Change),
    /// Something may have been missed: anything may be different.
    Missed,
}

/// The ear of somebody on this node. It never makes a transaction wait: who falls behind hears [`Heard::Missed`].
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Heard>);

impl Changes {
    /// The next that happens. Never, when the store is gone. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(heard) => heard,
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// What has happened already, without waiting.
    pub fn try_next(&mut self) -> Option<Heard> {
        match self.0.try_recv() {
            Ok(heard) => Some(heard),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Heard::Missed),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }
}

/// Changes that a listener may be behind before it hears that it missed some.
const BEHIND_MAX: usize = 1_024;
/// A transaction that changed more parts than this says that all of the business did.
const PARTS_MAX: usize = 16;
/// Changes that wait to be told to other nodes. What is more they find in the table.
const PENDING_MAX: usize = 10_000;
/// How often the table is read for what no notification told.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Changes read from it in one go.
const POLLED_MAX: i64 = 1_000;
/// How long a change is kept for nodes that missed its notification. A node that did not read for so long may have missed
/// anything.
const KEPT: TimeDelta = TimeDelta::minutes(10);
/// How often older ones are deleted.
const PURGE_EVERY: Duration = Duration::from_mins(5);
/// The longest that changes still to be told may hold up the stop of the process.
const FLUSH_MAX: Duration = Duration::from_secs(1);

const CHANNEL: &str = "slotd_change";
/// PostgreSQL refuses a payload of 8,000 bytes.
const PAYLOAD_MAX: usize = 7_900;

const NOTIFY: Sql = Sql { sqlite: "SELECT $1, $2", postgres: "SELECT pg_notify($1, $2)" };
const RECORD: Sql = Sql {
    sqlite: "INSERT INTO change (business_id, xid, part, at) VALUES ($1, 0, $2, $3) ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO change (business_id, xid, part, at)
               VALUES ($1, CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT), $2, $3) ON CONFLICT DO NOTHING",
};
/// Every transaction below it has ended, so none of them will show later what is below it.
const SETTLED: Sql = Sql {
    sqlite: "SELECT CAST(0 AS INTEGER)",
    postgres: "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)",
};
const SINCE: Sql =
    Sql::same("SELECT business_id, part, xid FROM change WHERE xid >= $1 AND xid < $2 ORDER BY xid LIMIT $3");
const PURGE: Sql = Sql::same("DELETE FROM change WHERE at < $1");
pub(super) const STATEMENTS: &[(&str, Sql)] =
    &[("NOTIFY", NOTIFY), ("RECORD", RECORD), ("SETTLED", SETTLED), ("SINCE", SINCE), ("PURGE", PURGE)];

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Calls => f.write_str("calls"),
            Self::Resource(id) => write!(f, "resource {id}"),
            Self::Calendar(id) => write!(f, "calendar {id}"),
        }
    }
}

impl FromStr for Part {
    type Err = ();

    /// A part that this version does not know is all of the business: a newer node wrote it.
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text.split_once(' ') {
            None if text == "calls" => Self::Calls,
            Some(("resource", id)) => Self::Resource(id.parse().map_err(drop)?),
            Some(("calendar", id)) => Self::Calendar(id.parse().map_err(drop)?),
            None | Some(_) => Self::All,
        })
    }
}

/// Changes in the form of a notification: one a line, behind the node that tells them.
fn payloads(node: &str, changes: &BTreeSet<Change>) -> Vec<String> {
    let mut payloads: Vec<String> = Vec::new();
    for change in changes {
        let line = format!("\n{} {}", change.business, change.part);
        match payloads.last_mut() {
            Some(last) if last.len() + line.len() <= PAYLOAD_MAX => last.push_str(&line),
            _ => payloads.push(format!("{node}{line}")),
        }
    }
    payloads
}

/// The changes in a notification of another node; `None` when this node sent it.
fn read_payload<'a>(node: &str, payload: &'a str) -> Option<impl Iterator<Item = Heard> + use<'a>> {
    let mut lines = payload.lines();
    if lines.next() == Some(node) {
        return None;
    }
    let change = |line: &str| {
        let (business, part) = line.split_once(' ')?;
        Some(Change { business: business.parse().ok()?, part: part.parse().ok()? })
    };
    Some(lines.map(move |line| change(line).map_or(Heard::Missed, Heard::Changed)))
}

/// The feed of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    ears: broadcast::Sender<Heard>,
    /// What other nodes are to be told.
    pending: Arc<Mutex<BTreeSet<Change>>>,
    wake: Arc<Notify>,
    /// Tells this node's notifications from those of others.
    node: Arc<str>,
}

impl Feed {
    pub(super) fn new(node: uuid::Uuid) -> Self {
        let (ears, _) = broadcast::channel(BEHIND_MAX);
        Self { ears, pending: Arc::default(), wake: Arc::default(), node: node.to_string().into() }
    }

    fn tell(&self, heard: Heard) {
        // Nobody may be listening.
        let _ = self.ears.send(heard);
    }

    /// Tells of what was committed. `abroad`: the other nodes, too.
    pub(super) fn publish(&self, changes: BTreeSet<Change>, abroad: bool) {
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            self.tell(Heard::Changed(*change));
        }
        if abroad {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.len() < PENDING_MAX {
                pending.extend(changes);
            }
            drop(pending);
            self.wake.notify_one();
        }
    }

    fn take_pending(&self) -> BTreeSet<Change> {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tx {
    /// Notes that something may be different once this transaction has committed.
    pub(super) fn changed(&mut self, business: BusinessId, part: Part) {
        self.changes.insert(Change { business, part });
    }

    /// Takes what was noted, and writes it down for other nodes.
    pub(super) async fn record_changes(&mut self) -> Result<BTreeSet<Change>> {
        let mut changes = std::mem::take(&mut self.changes);
        if changes.len() > PARTS_MAX {
            changes = changes.iter().map(|change| Change { part: Part::All, ..*change }).collect();
        }
        if matches!(self.engine, engine::EngineTx::Postgres(_)) {
            let now = micros(self.now());
            for change in &changes {
                execute!(self, RECORD, change.business.to_string(), change.part.to_string(), now)?;
            }
        }
        Ok(changes)
    }

    /// The changes from transaction `from` on of which all has settled, and from where to read on.
    async fn changes_since(&mut self, from: i64) -> Result<(Vec<Heard>, i64)> {
        let (settled,): (i64,) = fetch!(fetch_one, self, SETTLED)?;
        let rows: Vec<(String, String, i64)> = fetch!(fetch_all, self, SINCE, from, settled, POLLED_MAX)?;
        // A full page may end inside a transaction, whose changes are then told twice.
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= POLLED_MAX;
        let next = rows.last().filter(|_| full).map_or(settled, |(_, _, xid)| *xid);
        let heard = rows.iter().map(|(business, part, _)| {
            let change = business.parse().ok().zip(part.parse().ok());
            change.map_or(Heard::Missed, |(business, part)| Heard::Changed(Change { business, part }))
        });
        Ok((heard.collect(), next))
    }

    async fn settled(&mut self) -> Result<i64> {
        let (settled,): (i64,) = fetch!(fetch_one, self, SETTLED)?;
        Ok(settled)
    }
}

impl Store {
    /// An ear for what happens from now on, on this node and, while [`Store::carry_changes`] runs, on others.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.feed.ears.subscribe())
    }

    /// Carries changes between this node and the others until `stop` is cancelled. On SQLite there are no others.
    pub async fn carry_changes(self, stop: CancellationToken) {
        let Some(pool) = self.postgres().cloned() else { return stop.cancelled().await };
        let mut looks = interval(POLL_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ear, mut reader) = (Ear::new(&pool), Reader::default());
        let mut purged = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.feed.wake.notified() => self.flush(&pool).await,
                payload = ear.next() => {
                    for heard in read_payload(&self.feed.node, &payload).into_iter().flatten() {
                        self.feed.tell(heard);
                    }
                }
                _ = looks.tick() => {
                    reader.read(&self).await;
                    if purged.elapsed() >= PURGE_EVERY {
                        purged = Instant::now();
                        self.purge_changes().await;
                    }
                }
            }
        }
        // The last of them matter as much; who misses them finds them in the table.
        let _ = tokio::time::timeout(FLUSH_MAX, self.flush(&pool)).await;
    }

    async fn flush(&self, pool: &PgPool) {
        for payload in payloads(&self.feed.node, &self.feed.take_pending()) {
            if let Err(error) = sqlx::query(NOTIFY.postgres).bind(CHANNEL).bind(payload).execute(pool).await {
                tracing::debug!(%error, "cannot notify other nodes; they read the changes from the table");
                return;
            }
        }
    }

    async fn purge_changes(&self) {
        let purge = super::work::<(), super::Error, _>(|tx| {
            Box::pin(async move {
                let before = micros(tx.now() - KEPT);
                execute!(tx, PURGE, before)?;
                Ok(())
            })
        });
        if let Err(error) = self.write(Lane::Background, purge).await {
            tracing::warn!(%error, "cannot delete old changes");
        }
    }
}

/// Reads what no notification told.
#[derive(Default)]
struct Reader {
    /// From which transaction on, and when that was found.
    from: Option<(i64, Instant)>,
    failing: bool,
}

impl Reader {
    async fn read(&mut self, store: &Store) {
        let from = self.from.filter(|(_, at)| at.elapsed() < KEPT.to_std().unwrap_or_default() / 2);
        let read = super::work::<(Vec<Heard>, i64), super::Error, _>(move |tx| {
            Box::pin(async move {
                match from {
                    Some((from, _)) => tx.changes_since(from).await,
                    // At the start nobody has missed anything yet; after a long silence everybody has.
                    None => Ok((vec![Heard::Missed], tx.settled().await?)),
                }
            })
        });
        match store.read(read).await {
            Ok((heard, next)) => {
                self.failing = false;
                self.from = Some((next, Instant::now()));
                for heard in heard {
                    store.feed.tell(heard);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "cannot read the changes of other nodes");
                }
            }
        }
    }
}

/// Listens to notifications on a connection of its own, and gets a new one when it is lost.
struct Ear {
    /// Of one connection, so that listening takes none from those who write.
    pool: PgPool,
    stream: Option<BoxStream<'static, sqlx::Result<sqlx::postgres::PgNotification>>>,
}

impl Ear {
    fn new(pool: &PgPool) -> Self {
        let one = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        Self { pool: one.connect_lazy_with(pool.connect_options().as_ref().clone()), stream: None }
    }

    /// The next payload. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> String {
        loop {
            if self.stream.is_none() {
                match Self::listen(&self.pool).await {
                    Ok(listener) => self.stream = Some(listener.into_stream().boxed()),
                    Err(error) => {
                        tracing::debug!(%error, "cannot listen to other nodes; their changes are read from the table");
                        sleep(POLL_EVERY).await;
                    }
                }
            }
            let Some(stream) = &mut self.stream else { continue };
            match stream.next().await {
                Some(Ok(notification)) => return notification.payload().to_owned(),
                Some(Err(_)) | None => self.stream = None,
            }
        }
    }

    async fn listen(pool: &PgPool) -> sqlx::Result<PgListener> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn change(number: u128) -> Change {
        Change {
            business: BusinessId::new(Uuid::from_u128(number)),
            part: Part::Resource(ResourceId::new(Uuid::from_u128(number))),
        }
    }

    #[test]
    fn a_part_is_read_back_as_it_was_written() {
        let id = Uuid::from_u128(7);
        for part in [Part::All, Part::Calls, Part::Resource(ResourceId::new(id)), Part::Calendar(CalendarId::new(id))] {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        assert_eq!("of a newer version".parse(), Ok(Part::All));
    }

    #[test]
    fn many_changes_become_notifications_that_postgresql_takes_and_none_is_lost() {
        let changes: BTreeSet<Change> = (0..1_000).map(change).collect();
        let payloads = payloads("node", &changes);
        assert!(payloads.iter().all(|payload| payload.len() < 8_000));
        let heard: Vec<Heard> = payloads.iter().flat_map(|payload| read_payload("other", payload).unwrap()).collect();
        assert_eq!(heard, changes.iter().copied().map(Heard::Changed).collect::<Vec<_>>());
        assert!(payloads.iter().all(|payload| read_payload("node", payload).is_none()), "its own are no news");
    }

    #[test]
    fn what_cannot_be_read_may_be_anything() {
        let heard: Vec<Heard> = read_payload("node", "other\nnonsense").unwrap().collect();
        assert_eq!(heard, [Heard::Missed]);
    }

    #[tokio::test]
    async fn who_falls_behind_hears_that_something_was_missed() {
        let feed = Feed::new(Uuid::from_u128(1));
        let mut ear = Changes(feed.ears.subscribe());
        feed.publish(BTreeSet::from([change(1)]), false);
        assert_eq!(ear.next().await, Heard::Changed(change(1)));
        for number in 0..=BEHIND_MAX as u128 {
            feed.publish(BTreeSet::from([change(number)]), false);
        }
        assert_eq!(ear.next().await, Heard::Missed);
        assert!(feed.take_pending().is_empty(), "on one node nobody else is told");
    }
}
