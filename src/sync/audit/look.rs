//! One look at Google's whole list, beside the mirror.
//!
//! Nothing is locked, so passes go on meanwhile and a look may see the two sides at different moments: what differs in one
//! look is a suspicion, and only what two looks say alike is drift ([`super`]). Of Google's list only a fingerprint of
//! each event is kept, and the mirror is read page by page, so that a calendar of 100,000 events takes a few megabytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono_tz::Tz;
use tokio::time::Instant;

use super::{AuditError, suspicion::Suspicions};
use crate::{
    crypto::sha256,
    domain::{Event, EventKind, Interval},
    google::{self, AccountKey, EventsPage, EventsQuery, Item, Urgency},
    store::{
        self,
        audits::AuditLease,
        calendars::Calendar,
        events::{BusySlot, Generation},
        survey::StoredEvent,
    },
    sync::{
        Mirrors,
        changes::is_tombstone,
        incremental::ask_master,
        own::own_bookings,
        pass::{Heading, PAGES_MAX},
    },
};

/// Rows of the mirror that are read at once.
const ROWS: usize = 1_000;
/// Events of Google's that are kept whole, because they differed in the look before. When more differ, the rest is counted
/// as events and not as busy time.
const KEPT_MAX: usize = 20_000;

/// The wait when Google asks to slow down and not for how long; the longest that an audit waits, and how often for one
/// page. After that it has failed, and is made another day.
const SLOW_DOWN: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_mins(10);
const WAITS_MAX: u32 = 6;

/// Stands for the id of an event.
pub(super) type Key = u128;
/// Stands for all that is compared of an event.
pub(super) type Print = u128;

pub(super) fn key(id: &str) -> Key {
    short(id.as_bytes())
}

fn print(event: &Event, etag: Option<&str>) -> Print {
    // An event holds text, numbers and times, which JSON can always say.
    short(&serde_json::to_vec(&(event, etag)).unwrap_or_default())
}

