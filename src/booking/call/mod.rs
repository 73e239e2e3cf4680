//! Tells a running call what becomes of the slots that it was offered or holds.
//!
//! A watch looks at the tables when the feed of changes says that something may be different, when an instant comes at
//! which something ends by itself, and every few seconds all the same. What it tells follows from two pictures alone
//! ([`picture`]), so it does not matter which node it runs on, or what it missed.

mod look;
mod picture;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, sleep_until};

pub use picture::{By, Hold, HoldStanding, News, Picture, Standing, Told};

use super::{BookingError, Desk, Office};
use crate::{
    availability::{Alternative, Language, Voice},
    domain::{BusinessId, ResourceId},
    store::{
        self,
        changes::{Changes, Heard, Part},
    },
};
use look::{Question, Seen, Telling, look};

/// How often it looks though nothing was heard: what no change tells, such as a mirror that is stale now.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Looks that may fail one after the other, a second apart, before the stream ends.
const FAILURES_MAX: u32 = 5;
/// How long to wait after a look that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Changes that are taken together before a look.
const TOGETHER_MAX: usize = 100;

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The caller hung up.
    HungUp,
    /// There is nothing left to tell of: holds are over, and offers too old.
    AgedOut,
    /// The server stops. Another one, or the next, goes on where this one ends.
    Stopping,
    /// The database does not answer.
    Unavailable,
}

impl Ending {
    /// The word in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::AgedOut => "aged_out",
            Self::Stopping => "stopping",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether it makes sense to come back.
    #[must_use]
    pub const fn is_for_now(self) -> bool {
        match self {
            Self::HungUp | Self::AgedOut => false,
            Self::Stopping | Self::Unavailable => true,
        }
    }
}

/// What an event tells.
#[derive(Debug, Clone)]
pub enum Message {
    /// How everything stands. `resumed`: what is different since the client's last event follows.
    Hello {
        /// What there is.
        picture: Picture,
        /// Whether the client came back.
        resumed: bool,
    },
    /// Something is different.
    News {
        /// What.
        news: News,
        /// What is free next, after something was taken.
        next_free: Vec<Alternative>,
    },
    /// It is the last event.
    Ended(Ending),
}

/// How the times of each resource are told.
#[derive(Debug)]
pub struct Voices {
    anybody: Voice,
    of: HashMap<ResourceId, Voice>,
}

impl Voices {
    fn new(office: &Office, language: Option<Language>) -> Self {
        let of = office.resources.iter().map(|known| (known.id, office.voice(Some(known.id)).speaking(language)));
        Self { anybody: office.voice(None).speaking(language), of: of.collect() }
    }

    /// How the times of `resource` are told.
    #[must_use]
    pub fn of(&self, resource: ResourceId) -> Voice {
        self.of.get(&resource).copied().unwrap_or(self.anybody)
    }

    /// How times are told that are no resource's.
    #[must_use]
    pub const fn anybody(&self) -> Voice {
        self.anybody
    }
}

/// An event of a call.
#[derive(Debug, Clone)]
pub struct CallEvent {
    /// Whoever comes back with it hears what came after.
    pub id: String,
    /// What it tells.
    pub message: Message,
    /// How to tell it.
    pub voices: Arc<Voices>,
    /// The instant of the telling.
    pub now: DateTime<Utc>,
}

/// The id of an event after which nothing comes.
pub const OVER: &str = "over";

/// A stream of events for one call.
pub struct CallWatch {
    desk: Desk,
    business: BusinessId,
    call_id: String,
    language: Option<Language>,
    told: Told,
    changes: Changes,
    /// Whom the last picture was about.
    resources: BTreeSet<ResourceId>,
    voices: Arc<Voices>,
    /// When something may be different, though nobody changes anything.
    next: Option<DateTime<Utc>>,
    opened: Instant,
    /// Whether there was ever anything to tell of.
    had_any: bool,
    over: bool,
}

impl std::fmt::Debug for CallWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names of calls may be phone numbers.
        f.debug_struct("CallWatch").field("business", &self.business).finish_non_exhaustive()
    }
}

impl Desk {
    /// Begins to watch over a call, and gives the first events. `last` is what the client was told before it was cut off.
    ///
    /// # Errors
    ///
    /// [`BookingError::Unknown`] when there is no such business.
    pub async fn watch_call(
        &self,
        business: BusinessId,
        call_id: String,
        last: Option<Told>,
        language: Option<Language>,
    ) -> Result<(CallWatch, Vec<CallEvent>), BookingError> {
        // Before the first look, so that nothing falls between both.
        let changes = self.store.changes();
        let resumed = last.is_some();
        let told = last.unwrap_or_default();
        let seen = self.look_at_call(business, call_id.clone(), told.clone(), !resumed).await?;
        let mut watch = CallWatch {
            desk: self.clone(),
            business,
            call_id,
            language,
            told,
            changes,
            resources: BTreeSet::new(),
            voices: Arc::new(Voices::new(&seen.office, language)),
            next: None,
            opened: Instant::now(),
            had_any: false,
            over: false,
        };
        let hello = Message::Hello { picture: seen.picture.clone(), resumed };
        let events = watch.tell(seen, Some(hello));
        Ok((watch, events))
    }

