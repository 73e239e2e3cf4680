//! One booking and its event in a small world of Google, an owner, a receptionist and slotd's outbox, in any order and
//! with lost answers: whatever they do, they agree in the end, and then nothing moves any more.
//!
//! A request either reaches Google before its answer is given up, or never. Lists may be older than slotd's own last
//! write, and are then held back as the mirror does it, with bookings that changed of late.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

const CASES: u32 = 20_000;
/// Passes and deliveries after the last edit until all is still.
const STEPS_MAX: usize = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    hour: i64,
    etag: u32,
    live: bool,
    mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Insert,
    Patch,
    Read,
    Delete,
}

/// A request, and what Google made of it once it got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flight {
    act: Act,
    content: Content,
    if_match: Option<u32>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Shows(u32),
    Saw(Option<Event>),
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    version: u32,
    hour: i64,
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    OwnerMoves(i64),
    OwnerMarks(Mark),
    OwnerDeletes,
    OwnerRestores,
    CustomerMoves(i64),
    CustomerEdits,
    CustomerCancels,
    /// A list is read; it may be from before slotd's last write.
    Pass {
        stale: bool,
    },
    /// The outbox goes one step on: a request leaves, reaches Google, or its answer is taken.
    Deliver,
    /// The answer of the request under way is lost, or the request itself.
    Lose,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
struct World {
    policy: Policy,
    event: Option<Event>,
    /// Before slotd's last write.
    event_before: Option<Event>,
    etags: u32,
    owner_deleted: bool,
    owner_deleted_ever: bool,

    hour: i64,
    version: u32,
    stands: bool,
    ended_by_owner: bool,
    written: Option<Content>,
    etag: Option<u32>,
    sent: Option<Content>,
    recheck: bool,
    owed: bool,
    /// It stands without an event.
    without: bool,
    /// The owner's time was not followed, and is not to be written over.
    apart: bool,
    flight: Option<Flight>,

    history: u32,
    writes: u32,
    customer_hour: i64,
    customer_cancelled: bool,
}

fn at(hour: i64) -> Interval {
    let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
    Interval::new(start, start + TimeDelta::hours(1)).unwrap()
}

fn hour(interval: Interval) -> i64 {
    (interval.start() - at(0).start()).num_hours()
}

fn seen(event: Option<Event>) -> Seen {
    match event {
        None => Seen::Missing,
        Some(Event { live: false, .. }) => Seen::Deleted,
        Some(Event { hour, etag, mark, .. }) => {
            Seen::Live { interval: Some(at(hour)), etag: Some(etag.to_string()), shape: Shape::Once, mark }
        }
    }
}

