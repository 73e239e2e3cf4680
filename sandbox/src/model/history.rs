//! A calendar's recent past, for reads that lag behind.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::calendar::{Calendar, place};
use super::record::Record;
use crate::clock;

/// Most steps that can be undone.
const STEPS_MAX: usize = 1024;

/// How to undo the latest changes of a calendar.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    steps: VecDeque<Step>,
    /// How often the calendar has been read.
    reads: Cell<u64>,
}

/// One event's change.
#[derive(Clone, Debug)]
struct Step {
    /// The calendar's revision with the change.
    revision: u64,
    at: DateTime<Utc>,
    /// How often the calendar had been read before.
    reads: u64,
    id: String,
    former: Option<Arc<Record>>,
}

impl History {
    pub(super) fn note(&mut self, revision: u64, id: &str, former: Option<Arc<Record>>) {
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        let reads = self.reads.get();
        self.steps.push_back(Step { revision, at: clock::now(), reads, id: id.to_owned(), former });
    }
}

impl Calendar {
    /// Forgets what was before: nothing that is stored up to now is new to anybody.
    pub(super) fn forget_past(&mut self) {
        self.history = History::default();
    }

    /// Counts a read.
    pub(crate) fn note_read(&self) {
        self.history.reads.set(self.history.reads.get() + 1);
    }

    /// The latest revision that a read sees to which each write is invisible for some time, and for the first reads that
    /// have been noted after it.
    pub(crate) fn lagging_revision(&self, reads: u32, lag: TimeDelta) -> u64 {
        let History { steps, reads: noted } = &self.history;
        let seen_until = clock::now().checked_sub_signed(lag).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let is_new = |step: &&Step| step.at > seen_until || noted.get() - step.reads < u64::from(reads);
        steps.iter().find(is_new).map_or(self.revision, |step| step.revision.saturating_sub(1))
    }

    /// The calendar as it was at a revision, or as early as it is remembered.
    pub(crate) fn as_of(&self, revision: u64) -> Self {
        let mut past = self.clone();
        while past.history.steps.back().is_some_and(|step| step.revision > revision) {
            if let Some(step) = past.history.steps.pop_back() {
                past.undo(step);
            }
        }
        past
    }

    fn undo(&mut self, step: Step) {
        if let Some(current) = self.events.remove(&step.id) {
            self.feed.remove(&current.revision);
            self.shuffled.remove(&place(self.seed(), &current));
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
            self.shuffled.insert(place(self.seed(), &former), Arc::clone(&former));
            self.events.insert(step.id, former);
        }
        self.revision = step.revision.saturating_sub(1);
        if let Some((_, last)) = self.feed.last_key_value() {
            self.updated = last.updated;
        }
    }
}
