//! A calendar's recent past, for reads that lag behind.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::calendar::Calendar;
use super::record::Record;
use crate::clock;

/// Most steps that can be undone.
const STEPS_MAX: usize = 1024;

/// How to undo the latest changes of a calendar.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<Step>);

/// One event's change.
#[derive(Clone, Debug)]
struct Step {
    /// The calendar's revision with the change.
    revision: u64,
    at: DateTime<Utc>,
    /// How many reads have not seen it.
    unseen: Cell<u32>,
    id: String,
    former: Option<Arc<Record>>,
}

impl History {
    pub(super) fn note(&mut self, revision: u64, id: &str, former: Option<Arc<Record>>) {
        if self.0.len() == STEPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Step { revision, at: clock::now(), unseen: Cell::new(0), id: id.to_owned(), former });
    }
}

impl Calendar {
    /// Forgets what was before: nothing that is stored up to now is new to anybody.
    pub(super) fn forget_past(&mut self) {
        self.history = History::default();
    }

    /// The latest revision that a read sees to which each write is invisible for some time and for some reads. With
    /// `counts` this is one of those reads.
    pub(crate) fn lagging_revision(&self, calls: u32, lag: TimeDelta, counts: bool) -> u64 {
        let seen_until = clock::now() - lag;
        let mut revision = self.revision;
        for step in self.history.0.iter().filter(|step| step.at > seen_until || step.unseen.get() < calls) {
            revision = revision.min(step.revision.saturating_sub(1));
            if counts {
                step.unseen.set(step.unseen.get().saturating_add(1));
            }
        }
        revision
    }

    /// The calendar as it was at a revision, or as early as it is remembered.
    pub(crate) fn as_of(&self, revision: u64) -> Self {
        let mut past = self.clone();
        while past.history.0.back().is_some_and(|step| step.revision > revision) {
            if let Some(step) = past.history.0.pop_back() {
                past.undo(step);
            }
        }
        past
    }

    fn undo(&mut self, step: Step) {
        if let Some(current) = self.events.remove(&step.id) {
            self.feed.remove(&current.revision);
            if let (None, Some(exception)) = (&step.former, &current.exception)
                && let Some(known) = self.exceptions.get_mut(&exception.master)
            {
                known.remove(&step.id);
            }
        }
        if let Some(former) = step.former {
            if let Some(exception) = &former.exception {
                self.exceptions.entry(exception.master.clone()).or_default().insert(step.id.clone());
            }
            self.feed.insert(former.revision, Arc::clone(&former));
            self.events.insert(step.id, former);
        }
        self.revision = step.revision.saturating_sub(1);
        if let Some((_, last)) = self.feed.last_key_value() {
            self.updated = last.updated;
        }
    }
}