impl World {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            event: None,
            event_before: None,
            etags: 0,
            owner_deleted: false,
            owner_deleted_ever: false,
            hour: 0,
            version: 1,
            stands: true,
            ended_by_owner: false,
            written: None,
            etag: None,
            sent: None,
            recheck: false,
            owed: true,
            without: false,
            apart: false,
            flight: None,
            history: 0,
            writes: 0,
            customer_hour: 0,
            customer_cancelled: false,
        }
    }

    fn told(&self) -> bool {
        self.written.is_some_and(|written| written.version == self.version)
    }

    fn deed(&mut self, deed: Deed) {
        let live = self.event.is_some_and(|event| event.live);
        match deed {
            Deed::OwnerMoves(hour) if live => self.edit(|event| event.hour = hour),
            Deed::OwnerMarks(mark) if live => self.edit(|event| event.mark = mark),
            Deed::OwnerDeletes if live => {
                self.edit(|event| event.live = false);
                (self.owner_deleted, self.owner_deleted_ever) = (true, true);
            }
            Deed::OwnerRestores if self.event.is_some() && !live => {
                self.edit(|event| event.live = true);
                self.owner_deleted = false;
            }
            Deed::CustomerMoves(hour) if self.stands => {
                (self.hour, self.customer_hour, self.apart) = (hour, hour, false);
                self.changed();
            }
            Deed::CustomerEdits if self.stands => self.changed(),
            Deed::CustomerCancels if self.stands => {
                (self.stands, self.customer_cancelled) = (false, true);
                self.changed();
            }
            Deed::Pass { stale } => self.pass(stale),
            Deed::Deliver => self.deliver(),
            Deed::Lose => self.flight = None,
            _ => {}
        }
    }

    /// The owner's hand.
    fn edit(&mut self, change: impl FnOnce(&mut Event)) {
        self.etags += 1;
        let etag = self.etags;
        let event = self.event.as_mut().unwrap();
        change(event);
        event.etag = etag;
        self.event_before = self.event;
    }

    fn changed(&mut self) {
        self.version += 1;
        self.history += 1;
        self.owed = true;
    }

    fn plan(&self, seen: &Seen) -> Decision {
        let etag = self.etag.map(|etag| etag.to_string());
        let booking = Linked {
            interval: at(self.hour),
            stands: self.stands,
            ended_by_owner: self.ended_by_owner,
            over: false,
            told: self.told(),
            written: self.written.map(|written| Written { interval: at(written.hour), etag: etag.as_deref() }),
            sent: self.sent.map(|sent| at(sent.hour)),
            longest: TimeDelta::days(7),
            policy: self.policy,
        };
        plan(&booking, seen)
    }

    fn pass(&mut self, stale: bool) {
        let event = if stale { self.event_before } else { self.event };
        // A list that lacks the event says nothing.
        let Some(event) = event else { return };
        let seen = seen(Some(event));
        let decision = match self.plan(&seen) {
            Decision::Move(_) | Decision::Cancel | Decision::Keep if stale => Decision::Wait,
            decision => decision,
        };
        self.carry_out(Some(event), decision);
    }

    fn carry_out(&mut self, event: Option<Event>, decision: Decision) {
        let live = event.filter(|event| event.live);
        if self.without {
            if live.is_none() {
                return;
            }
            self.without = false;
        }
        match (decision, live) {
            (Decision::Nothing, _) => {}
            (Decision::Remember, Some(event)) => {
                self.etag = Some(event.etag);
                self.apart = event.hour != self.hour;
            }
            (Decision::Wait, _) => (self.recheck, self.owed) = (true, true),
            (Decision::Move(to), Some(event)) => {
                let told = self.told();
                self.hour = hour(to);
                self.version += 1;
                self.history += 1;
                self.written =
                    Some(Content { version: if told { self.version } else { self.version - 1 }, hour: self.hour });
                self.etag = Some(event.etag);
                self.owed |= !told;
            }
            (Decision::Keep, Some(event)) => {
                let version = if self.told() { self.version } else { self.version - 1 };
                self.written = Some(Content { version, hour: event.hour });
                self.etag = Some(event.etag);
                self.history += u32::from(!self.apart);
                self.apart = true;
                self.owed |= version < self.version;
            }
            (Decision::Keep, None) => {
                self.history += 1;
                self.without = true;
            }
            (Decision::Cancel, _) => {
                assert!(self.owner_deleted_ever, "nothing but an owner's deletion ends it");
                (self.stands, self.ended_by_owner) = (false, true);
                (self.written, self.etag) = (None, None);
                self.version += 1;
                self.history += 1;
            }
            (Decision::Write | Decision::Remove, event) => {
                if let Some(event) = event {
                    let version = self.written.map_or(0, |written| written.version).min(self.version - 1);
                    self.written = Some(Content { version, hour: event.hour });
                    self.etag = Some(event.etag);
                }
                self.owed = true;
            }
            (decision, None) => panic!("{decision:?} about nothing"),
        }
    }

    fn act(&self) -> Option<Act> {
        if self.stands && self.without {
            return None;
        }
        if self.recheck {
            return Some(Act::Read);
        }
        if !self.stands {
            return (self.written.is_some() || self.sent.is_some()).then_some(Act::Delete);
        }
        if self.sent.is_some_and(|sent| sent.version != self.version) {
            return Some(Act::Read);
        }
        match self.written {
            None => Some(Act::Insert),
            Some(written) if written.version < self.version => Some(Act::Patch),
            Some(_) => None,
        }
    }

    fn deliver(&mut self) {
        match self.flight.take() {
            None if self.owed => self.begin(),
            None => {}
            Some(Flight { answer: Some(answer), content, .. }) => self.settle(content, answer),
            Some(flight) => self.flight = Some(Flight { answer: Some(self.land(flight)), ..flight }),
        }
    }

    fn begin(&mut self) {
        let Some(act) = self.act() else {
            self.owed = false;
            return;
        };
        let hour = self.written.filter(|_| self.apart && act == Act::Patch).map_or(self.hour, |written| written.hour);
        let content = Content { version: self.version, hour };
        if act != Act::Read {
            let unknown = self.sent.is_some_and(|sent| sent.version != content.version && self.stands);
            assert!(!unknown, "a write leaves while another's end is unknown");
            self.sent = Some(content);
            self.writes += 1;
        }
        self.flight = Some(Flight { act, content, if_match: self.etag, answer: None });
    }

    fn land(&mut self, flight: Flight) -> Answer {
        let matches = |event: &Event| flight.if_match.is_none_or(|etag| etag == event.etag);
        let before = self.event;
        let answer = match (flight.act, self.event) {
            (Act::Read, event) => return Answer::Saw(event),
            (Act::Insert, None) => {
                self.etags += 1;
                let (hour, etag) = (flight.content.hour, self.etags);
                self.event = Some(Event { hour, etag, live: true, mark: Mark::Busy });
                Answer::Shows(etag)
            }
            (Act::Insert, Some(event)) if event.live && event.hour == flight.content.hour => Answer::Shows(event.etag),
            (Act::Delete, None) => Answer::Removed,
            (Act::Delete, Some(event)) if !event.live => Answer::Removed,
            (Act::Insert | Act::Patch, event) if event.is_none_or(|event| !event.live || flight.act == Act::Insert) => {
                Answer::Saw(event)
            }
            (_, Some(event)) if !matches(&event) => Answer::Saw(Some(event)),
            (act, Some(event)) => {
                self.etags += 1;
                let live = act != Act::Delete;
                self.event = Some(Event { hour: flight.content.hour, etag: self.etags, live, ..event });
                if live { Answer::Shows(self.etags) } else { Answer::Removed }
            }
            (Act::Patch, None) => Answer::Saw(None),
        };
        self.event_before = before;
        answer
    }

    fn settle(&mut self, content: Content, answer: Answer) {
        let sent = self.sent.take();
        // What is asked for again while a delivery is under way stays owed.
        self.owed = content.version != self.version || self.recheck;
        match answer {
            Answer::Shows(etag) => {
                self.written = Some(content);
                self.etag = Some(etag);
            }
            Answer::Removed => (self.written, self.etag) = (None, None),
            Answer::Saw(event) => {
                self.recheck = false;
                if self.written.is_none() && event.is_some_and(|event| !event.live) {
                    self.written = sent;
                }
                if let Some(event) = event.filter(|event| event.live) {
                    let telling = |sent: &Content| self.written.is_none_or(|written| written.hour != sent.hour);
                    if let Some(sent) = sent.filter(|sent| sent.hour == event.hour).filter(telling) {
                        (self.written, self.etag) = (Some(sent), Some(event.etag));
                    } else if self.written.is_none() {
                        self.written = Some(Content { version: 0, hour: content.hour });
                    }
                }
                let decision = self.plan(&seen(event));
                self.carry_out(event, decision);
            }
        }
    }

    fn check(&self) {
        let live = self.event.is_some_and(|event| event.live);
        assert!(!(self.owner_deleted && live), "what the owner deleted was made again");
        assert!(self.stands || self.ended_by_owner || self.customer_cancelled);
        if self.policy == Policy::KeepAndAlert {
            assert_eq!(self.hour, self.customer_hour, "a kept booking is where the customer wants it");
            assert!(!self.ended_by_owner, "a kept booking is ended by nobody but the customer");
        }
    }

    /// Lets everybody but slotd rest. Returns how many steps it took until all was still.
    fn settle_down(&mut self) -> usize {
        for step in 0..STEPS_MAX {
            if self.flight.is_none() && !self.owed {
                let before = (self.history, self.writes, self.etag);
                self.pass(false);
                if !self.owed && before == (self.history, self.writes, self.etag) {
                    return step;
                }
            } else {
                while self.flight.is_some() {
                    self.deliver();
                    self.check();
                }
                self.deliver();
            }
            self.check();
        }
        panic!("it does not come to rest: {self:#?}");
    }
}

