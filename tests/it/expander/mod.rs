//! Random series, expanded by slotd, by the stand-in and by an expander that shares no code with either.
//!
//! `SLOTD_SERIES_SEED` repeats a run, `SLOTD_SERIES` sets how many series there are.

mod case;
mod hostile;
mod oracle;

use chrono::{DateTime, Utc};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use slotd::{
    domain::{
        Clock, Event, EventKind, Interval,
        clock::SystemClock,
        expand::{Limits, expand_series},
    },
    google::Item,
};
use slotd_sandbox::{NewCalendar, Options, Sandbox};

use self::{
    case::{Case, ZONES, cases},
    oracle::Oracle,
};
use crate::stage::{Client, OWNER};

/// How many series there are when the environment does not say.
const SERIES: u64 = 2_400;
/// Of a series that differs, how many smaller ones are tried.
const SHRINKS_MAX: u32 = 400;
/// Differences that are shrunk and shown.
const SHOWN_MAX: usize = 3;

/// Intervals in seconds since 1970.
type Seconds = Vec<[i64; 2]>;

/// When a series is busy by slotd: Google's JSON, read and expanded as a pass does it.
fn by_slotd(case: &Case, events: &[Value]) -> Seconds {
    let zone = case.calendar_zone();
    let events: Vec<Event> = events.iter().map(|event| Item::read(event, Some(zone)).unwrap().event).collect();
    let (exceptions, masters): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| matches!(event.kind, EventKind::Exception { .. }));
    let (from, to) = case.window();
    let window = Interval::new(from, to).unwrap();
    let expansion = expand_series(&masters[0], &exceptions, zone, window, &Limits::default());
    assert_eq!((expansion.truncated, &expansion.odd), (false, &None), "{masters:?}");
    let seconds = |interval: Interval| [interval.start().timestamp(), interval.end().timestamp()];
    expansion.busy.iter().map(|occurrence| seconds(occurrence.interval)).collect()
}

/// The case with its exceptions: they name instances, which the series without them tells.
fn events(case: &Case) -> Vec<Value> {
    let mut plain = case.plain();
    plain["transparency"] = json!("opaque");
    let starts: Vec<DateTime<Utc>> =
        by_slotd(case, &[plain]).iter().map(|[start, _]| DateTime::from_timestamp(*start, 0).unwrap()).collect();
    case.events(&starts)
}

/// Merged, and cut to the window.
fn merged(case: &Case, intervals: &[[i64; 2]]) -> Seconds {
    let (from, to) = case.window();
    let (from, to) = (from.timestamp(), to.timestamp());
    let mut merged: Seconds = Vec::new();
    for [start, end] in intervals.iter().map(|[start, end]| [*start.max(&from), *end.min(&to)]) {
        match merged.last_mut() {
            Some(last) if start <= last[1] => last[1] = last[1].max(end),
            _ => merged.push([start, end]),
        }
    }
    merged
}

/// The stand-in, with a calendar for each case.
struct StandIn {
    sandbox: Sandbox,
    api: Client,
    calendars: usize,
}

impl StandIn {
    async fn start() -> Self {
        let sandbox = Sandbox::start(Options::default()).await.unwrap();
        sandbox.add_user(OWNER, "Aurora");
        let api = Client::new(format!("{}/calendar/v3", sandbox.root()), &sandbox.bearer_token(OWNER));
        Self { sandbox, api, calendars: 0 }
    }

    /// The merged busy time by its `freeBusy`.
    async fn busy(&mut self, case: &Case, events: Vec<Value>) -> Seconds {
        self.calendars += 1;
        let id = format!("case-{}@example.com", self.calendars);
        let calendar = NewCalendar {
            id: Some(id.clone()),
            summary: "Case".to_owned(),
            time_zone: case.calendar_zone().name().to_owned(),
            events,
            ..NewCalendar::default()
        };
        self.sandbox.add_calendar(OWNER, calendar).unwrap();
        let (from, to) = case.window();
        let question = json!({ "timeMin": from.to_rfc3339(), "timeMax": to.to_rfc3339(), "items": [{ "id": id }] });
        let answer = self.api.post("/freeBusy", &question).await.ok();
        let seconds = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp();
        let busy = answer["calendars"][&id]["busy"].as_array().unwrap();
        busy.iter().map(|one| [seconds(&one["start"]), seconds(&one["end"])]).collect()
    }
}