fn short(bytes: &[u8]) -> u128 {
    let hash = sha256(bytes);
    hash.iter().take(16).fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

impl StoredEvent {
    pub(super) fn print(&self) -> Print {
        print(&self.event, self.etag.as_deref())
    }
}

/// What Google listed.
pub(super) struct Listed {
    pub(super) prints: BTreeMap<Key, Print>,
    /// Those that were asked for, by series.
    pub(super) kept: BTreeMap<String, Vec<Event>>,
    kept_count: usize,
    zone: Option<Tz>,
}

impl Listed {
    fn take(&mut self, item: Item, wanted: &BTreeSet<Key>) {
        let Item { event, etag, .. } = item;
        let key = key(&event.id);
        self.prints.insert(key, print(&event, etag.as_deref()));
        if !wanted.contains(&key) || self.kept_count >= KEPT_MAX {
            return;
        }
        self.kept_count += 1;
        let series = self.kept.entry(event.series_id().to_owned()).or_default();
        // A page may repeat what an earlier one said.
        series.retain(|kept| kept.id != event.id);
        series.push(event);
    }
}

/// A page of the mirror, read in one transaction: events with the busy slots that are served for them.
struct Page {
    rows: Vec<StoredEvent>,
    more: bool,
    served: BTreeMap<String, Vec<BusySlot>>,
    /// Series of which only exceptions are left, beside a single event that took their id.
    leftovers: BTreeSet<String>,
}

impl Mirrors {
    /// Looks at everything that Google lists and everything that is mirrored. Events that are `wanted` are kept whole.
    pub(super) async fn look(
        &self,
        lease: &AuditLease,
        calendar: &Calendar,
        wanted: &BTreeSet<Key>,
    ) -> Result<Suspicions, AuditError> {
        let listed = self.list(lease, calendar, wanted).await?;
        let present = self.present(calendar.business, calendar.id).await?;
        let coverage = present.mirror.coverage.ok_or(AuditError::Unready)?;
        let of = Generation { business: calendar.business, calendar: calendar.id, number: present.mirror.generation };
        let zone = listed.zone.unwrap_or(present.time_zone);
        let mut found = Suspicions::over(listed, zone, coverage, of);
        for recurring in [false, true] {
            let mut after = String::new();
            loop {
                self.keep_audit(lease).await?;
                let page = self.page(of, recurring, after).await?;
                let Some(last) = page.rows.last().map(|row| row.event.series_id().to_owned()) else { break };
                let more = page.more;
                self.take_page(&mut found, page).await?;
                if !more {
                    break;
                }
                after = last;
            }
        }
        self.take_rest(lease, &mut found).await?;
        Ok(found)
    }

    /// Reads Google's list to its end. Asks for no changes, so the token of the passes is none of its business.
    async fn list(
        &self,
        lease: &AuditLease,
        calendar: &Calendar,
        wanted: &BTreeSet<Key>,
    ) -> Result<Listed, AuditError> {
        let account = AccountKey { business: calendar.business, account: calendar.account };
        let mut listed = Listed { prints: BTreeMap::new(), kept: BTreeMap::new(), kept_count: 0, zone: None };
        let (mut heading, mut page_token, mut masters) = (Heading::default(), None::<String>, BTreeSet::new());
        for _ in 0..PAGES_MAX {
            self.keep_audit(lease).await?;
            let query = EventsQuery {
                page_token: page_token.as_deref(),
                max_results: u16::try_from(self.config.page_size).unwrap_or(2_500),
                ..EventsQuery::default()
            };
            let page = self.list_patiently(lease, account, &calendar.google_id, &query).await?;
            heading.read(&page);
            for item in page.items.into_iter().filter(|item| !is_tombstone(&item.event)) {
                if let EventKind::Exception { master, .. } = &item.event.kind
                    && !masters.contains(master)
                {
                    masters.insert(master.clone());
                }
                listed.take(item, wanted);
            }
            match page.next_page_token {
                Some(next) if page_token.as_ref() == Some(&next) => return Err(AuditError::Endless),
                Some(next) => page_token = Some(next),
                None => {
                    listed.zone = heading.zone;
                    // The mirror has them too: whoever is invited to one instance may see its series, which is not listed.
                    masters.retain(|id| !listed.prints.contains_key(&key(id)));
                    for id in masters {
                        self.keep_audit(lease).await?;
                        let master =
                            ask_master(&self.google.at(Urgency::Background), account, &calendar.google_id, &id).await?;
                        if let Some(master) = master {
                            listed.take(master, wanted);
                        }
                    }
                    return Ok(listed);
                }
            }
        }
        Err(AuditError::Endless)
    }

    /// One page. An audit is in no hurry: when it is asked to slow down, it waits.
    async fn list_patiently(
        &self,
        lease: &AuditLease,
        account: AccountKey,
        calendar: &str,
        query: &EventsQuery<'_>,
    ) -> Result<EventsPage, AuditError> {
        let mut waits = 0;
        loop {
            let error = match self.google.at(Urgency::Background).list_events(account, calendar, query).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let asked = match &error {
                google::Error::RateLimited { retry_after, .. } => Some(retry_after.unwrap_or(SLOW_DOWN)),
                error => error.retry_after(),
            };
            match asked.filter(|wait| *wait <= WAIT_MAX && waits < WAITS_MAX) {
                Some(wait) => self.wait(lease, wait).await?,
                None => return Err(error.into()),
            }
            waits += 1;
        }
    }

    async fn wait(&self, lease: &AuditLease, length: Duration) -> Result<(), AuditError> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.keep_audit(lease).await?;
            let left = end - Instant::now();
            tokio::time::sleep(left.min(self.lease() / 3)).await;
        }
        Ok(())
    }

    async fn page(&self, of: Generation, recurring: bool, after: String) -> Result<Page, AuditError> {
        let read = store::work::<_, AuditError, _>(move |tx| {
            Box::pin(async move {
                let served_now = tx.calendar(of.business, of.calendar).await?.ok_or(AuditError::Unready)?;
                if served_now.mirror.generation != of.number {
                    return Err(AuditError::Replaced);
                }
                let (rows, more) = if recurring {
                    tx.stored_series(of, &after, ROWS).await?
                } else {
                    let rows = tx.stored_singles(of, &after, ROWS).await?;
                    let more = rows.len() == ROWS;
                    (rows, more)
                };
                let ids: BTreeSet<String> = rows.iter().map(|row| row.event.series_id().to_owned()).collect();
                let mut leftovers = ids.clone();
                if recurring {
                    let masters = rows.iter().filter(|row| matches!(row.event.kind, EventKind::Master { .. }));
                    for master in masters {
                        leftovers.remove(&master.event.id);
                    }
                    let orphans: Vec<String> = std::mem::take(&mut leftovers).into_iter().collect();
                    for id in orphans {
                        if tx.event(of, &id).await?.is_some() {
                            leftovers.insert(id);
                        }
                    }
                } else {
                    leftovers.clear();
                }
                let ids: Vec<String> = ids.into_iter().collect();
                let served = tx.slots_of(of, &ids).await?;
                Ok(Page { rows, more, served, leftovers })
            })
        });
        self.store.read(read).await
    }

    async fn take_page(&self, found: &mut Suspicions, page: Page) -> Result<(), AuditError> {
        let Page { rows, mut served, leftovers, .. } = page;
        let ids = rows.iter().map(|row| row.event.series_id().to_owned());
        let own = own_bookings(&self.store, found.of.business, ids).await?;
        for group in rows.chunk_by(|a, b| a.event.series_id() == b.event.series_id()) {
            let id = group[0].event.series_id();
            if leftovers.contains(id) {
                found.leave(group);
            } else {
                found.judge(id, group, served.remove(id).unwrap_or_default(), own.get(id));
            }
        }
        Ok(())
    }

    /// What only Google has, and busy slots of events that are not there.
    async fn take_rest(&self, lease: &AuditLease, found: &mut Suspicions) -> Result<(), AuditError> {
        let of = found.of;
        let unseen: Vec<String> = found.unseen();
        for ids in unseen.chunks(ROWS) {
            self.take_unknown(found, ids.to_vec()).await?;
        }
        let mut after = String::new();
        loop {
            self.keep_audit(lease).await?;
            let read = store::work::<Vec<String>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.slotted_series(of, &after, ROWS).await })
            });
            let ids = self.store.read(read).await?;
            let Some(last) = ids.last().cloned() else { return Ok(()) };
            let unknown = ids.into_iter().filter(|id| !found.has_judged(id)).collect();
            self.take_unknown(found, unknown).await?;
            after = last;
        }
    }

    async fn take_unknown(&self, found: &mut Suspicions, ids: Vec<String>) -> Result<(), AuditError> {
        if ids.is_empty() {
            return Ok(());
        }
        let own = own_bookings(&self.store, found.of.business, ids.iter().cloned()).await?;
        let (of, asked) = (found.of, ids.clone());
        let read = store::work::<_, store::Error, _>(move |tx| Box::pin(async move { tx.slots_of(of, &asked).await }));
        let mut served = self.store.read(read).await?;
        for id in ids {
            found.judge(&id, &[], served.remove(&id).unwrap_or_default(), own.get(&id));
        }
        Ok(())
    }

    /// The busy slots that are served wherever `places` are, in one state of the mirror.
    pub(super) async fn served_around(
        &self,
        of: Generation,
        places: Vec<Interval>,
    ) -> Result<Vec<BusySlot>, AuditError> {
        let read = store::work::<_, store::Error, _>(move |tx| {
            Box::pin(async move {
                let mut served = Vec::new();
                for place in places {
                    served.extend(tx.slots_meeting(of, place).await?);
                }
                Ok(served)
            })
        });
        Ok(self.store.read(read).await?)
    }
}