/// Anything that somebody may do, from a small number: so it is cheap enough for many cases. The quiet comes first.
fn deed(number: u8) -> Deed {
    let hour = i64::from(number % 4);
    match number / 4 {
        0..=15 => Deed::Deliver,
        16..=27 => Deed::Pass { stale: number.is_multiple_of(2) },
        28..=35 => Deed::OwnerMoves(hour),
        36..=39 => Deed::OwnerMarks([Mark::Busy, Mark::Free, Mark::Declined][usize::from(number % 3)]),
        40..=43 => Deed::OwnerDeletes,
        44..=47 => Deed::OwnerRestores,
        48..=54 => Deed::CustomerMoves(hour),
        55..=58 => Deed::CustomerEdits,
        59..=60 => Deed::CustomerCancels,
        _ => Deed::Lose,
    }
}

fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(CASES), ..usual }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_they_agree_in_the_end_and_then_nothing_moves(
        keeps in any::<bool>(), deeds in proptest::collection::vec(any::<u8>(), 0..40)
    ) {
        let mut world = World::new(if keeps { Policy::KeepAndAlert } else { Policy::OwnerWins });
        for number in deeds {
            world.deed(deed(number));
            world.check();
        }
        world.settle_down();

        let live = world.event.filter(|event| event.live);
        prop_assert!(world.sent.is_none() && world.flight.is_none(), "{:#?}", world);
        match live {
            Some(event) if world.stands => {
                prop_assert!(event.hour == world.hour || world.apart, "{:#?}", world);
                prop_assert!(world.told(), "{:#?}", world);
            }
            // Nobody waits for a customer who was called off, unless the owner wants the event back.
            Some(_) => prop_assert!(world.ended_by_owner, "{:#?}", world),
            None => prop_assert!(!world.stands || world.without, "{:#?}", world),
        }

        // Passes without an edit, fresh or late, neither write nor add to the history.
        let before = (world.history, world.writes, world.event);
        for stale in [false, true, false] {
            // A list that is late is read by its id first.
            world.pass(stale && world.event_before == world.event);
            world.deliver();
        }
        prop_assert_eq!(before, (world.history, world.writes, world.event));
    }
}

#[test]
fn an_owner_who_insists_meets_no_resistance() {
    let mut world = World::new(Policy::KeepAndAlert);
    world.settle_down();
    for hour in [3, 2, 1, 3] {
        world.deed(Deed::OwnerMoves(hour));
        world.settle_down();
        assert_eq!((world.event.unwrap().hour, world.hour, world.writes), (hour, 0, 1));
    }
    // New details are written, and the owner's time is left alone.
    world.deed(Deed::CustomerEdits);
    world.settle_down();
    assert_eq!((world.event.unwrap().hour, world.hour, world.writes), (3, 0, 2));
    // A new time of the customer's is a new wish.
    world.deed(Deed::CustomerMoves(2));
    world.settle_down();
    assert_eq!((world.event.unwrap().hour, world.hour, world.writes), (2, 2, 3));
}