/// Who is to agree with the judge.
struct Court {
    oracle: Oracle,
    stand_in: StandIn,
    slow: usize,
    busy: usize,
}

impl Court {
    /// What differs, in words.
    async fn difference(&mut self, case: &Case) -> Option<String> {
        let events = events(case);
        let (from, to) = case.window();
        let question = json!({
            "zone": case.calendar_zone().name(), "events": events,
            "from": from.to_rfc3339(), "to": to.to_rfc3339(),
        });
        let Some(expected) = self.oracle.ask(&question) else {
            self.slow += 1;
            return None;
        };
        self.busy += usize::from(!expected.is_empty());
        let ours = by_slotd(case, &events);
        let told = |who: &str, theirs: &[[i64; 2]], expected: &[[i64; 2]]| {
            let only = |a: &[[i64; 2]], b: &[[i64; 2]]| -> Vec<String> {
                a.iter().filter(|one| !b.contains(one)).take(5).map(|[start, end]| shown(*start, *end)).collect()
            };
            let (more, less) = (only(theirs, expected), only(expected, theirs));
            format!("{question:#}\nonly {who}: {more:#?}\nonly the judge: {less:#?}")
        };
        if ours != expected {
            return Some(told("slotd", &ours, &expected));
        }
        let theirs = self.stand_in.busy(case, events).await;
        let expected = merged(case, &expected);
        (theirs != expected).then(|| told("the stand-in", &theirs, &expected))
    }
}

fn shown(start: i64, end: i64) -> String {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
    format!("{} to {}", at(start), at(end))
}

#[expect(clippy::disallowed_methods, reason = "a person who replays a run says so in the environment")]
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Countries change their clocks, and each library learns of it in its own time.
#[test]
fn the_judge_knows_the_same_zones_as_the_product() {
    // IANA's 2025b is 2025.2 in PyPI's words.
    let (year, letter) = chrono_tz::IANA_TZDB_VERSION.split_at(4);
    let pinned = format!("tzdata=={year}.{}", u32::from(letter.as_bytes()[0] - b'a') + 1);
    let requirements = include_str!("../../../tools/oracle/requirements.txt");
    assert!(requirements.lines().any(|line| line == pinned), "{pinned} is expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_series_are_busy_exactly_when_the_independent_expander_says_so() {
    let fresh = u64::try_from(SystemClock.now().timestamp_micros()).unwrap();
    let (seed, count) = (number("SLOTD_SERIES_SEED", fresh), number("SLOTD_SERIES", SERIES));
    eprintln!("SLOTD_SERIES_SEED={seed} SLOTD_SERIES={count}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut session = Court { oracle: Oracle::start(), stand_in: StandIn::start().await, slow: 0, busy: 0 };
    let (cases, mut found) = (cases(), Vec::new());
    for place in 0..count {
        let mut tree = cases.new_tree(&mut runner).unwrap();
        let Some(mut difference) = session.difference(&tree.current()).await else { continue };
        let mut tries = 0;
        while tries < SHRINKS_MAX && tree.simplify() {
            // Back from what no longer differs, towards what does.
            loop {
                tries += 1;
                if let Some(smaller) = session.difference(&tree.current()).await {
                    difference = smaller;
                    break;
                }
                if tries >= SHRINKS_MAX || !tree.complicate() {
                    break;
                }
            }
        }
        found.push(format!("series {place}: {difference}"));
        if found.len() >= SHOWN_MAX {
            break;
        }
    }
    assert!(found.is_empty(), "SLOTD_SERIES_SEED={seed}\n{}", found.join("\n\n"));
    eprintln!(
        "{count} series in {} zones: no difference; {} of them busy, {} not judged",
        ZONES.len(),
        session.busy,
        session.slow
    );
    let count = usize::try_from(count).unwrap();
    assert!(session.slow * 50 <= count, "{} of {count} series were not judged", session.slow);
    // The windows are small and many series are far away: a third is plenty.
    assert!(session.busy * 3 > count, "only {} of {count} series were busy at all", session.busy);
}
