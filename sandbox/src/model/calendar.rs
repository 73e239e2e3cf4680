//! A calendar: its events by id, and the feed of their changes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::history::History;
use super::record::Record;
use super::times::When;
use super::{Role, digest};
use crate::clock;

/// One calendar.
///
/// Every write gets the next revision, and the feed holds each event once, at its latest revision. A pass that begins at
/// revision R leaves out what lies above R. So it never sees an event twice, and whatever changes meanwhile moves above
/// R, where the next incremental pass finds it.
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
    /// The same events in the order of full lists.
    pub(super) shuffled: BTreeMap<Place, Arc<Record>>,
    seed: u64,
    /// Deleted events that cannot be brought back, because the trash was emptied.
    purged: HashSet<String>,
    /// The ids of each series' exceptions.
    pub(super) exceptions: HashMap<String, BTreeSet<String>>,
    pub(super) history: History,
}

/// Where an event stands in the order of lists, which means nothing.
pub(crate) type Place = (i64, String);

/// The place follows from the id. Exceptions are three times as often before their series as after it, and mostly on
/// another page.
pub(crate) fn place(seed: u64, record: &Record) -> Place {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(record.id.as_bytes());
    let digest = hash.finalize();
    let number = u64::from_be_bytes(std::array::from_fn(|place| digest[place]));
    let number = if record.exception.is_some() { number >> 2 } else { number >> 1 };
    (i64::try_from(number).unwrap_or(i64::MAX), record.id.clone())
}

impl Calendar {
    /// An empty calendar; `seed` decides the order of its lists.
    pub(crate) fn new(id: &str, owner: &str, summary: &str, zone: Tz, seed: u64) -> Self {
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
            shuffled: BTreeMap::new(),
            seed,
            purged: HashSet::new(),
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

    /// Calendars of holidays, birthdays, week numbers and the like have no push notifications.
    pub(crate) fn is_watchable(&self) -> bool {
        !(self.id.contains('#') && self.id.ends_with("@group.v.calendar.google.com"))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Names the calendar's collection of events in watch channels.
    pub(crate) fn resource_id(&self) -> String {
        digest(&["events", &self.id])
    }

    pub(crate) fn etag(&self) -> String {
        format!("\"p{}{}\"", self.revision, digest(&[&self.id, &self.summary, self.zone.name()]))
    }

    /// Events from just after a place on, in the order of lists.
    pub(crate) fn listed_after(&self, place: &Place) -> impl Iterator<Item = &Arc<Record>> {
        self.shuffled.range((Bound::Excluded(place), Bound::Unbounded)).map(|(_, record)| record)
    }

    /// Events whose last write lies in the given revisions, latest first.
    pub(crate) fn changes(&self, revisions: RangeInclusive<u64>) -> impl Iterator<Item = &Arc<Record>> {
        // An empty range would make the tree panic.
        let bounds = if revisions.is_empty() { 0..=0 } else { revisions };
        self.feed.range(bounds).rev().map(|(_, record)| record)
    }

    /// Every event that is stored, tombstones included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.feed.values()
    }

    /// The event with this iCalendar identity.
    pub(super) fn with_uid(&self, uid: &str) -> Option<Arc<Record>> {
        let named = |record: &Record| record.body().get("iCalUID").is_some_and(|known| known == uid);
        self.events.values().find(|record| record.exception.is_none() && named(record)).cloned()
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

    /// Whether the trash was emptied with this event in it.
    pub(crate) fn is_purged(&self, id: &str) -> bool {
        self.purged.contains(id)
    }

    /// Empties the trash: what is deleted has lost its details and cannot be brought back, and its id stays taken.
    pub(crate) fn empty_trash(&mut self) {
        let deleted = |record: &&Arc<Record>| record.cancelled && record.exception.is_none();
        let deleted: Vec<_> = self.events.values().filter(deleted).cloned().collect();
        for record in deleted {
            self.purged.insert(record.id.clone());
            self.put(Arc::new(record.without_details()));
        }
    }

    /// Stores a written event in place of its former state.
    pub(super) fn put(&mut self, record: Arc<Record>) {
        if let Some(former) = self.events.get(&record.id) {
            self.feed.remove(&former.revision);
        }
        self.history.note(self.revision, &record.id, self.events.get(&record.id).cloned());
        self.shuffled.insert(place(self.seed, &record), Arc::clone(&record));
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
            self.shuffled.remove(&place(self.seed, record));
            let former = self.events.remove(id);
            self.history.note(self.revision, id, former);
            false
        });
    }
}
