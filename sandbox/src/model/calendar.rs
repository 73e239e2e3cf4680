//! A calendar: its events by id, and the feed of their changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::history::History;
use super::record::Record;
use super::times::When;
use super::{Role, digest};
use crate::clock;

/// One calendar.
///
/// Every write gets the next revision, and the feed holds each event once, at its latest revision. A pass over the feed
/// that begins at revision R and is paged downwards never sees an event twice, and whatever changes meanwhile moves
/// above R, where the next incremental pass finds it.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) id: String,
    pub(crate) owner: String,
    pub(crate) summary: String,
    pub(crate) zone: Tz,
    /// Whether the zone has been another, in which stored events are written.
    pub(crate) moved: bool,
    pub(crate) access: BTreeMap<String, Role>,
    /// The number of the last write.
    pub(crate) revision: u64,
    /// The time of the last write; strictly increasing, so that an etag made of it never repeats.
    pub(crate) updated: DateTime<Utc>,
    pub(super) events: HashMap<String, Arc<Record>>,
    pub(super) feed: BTreeMap<u64, Arc<Record>>,
    /// The ids of each series' exceptions.
    pub(super) exceptions: HashMap<String, BTreeSet<String>>,
    pub(super) history: History,
}

impl Calendar {
    pub(crate) fn new(id: &str, owner: &str, summary: &str, zone: Tz) -> Self {
        Self {
            id: id.to_owned(),
            owner: owner.to_owned(),
            summary: summary.to_owned(),
            zone,
            moved: false,
            access: BTreeMap::from([(owner.to_owned(), Role::Owner)]),
            revision: 0,
            updated: clock::now(),
            events: HashMap::new(),
            feed: BTreeMap::new(),
            exceptions: HashMap::new(),
            history: History::default(),
        }
    }

    pub(crate) fn role_of(&self, email: &str) -> Option<Role> {
        self.access.get(email).copied()
    }

    /// The zone in which stored times have to be shown, where they were written in another.
    pub(crate) fn new_zone(&self) -> Option<Tz> {
        self.moved.then_some(self.zone)
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.id == self.owner
    }

    /// Calendars of holidays and the like have no push notifications.
    pub(crate) fn is_watchable(&self) -> bool {
        !self.id.contains("#holiday")
    }

    /// Names the calendar's collection of events in watch channels.
    pub(crate) fn resource_id(&self) -> String {
        digest(&["events", &self.id])
    }

    pub(crate) fn etag(&self) -> String {
        format!("\"p{}{}\"", self.revision, digest(&[&self.id, &self.summary, self.zone.name()]))
    }

    /// Events whose last write lies in the given revisions, latest first. As an exception is written after its master,
    /// exceptions mostly precede masters.
    pub(crate) fn changes(&self, revisions: RangeInclusive<u64>) -> impl Iterator<Item = &Arc<Record>> {
        // An empty range would make the tree panic.
        let bounds = if revisions.is_empty() { 0..=0 } else { revisions };
        self.feed.range(bounds).rev().map(|(_, record)| record)
    }

    /// Every event that is stored, tombstones included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.feed.values()
    }

    /// The ids of all instances that an exception stands for.
    pub(crate) fn replaced(&self) -> HashSet<String> {
        self.exceptions.values().flatten().cloned().collect()
    }

    /// The exceptions of one series.
    pub(crate) fn exceptions_of(&self, master: &str) -> Vec<Arc<Record>> {
        let ids = self.exceptions.get(master).into_iter().flatten();
        ids.filter_map(|id| self.events.get(id)).cloned().collect()
    }

    /// A stored event by id.
    pub(crate) fn stored(&self, id: &str) -> Option<&Arc<Record>> {
        self.events.get(id)
    }

    /// Whether the series that an exception belongs to still exists.
    pub(crate) fn has_live_master(&self, record: &Record) -> bool {
        let master = record.exception.as_ref().and_then(|exception| self.events.get(&exception.master));
        master.is_none_or(|master| !master.cancelled)
    }

    /// The event or instance with this id: a stored one, or one that a stored series yields.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Record>> {
        if let Some(stored) = self.events.get(id) {
            return Some(Arc::clone(stored));
        }
        let (master, suffix) = id.rsplit_once('_')?;
        let master = self.events.get(master).filter(|master| !master.cancelled)?;
        let start = master.times?.start;
        let zone = if let When::At { zone, .. } = start { zone } else { self.zone };
        let original = When::from_suffix(suffix, zone)?;
        master.series.as_ref().filter(|series| series.has(original))?;
        super::instances::instance(master, original, self.zone).map(Arc::new)
    }

    /// The next revision and a write time later than all before.
    pub(super) fn advance(&mut self) -> (u64, DateTime<Utc>) {
        self.revision += 1;
        self.updated = clock::now().max(self.updated + TimeDelta::microseconds(1));
        (self.revision, self.updated)
    }

    /// Stores a written event in place of its former state.
    pub(super) fn put(&mut self, record: Arc<Record>) {
        if let Some(former) = self.events.get(&record.id) {
            self.feed.remove(&former.revision);
        }
        self.history.note(self.revision, &record.id, self.events.get(&record.id).cloned());
        if let Some(exception) = &record.exception {
            self.exceptions.entry(exception.master.clone()).or_default().insert(record.id.clone());
        }
        self.feed.insert(record.revision, Arc::clone(&record));
        self.events.insert(record.id.clone(), record);
    }

    /// Forgets the exceptions of a series for which `gone` holds, without a trace in the feed: Google does not promise
    /// tombstones for them.
    pub(super) fn drop_exceptions(&mut self, master: &str, gone: impl Fn(&Record) -> bool) {
        let Some(ids) = self.exceptions.get_mut(master) else { return };
        ids.retain(|id| {
            let Some(record) = self.events.get(id).filter(|record| gone(record)) else { return true };
            self.feed.remove(&record.revision);
            let former = self.events.remove(id);
            self.history.note(self.revision, id, former);
            false
        });
    }
}
