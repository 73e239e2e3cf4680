//! One run: two nodes, callers, the owner, faults, and whoever decides by the seed what happens next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    future::poll_fn,
    path::PathBuf,
    sync::Arc,
    task::Poll,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use slotd::{
    booking::BookingError,
    domain::{
        Clock,
        clock::{SeededChance, TestClock},
    },
    store::{self, Moment},
};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{
    callers::{Outcome, Request, check_no},
    dice::Dice,
    gate::{Fate, Gate, Google, Parked, Point},
    oracle::{self, Tables},
    seen::Seen,
    template::{self, Node},
};

/// Most that a run does before it comes to rest.
const STEPS: usize = 190;
/// Most that is under way at once.
const ACTORS_MAX: usize = 7;
const NODES: usize = 2;
/// Every so many a seed is a business that keeps its bookings.
const KEEPS_EVERY: u64 = 4;
const KEEP: &str = "UPDATE business SET calendar_changes = 'keep_and_alert'";

/// What is wrong, or that nothing is.
pub(crate) type Verdict<T = ()> = Result<T, String>;

/// Somebody who does something.
pub(crate) enum Work {
    Call { request: Request, key: Option<String>, hung_up: bool },
    Delivery,
    Pass,
    Settle,
}

pub(crate) enum Done {
    Call(Outcome),
    Worked(store::Result<bool>),
}

pub(crate) struct Actor {
    pub(crate) number: usize,
    node: usize,
    pub(crate) work: Work,
    future: BoxFuture<'static, Done>,
    /// Where it stands. Not begun without it.
    parked: Option<(Point, oneshot::Sender<Fate>)>,
    /// Whether what it asks for was taken at some time.
    taken: bool,
    /// The lease under which it works.
    lease: Option<(String, i64)>,
}