    async fn look_at_call(
        &self,
        business: BusinessId,
        call_id: String,
        told: Told,
        show: bool,
    ) -> Result<Seen, BookingError> {
        let question = Question {
            business,
            call_id,
            told,
            show,
            offers_kept: self.limits.offers_kept,
            fresh_for: self.limits.fresh_for,
        };
        self.store
            .read(store::work::<Seen, BookingError, _>(move |tx| Box::pin(async move { look(tx, question).await })))
            .await
    }
}

impl CallWatch {
    /// The next events; none when the last was told. Waits as long as there is nothing to tell. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Vec<CallEvent> {
        let mut failures = 0;
        while !self.over {
            self.wait(failures > 0).await;
            match self.desk.look_at_call(self.business, self.call_id.clone(), self.told.clone(), false).await {
                Ok(seen) => {
                    failures = 0;
                    let events = self.tell(seen, None);
                    if !events.is_empty() {
                        return events;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures > FAILURES_MAX {
                        tracing::warn!(%error, business = %self.business, "cannot look at what a call was offered");
                        return vec![self.end(Ending::Unavailable)];
                    }
                }
            }
        }
        Vec::new()
    }

    /// The last event. Whoever comes back goes on from here, unless the call is over.
    pub fn end(&mut self, why: Ending) -> CallEvent {
        self.over = true;
        self.told.count();
        let id = if why.is_for_now() { self.told.id() } else { OVER.to_owned() };
        let now = self.desk.clock.now();
        CallEvent { id, message: Message::Ended(why), voices: Arc::clone(&self.voices), now }
    }

    /// Whether there is nothing more to tell.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Until something may be different.
    async fn wait(&mut self, failed: bool) {
        if failed {
            return sleep(RETRY_AFTER).await;
        }
        let mut until = Instant::now() + LOOK_EVERY;
        if let Some(next) = self.next {
            let left = (next - self.desk.clock.now()).max(TimeDelta::zero());
            until = until.min(Instant::now() + left.to_std().unwrap_or_default());
        }
        if !self.had_any {
            until = until.min(self.opened + self.patience());
        }
        loop {
            tokio::select! {
                () = sleep_until(until) => return,
                heard = self.changes.next() => if self.concerns(heard) {
                    break;
                },
            }
        }
        // What happened together is looked at together.
        for _ in 0..TOGETHER_MAX {
            if self.changes.try_next().is_none() {
                break;
            }
        }
    }

    fn concerns(&self, heard: Heard) -> bool {
        match heard {
            Heard::Missed => true,
            Heard::Changed(change) if change.business != self.business => false,
            Heard::Changed(change) => match change.part {
                Part::All | Part::Calls | Part::Calendar(_) => true,
                Part::Resource(id) => self.resources.contains(&id),
            },
        }
    }

    /// How long a call may be silent that was offered nothing yet.
    fn patience(&self) -> Duration {
        self.desk.limits.offers_kept.to_std().unwrap_or_default()
    }

    /// Puts what was seen into events, after `first`, and goes on from there.
    fn tell(&mut self, seen: Seen, first: Option<Message>) -> Vec<CallEvent> {
        let Seen { picture, office, tellings, told, resources, next, hung_up } = seen;
        (self.resources, self.next) = (resources, next);
        for Telling { news, next_free } in &tellings {
            if let News::Taken(offer, ..) = news {
                self.desk.note_alternatives(self.business, Some(&self.call_id), offer.service, next_free);
            }
        }
        let news = tellings.into_iter().map(|Telling { news, next_free }| Message::News { news, next_free });
        let messages: Vec<Message> = first.into_iter().chain(news).collect();
        if !messages.is_empty() {
            self.voices = Arc::new(Voices::new(&office, self.language));
        }
        let last = messages.len().saturating_sub(1);
        let mut events = Vec::with_capacity(messages.len() + 1);
        for (place, message) in messages.into_iter().enumerate() {
            // Whoever is cut off within these hears all of them again.
            if place == last {
                self.told = told.clone().after(&self.told);
            }
            self.told.count();
            events.push(CallEvent { id: self.told.id(), message, voices: Arc::clone(&self.voices), now: picture.at });
        }
        self.told = told.after(&self.told);

        let holds = picture.holds.iter().any(|hold| matches!(hold.standing, HoldStanding::Live(..)));
        let any = holds || !picture.offers.is_empty();
        self.had_any |= any;
        if hung_up && !holds {
            events.push(self.end(Ending::HungUp));
        } else if !any && (self.had_any || self.opened.elapsed() >= self.patience()) {
            events.push(self.end(Ending::AgedOut));
        }
        events
    }
}