/// What is known of a key that was used.
pub(crate) struct Used {
    pub(crate) request: Request,
    /// What was answered.
    pub(crate) answer: Option<Vec<u8>>,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) seen: Seen,
    pub(crate) clock: Arc<TestClock>,
    begun: DateTime<Utc>,
    pub(crate) google: Arc<Google>,
    gate: Arc<Gate>,
    pub(crate) nodes: Vec<Option<Node>>,
    file: PathBuf,
    pub(crate) pool: SqlitePool,
    pub(crate) tables: Tables,
    data_version: i64,
    pub(crate) actors: Vec<Actor>,
    begun_actors: usize,
    pub(crate) trace: String,
    seed: u64,
    starts: u64,
    /// Whether the business keeps its bookings as they are when the owner moves or deletes their events.
    pub(crate) keeps: bool,
    /// In percent of the questions to Google.
    pub(crate) faults: usize,
    pub(crate) keys: BTreeMap<String, Used>,
    pub(crate) tags: usize,
    /// Bookings and holds that a caller was told of.
    pub(crate) acknowledged: BTreeSet<String>,
    /// References that a caller asked to be stored.
    pub(crate) attempted: BTreeSet<String>,
    pub(crate) owner: crate::owner::Diary,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn open(seed: u64) -> Self {
        let folder = template::folder();
        let file = template::copy(&folder);
        let options = SqliteConnectOptions::new().filename(&file);
        let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options);
        let begun = template::start(seed);
        let mut dice = Dice::new(seed);
        // Each run has a weather of its own; some have none.
        let faults = *dice.pick(&[0, 5, 15, 30]);
        let keeps = seed.is_multiple_of(KEEPS_EVERY);
        let mut world = Self {
            dice,
            seen: Seen::default(),
            clock: TestClock::at(begun),
            begun,
            google: Arc::new(Google::new(seed)),
            gate: Arc::default(),
            nodes: Vec::new(),
            file,
            pool: pool.await.unwrap(),
            tables: Tables::default(),
            data_version: 0,
            actors: Vec::new(),
            begun_actors: 0,
            trace: String::new(),
            seed,
            starts: 0,
            faults,
            keeps,
            keys: BTreeMap::new(),
            tags: 0,
            acknowledged: BTreeSet::new(),
            attempted: BTreeSet::new(),
            owner: crate::owner::Diary::default(),
            _folder: folder,
        };
        if keeps {
            sqlx::query(KEEP).execute(&world.pool).await.unwrap();
        }
        for _ in 0..NODES {
            let node = world.start_node().await;
            world.nodes.push(Some(node));
        }
        world.tables = Tables::read(&world.pool, &Tables::default(), world.now()).await;
        world
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let elapsed = (self.clock.now() - self.begun).num_milliseconds();
        let _ = writeln!(self.trace, "{:>6}.{:03} {line}", elapsed / 1_000, elapsed % 1_000);
    }

    async fn start_node(&mut self) -> Node {
        self.starts += 1;
        let chance = SeededChance::new(self.seed.wrapping_mul(1_000).wrapping_add(self.starts));
        let (gate, google) = (Arc::clone(&self.gate), Arc::clone(&self.google));
        let start = Node::start(&self.file, Arc::clone(&self.clock), chance, gate, google);
        // A node looks at the store before anybody waits for turns.
        start.await
    }

    /// Lets a node begin something.
    pub(crate) fn begin(&mut self, node: usize, work: Work) {
        let Some(Some(on)) = self.nodes.get(node) else { return };
        let future: BoxFuture<'static, Done> = match &work {
            Work::Call { request, key, .. } => {
                let made = request.clone().make(on.desk.clone(), key.clone());
                Box::pin(async { Done::Call(made.await) })
            }
            Work::Delivery => {
                let outbox = on.outbox.clone();
                Box::pin(async move { Done::Worked(outbox.deliver_next().await) })
            }
            Work::Pass => {
                let mirrors = on.mirrors.clone();
                Box::pin(async move { Done::Worked(mirrors.pass_next().await) })
            }
            Work::Settle => {
                let desk = on.desk.clone();
                Box::pin(async move { Done::Worked(desk.settle_what_is_over(20).await) })
            }
        };
        self.begun_actors += 1;
        let number = self.begun_actors;
        self.tell(&format!("#{number} begins on node {node}: {}", word(&work)));
        self.actors.push(Actor { number, node, work, future, parked: None, taken: false, lease: None });
    }

    /// Lets somebody go on to where they stop next, and checks what came of it.
    pub(crate) async fn go_on(&mut self, place: usize, fate: Fate) -> Verdict {
        let mut actor = self.actors.swap_remove(place);
        let parked = actor.parked.take();
        let from = parked.as_ref().map(|(point, _)| point.clone());
        let lost = actor
            .lease
            .as_ref()
            .is_some_and(|(id, fence)| self.tables.leases.get(id).is_none_or(|lease| lease.fence != *fence));
        if let Some((_, go)) = parked {
            let _ = go.send(fate);
        }
        let gate = Arc::clone(&self.gate);
        let stopped = poll_fn(|context| {
            if let Poll::Ready(done) = actor.future.as_mut().poll(context) {
                return Poll::Ready(Err(done));
            }
            gate.take().map_or(Poll::Pending, |parked| Poll::Ready(Ok(parked)))
        });
        let stopped: Result<Parked, Done> = stopped.await;
        if from.as_ref().is_some_and(oracle::writes) && self.has_changed().await {
            let now = self.now();
            let after = Tables::read(&self.pool, &self.tables, now).await;
            let worked = matches!(actor.work, Work::Delivery | Work::Pass) && actor.lease.is_some();
            oracle::check(&self.tables, &after, now, worked && lost)?;
            if matches!(actor.work, Work::Delivery | Work::Pass) && actor.lease.is_none() {
                actor.lease = after.taken_since(&self.tables);
            }
            if worked && lost {
                self.seen.note("a node wakes after its lease has passed on");
            }
            self.note_changes(&after)?;
            self.tables = after;
        }
        if let Some(overwritten) = self.google.overwritten() {
            return Err(overwritten);
        }
        if let Work::Call { request, .. } = &actor.work {
            actor.taken |= request.is_taken(&self.tables, self.now()).unwrap_or(true);
        }
        let number = actor.number;
        match stopped {
            Ok(Parked { point, go }) => {
                self.tell(&format!("#{number} {}", describe(&point)));
                self.note_point(&point);
                actor.parked = Some((point, go));
                self.actors.push(actor);
                Ok(())
            }
            Err(Done::Worked(outcome)) => {
                self.tell(&format!("#{number} ends: {outcome:?}"));
                match outcome {
                    Ok(_) => Ok(()),
                    Err(error) => Err(format!("a worker failed: {error}")),
                }
            }
            Err(Done::Call(outcome)) => self.answered(actor, &outcome),
        }
    }

    /// Whether anybody has written since the last time.
    async fn has_changed(&mut self) -> bool {
        let version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.pool).await.unwrap();
        std::mem::replace(&mut self.data_version, version) != version
    }

    fn answered(&mut self, actor: Actor, outcome: &Outcome) -> Verdict {
        let Work::Call { request, key, hung_up } = actor.work else { return Ok(()) };
        let text = match outcome {
            Ok(Some(reply)) => format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)),
            Ok(None) => "done".to_owned(),
            Err(error) => format!("no: {error}"),
        };
        self.tell(&format!("#{} is answered: {text}{}", actor.number, if hung_up { " (and has hung up)" } else { "" }));
        match outcome {
            Ok(reply) => {
                let Some(reply) = reply else { return Ok(()) };
                self.yes(&request, key.as_deref(), &reply.body, reply.replayed, hung_up)
            }
            Err(error) => {
                check_no(error)?;
                if let BookingError::Refused(refusal) = error {
                    self.seen.note(match refusal.reason.as_str() {
                        "busy" => "a caller is told: busy",
                        "buffer" => "a caller is told: buffer",
                        _ => "a caller is told another reason",
                    });
                    if matches!(refusal.reason.as_str(), "busy" | "buffer") && !actor.taken {
                        return Err(format!("a caller was told {} of a time that was free", refusal.reason.as_str()));
                    }
                }
                let used = key.and_then(|key| self.keys.get(&key));
                match (error, used) {
                    (BookingError::KeyReused, Some(used)) if used.request == request => {
                        Err("a key was refused to the request that it was used for".to_owned())
                    }
                    (BookingError::KeyReused, None) => Err("a key was refused that nobody used".to_owned()),
                    (BookingError::KeyReused, Some(_)) => {
                        self.seen.note("a key comes again with another request");
                        Ok(())
                    }
                    (error, Some(used)) if used.request == request && used.answer.is_some() => {
                        Err(format!("a repeated request was answered otherwise than before: {error}"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn yes(&mut self, request: &Request, key: Option<&str>, body: &[u8], replayed: bool, hung_up: bool) -> Verdict {
        let text = String::from_utf8_lossy(body).into_owned();
        let id = text.split(' ').next().unwrap_or_default().to_owned();
        let Some(stored) = self.tables.bookings.get(&id) else {
            return Err(format!("an acknowledged booking is not stored: {id}"));
        };
        if let Request::BookHold { call: Some(call), .. } = request
            && stored.call.as_ref() != Some(call)
        {
            return Err("a call booked what another call held".to_owned());
        }
        if replayed {
            self.seen.note("an answer is given again");
        }
        if let Some(key) = key
            && let Some(used) = self.keys.get_mut(key)
        {
            if used.request != *request {
                return Err("a key answered another request than its own".to_owned());
            }
            if let Some(answer) = &used.answer
                && answer != body
            {
                return Err(format!("a repeated request was answered otherwise than before: {text}"));
            }
            used.answer = Some(body.to_vec());
        }
        if !hung_up {
            self.acknowledged.insert(id);
        }
        Ok(())
    }

    /// Loses a node: whatever it does is cut off where it stands, and its leases stay.
    async fn crash(&mut self, node: usize) {
        let Some(Some(lost)) = self.nodes.get_mut(node).map(Option::take) else { return };
        self.tell(&format!("node {node} crashes"));
        let cut: Vec<Actor> = self.actors.extract_if(.., |actor| actor.node == node).collect();
        for actor in &cut {
            self.seen.note(match actor.parked.as_ref().map(|(point, _)| point) {
                None => continue,
                Some(Point::Store(Moment::Committed)) => "a node crashes between commit and answer",
                Some(Point::Store(_)) => "a node crashes before a transaction",
                Some(Point::Asks(_)) => "a node crashes before Google is asked",
                Some(Point::Answers(..)) => "a node crashes before it hears Google's answer",
            });
        }
        drop(cut);
        lost.store.close().await;
    }

    async fn restart(&mut self, node: usize) {
        if self.nodes[node].is_none() {
            self.tell(&format!("node {node} starts"));
            self.seen.note("a node is started again");
            let started = self.start_node().await;
            self.nodes[node] = Some(started);
        }
    }

    /// Nobody who is under way is lost, and no fault strikes: everything comes to its end.
    pub(crate) async fn finish(&mut self) -> Verdict {
        self.faults = 0;
        for node in 0..NODES {
            self.restart(node).await;
        }
        while !self.actors.is_empty() {
            self.go_on(0, Fate::Go).await?;
        }
        Ok(())
    }

    /// Does one thing from its beginning to its end on the first node.
    pub(crate) async fn do_alone(&mut self, work: Work) -> Verdict {
        self.begin(0, work);
        while !self.actors.is_empty() {
            self.go_on(0, Fate::Go).await?;
        }
        Ok(())
    }

    fn fate(&mut self, point: &Point) -> Fate {
        let strikes = self.dice.percent(self.faults);
        match point {
            Point::Asks(ask) if strikes => {
                let fate = match self.dice.below(5) {
                    0 => Fate::Refuse(503),
                    1 => Fate::Refuse(500),
                    2 => Fate::Refuse(*self.dice.pick(&[403, 429])),
                    3 if ask.full_list == Some(true) => Fate::Forget,
                    _ => Fate::Lose,
                };
                self.seen.note(match fate {
                    Fate::Refuse(403 | 429) => "Google asks to slow down",
                    Fate::Refuse(_) => "Google fails",
                    Fate::Forget => "a full list leaves an event out",
                    _ => "a question is lost",
                });
                fate
            }
            Point::Asks(ask) if ask.full_list == Some(true) && self.faults > 0 && self.dice.percent(30) => {
                self.seen.note("a full list leaves an event out");
                Fate::Forget
            }
            Point::Answers(ask, status) if strikes && (200..300).contains(status) => {
                self.seen.note(match ask.verb.as_str() {
                    "POST" => "the answer to an insert is lost",
                    "PATCH" => "the answer to a change is lost",
                    "DELETE" => "the answer to a removal is lost",
                    _ => "an answer is lost",
                });
                Fate::Lose
            }
            _ => Fate::Go,
        }
    }

    /// The whole run, up to where it comes to rest.
    pub(crate) async fn run(&mut self) -> Verdict {
        // The mirrors are there before anybody calls.
        for _ in 0..2 {
            self.do_alone(Work::Pass).await?;
        }
        for _ in 0..STEPS {
            self.step().await?;
        }
        self.finish().await?;
        self.rest().await
    }

    async fn step(&mut self) -> Verdict {
        let node = self.dice.below(NODES);
        let going = if self.actors.is_empty() { 0 } else { 66 };
        let room = self.actors.len() < ACTORS_MAX;
        let begin = |weight: usize| if room { weight } else { 0 };
        match self.dice.weighted(&[
            (going, 0),
            (begin(9), 1),
            (begin(10), 2),
            (begin(5), 3),
            (begin(1), 4),
            (4, 5),
            (4, 6),
            (1, 7),
            (1, 8),
        ]) {
            0 => {
                let place = self.dice.below(self.actors.len());
                // Often on and on, so that some come to an end while others wait.
                for _ in 0..=self.dice.below(6) {
                    let number = self.actors[place.min(self.actors.len() - 1)].number;
                    let Some(place) = self.actors.iter().position(|actor| actor.number == number) else { break };
                    let point = self.actors[place].parked.as_ref().map(|(point, _)| point.clone());
                    let fate = point.as_ref().map_or(Fate::Go, |point| self.fate(point));
                    if fate != Fate::Go {
                        self.tell(&format!("#{number} meets {fate:?}"));
                    }
                    self.go_on(place, fate).await?;
                    // It is the last one now, unless it has ended.
                    if self.actors.last().is_none_or(|last| last.number != number) {
                        break;
                    }
                }
                Ok(())
            }
            1 => {
                self.call(node);
                Ok(())
            }
            2 => {
                self.begin(node, Work::Delivery);
                Ok(())
            }
            3 => {
                self.begin(node, Work::Pass);
                Ok(())
            }
            4 => {
                self.begin(node, Work::Settle);
                Ok(())
            }
            5 => self.owner_edits().await,
            6 => {
                self.let_time_pass();
                Ok(())
            }
            7 => {
                self.crash(node).await;
                Ok(())
            }
            _ => {
                self.restart(node).await;
                Ok(())
            }
        }
    }

    fn let_time_pass(&mut self) {
        let now = self.now();
        let ends = self.tables.bookings.values().filter(|booking| booking.state == "held" && booking.state_at > now);
        let next_end = ends.map(|booking| booking.state_at).min();
        let by = match self.dice.below(12) {
            0..4 => TimeDelta::milliseconds(self.dice.between(10, 3_000)),
            4..7 => TimeDelta::seconds(self.dice.between(3, 90)),
            7 => template::LEASE + TimeDelta::seconds(1),
            8 | 9 if next_end.is_some() => {
                self.seen.note("time stands at the instant at which a hold ends");
                TimeDelta::microseconds(next_end.unwrap_or(now) - now)
            }
            11 if self.dice.percent(20) => TimeDelta::hours(self.dice.between(2, 14)),
            _ => TimeDelta::minutes(self.dice.between(2, 20)),
        };
        self.pass_time(by);
    }

    pub(crate) fn pass_time(&mut self, by: TimeDelta) {
        let offset = |at: DateTime<Utc>| {
            use chrono::Offset as _;
            at.with_timezone(&chrono_tz::Europe::Berlin).offset().fix()
        };
        let before = offset(self.clock.now());
        self.clock.advance(by);
        if offset(self.clock.now()) != before {
            self.seen.note("clocks change");
        }
        self.tell("time has passed");
    }
}

pub(crate) fn word(work: &Work) -> String {
    match work {
        Work::Call { request, key, hung_up } => {
            let key = key.as_ref().map(|key| format!(" under {key}")).unwrap_or_default();
            format!("{request:?}{key}{}", if *hung_up { ", and hangs up" } else { "" })
        }
        Work::Delivery => "a delivery".to_owned(),
        Work::Pass => "a pass".to_owned(),
        Work::Settle => "what is over".to_owned(),
    }
}

fn describe(point: &Point) -> String {
    match point {
        Point::Store(moment) => format!("stops: {moment:?}"),
        Point::Asks(ask) => format!("asks Google: {ask:?}"),
        Point::Answers(ask, status) => format!("Google did {status}: {} {:?}", ask.verb, ask.event),
    }
}
