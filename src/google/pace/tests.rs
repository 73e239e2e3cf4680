use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::{
    AccountId, BusinessId, Clock,
    clock::{SeededChance, TestClock},
};

const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();
const SMALL: Rates = Rates { account_per_minute: 60, project_per_minute: 600, per_day: 100_000 };

fn key(n: u128) -> AccountKey {
    AccountKey { business: BusinessId::new(Uuid::from_u128(1)), account: AccountId::new(Uuid::from_u128(n)) }
}

fn ask(n: u128, urgency: Urgency) -> Ask {
    Ask { account: key(n), urgency, calls: 1, writes: false, patience: Duration::ZERO }
}

fn write(n: u128) -> Ask {
    Ask { writes: true, ..ask(n, Urgency::Caller) }
}

struct Bench {
    pacer: Pacer,
    clock: Arc<TestClock>,
    held: Arc<Mutex<Vec<(Urgency, Held)>>>,
}

impl Bench {
    fn new(rates: Rates) -> Self {
        let (clock, held) = (TestClock::at(START), Arc::<Mutex<Vec<(Urgency, Held)>>>::default());
        let sink = Arc::clone(&held);
        let observer: HeldObserver = Arc::new(move |urgency, why| sink.lock().unwrap().push((urgency, why)));
        let pacer = Pacer::new(rates, Arc::clone(&clock) as SharedClock, SeededChance::new(1), observer);
        Self { pacer, clock, held }
    }

    async fn admitted(&self, ask: Ask) -> bool {
        self.pacer.admit(ask).await.is_ok()
    }

    /// Why a call is held back, and for how long.
    async fn held(&self, ask: Ask) -> (Held, Duration) {
        match self.pacer.admit(ask).await {
            Err(Error::HeldBack { held, retry_after }) => (held, retry_after),
            other => panic!("{other:?}"),
        }
    }

    async fn drain(&self, n: u128, urgency: Urgency) -> usize {
        let mut made = 0;
        while self.admitted(ask(n, urgency)).await {
            made += 1;
        }
        made
    }

    fn refused(&self, ask: &Ask, error: Error) -> Error {
        self.pacer.refused(ask, self.clock.now(), error)
    }
}

#[tokio::test]
async fn the_less_urgent_leave_room_for_the_more_urgent() {
    let bench = Bench::new(SMALL);
    let made = [
        bench.drain(1, Urgency::Background).await,
        bench.drain(1, Urgency::Poll).await,
        bench.drain(1, Urgency::Push).await,
        bench.drain(1, Urgency::Caller).await,
    ];
    assert_eq!((made.iter().sum::<usize>(), made[0]), (12, 6), "{made:?}");
    assert!(made.iter().all(|calls| *calls > 0), "{made:?}");
    assert!(bench.admitted(ask(2, Urgency::Background)).await, "another account has calls of its own");
    assert!(bench.held.lock().unwrap().contains(&(Urgency::Poll, Held::Account)));
}

#[tokio::test]
async fn all_accounts_together_keep_the_project_within_its_calls() {
    let bench = Bench::new(Rates { project_per_minute: 50, ..SMALL });
    let mut made = 0;
    for n in 0..20 {
        made += bench.drain(n, Urgency::Caller).await;
    }
    assert_eq!(made, 10);
    assert_eq!(bench.held(ask(99, Urgency::Caller)).await.0, Held::Project);
}

#[tokio::test]
async fn calls_that_are_held_back_are_told_to_come_one_by_one() {
    let bench = Bench::new(SMALL);
    bench.drain(1, Urgency::Push).await;
    let mut waits = Vec::new();
    for _ in 0..30 {
        waits.push(bench.held(ask(1, Urgency::Push)).await.1);
    }
    let interval = Duration::from_millis(1_250);
    for pair in waits.windows(2) {
        assert_eq!(pair[1], pair[0] + interval, "{waits:?}");
    }
    // Whoever comes when told finds room.
    let start = bench.clock.now();
    for wait in waits {
        let at = start + TimeDelta::from_std(wait).unwrap();
        bench.clock.advance(at - bench.clock.now());
        assert!(bench.admitted(ask(1, Urgency::Push)).await, "after {wait:?}");
    }
}

#[tokio::test]
async fn retry_after_holds_for_every_calendar_of_the_account_and_for_no_other() {
    let bench = Bench::new(SMALL);
    let seven = Some(Duration::from_secs(7));
    let told = bench.refused(&ask(1, Urgency::Push), Error::RateLimited { retry_after: seven, project: false });
    assert!(told.retry_after() >= seven, "{told:?}");
    for urgency in Urgency::ALL {
        let (held, wait) = bench.held(ask(1, urgency)).await;
        assert!(held == Held::Pause && Some(wait) >= seven && wait < Duration::from_secs(10), "{held:?} {wait:?}");
    }
    assert!(bench.admitted(ask(2, Urgency::Background)).await);
    bench.clock.advance(TimeDelta::seconds(6));
    assert!(!bench.admitted(ask(1, Urgency::Caller)).await);
    bench.clock.advance(TimeDelta::seconds(2));
    assert!(bench.admitted(ask(1, Urgency::Caller)).await);
    let (_, pauses) = bench.pacer.take_news();
    assert_eq!((pauses.len(), pauses[0].account, pauses[0].reason.as_str()), (1, key(1), "rateLimitExceeded"));
}

#[tokio::test]
async fn a_limit_of_the_project_holds_for_everybody() {
    for error in [
        Error::RateLimited { retry_after: Some(Duration::from_secs(5)), project: true },
        Error::QuotaExhausted { reason: "dailyLimitExceeded".to_owned(), retry_after: None },
    ] {
        let bench = Bench::new(SMALL);
        bench.refused(&ask(1, Urgency::Poll), error);
        assert_eq!(bench.held(ask(2, Urgency::Caller)).await.0, Held::Pause);
        assert!(bench.pacer.project_pause().unwrap() >= Duration::from_secs(5));
        assert!(bench.pacer.take_news().1.is_empty(), "no account is to blame");
    }
}

#[tokio::test]
async fn when_google_wants_no_more_events_reads_go_on() {
    let bench = Bench::new(SMALL);
    let exceeded = || Error::QuotaExhausted { reason: "quotaExceeded".to_owned(), retry_after: None };
    bench.refused(&write(1), exceeded());
    let (held, wait) = bench.held(write(1)).await;
    assert!(held == Held::WritePause && wait >= Duration::from_mins(30), "{held:?} {wait:?}");
    assert!(bench.admitted(ask(1, Urgency::Background)).await);
    assert!(bench.admitted(write(2)).await);
    let pauses = bench.pacer.take_news().1;
    assert_eq!(pauses[0].until, DateTime::UNIX_EPOCH);

    // Another node, or this one after its next start, is told.
    let other = Bench::new(SMALL);
    other.pacer.learn(other.pacer.today(), 0, &pauses);
    assert_eq!(other.held(write(1)).await.0, Held::WritePause);
    assert!(other.admitted(ask(1, Urgency::Poll)).await);
}

#[tokio::test]
async fn a_day_runs_out_for_first_syncs_first_and_for_writes_last() {
    let bench = Bench::new(Rates { account_per_minute: 100_000, project_per_minute: 1_000_000, per_day: 1_000 });
    let made = [
        bench.drain(1, Urgency::Background).await,
        bench.drain(1, Urgency::Poll).await,
        bench.drain(1, Urgency::Push).await,
        bench.drain(1, Urgency::Caller).await,
    ];
    assert_eq!(made, [750, 100, 100, 50]);
    let (held, wait) = bench.held(ask(1, Urgency::Caller)).await;
    assert!(held == Held::Day && wait <= Duration::from_mins(31), "{held:?} {wait:?}");
    let left = bench.pacer.left();
    assert_eq!((left.day, left.today), (0, 1_000));
    bench.clock.advance(TimeDelta::days(1));
    assert!(bench.admitted(ask(1, Urgency::Background)).await);
}

#[tokio::test]
async fn calls_of_other_nodes_and_of_before_the_start_count() {
    let bench = Bench::new(Rates { per_day: 1_000, ..SMALL });
    let today = bench.pacer.today();
    bench.pacer.learn(today, 998, &[]);
    assert!(!bench.admitted(ask(1, Urgency::Push)).await);
    assert!(bench.admitted(ask(1, Urgency::Caller)).await);
    let (calls, pauses) = bench.pacer.take_news();
    assert_eq!(calls, [(today, 1)]);
    assert_eq!(bench.pacer.left().today, 999);
    // The database was away.
    bench.pacer.untake_news(&calls, pauses);
    assert_eq!((bench.pacer.left().today, bench.pacer.take_news().0), (999, calls));
    assert!(bench.admitted(ask(1, Urgency::Caller)).await);
    assert!(!bench.admitted(ask(1, Urgency::Caller)).await);
}

#[tokio::test]
async fn fewer_polls_are_planned_when_the_day_runs_low() {
    let bench = Bench::new(SMALL);
    let (account, all) = bench.pacer.polls_per_minute();
    assert!((account - 24.0).abs() < 1e-9 && all > 20.0 && all < 30.0, "{account} {all}");
    bench.pacer.learn(bench.pacer.today(), 80_000, &[]);
    assert!(bench.pacer.polls_per_minute().1 < 3.0);
    bench.pacer.learn(bench.pacer.today(), 99_000, &[]);
    assert!(bench.pacer.polls_per_minute().1 < 1e-9);
}

#[tokio::test]
async fn accounts_that_have_nothing_to_remember_do_not_pile_up() {
    let bench = Bench::new(Rates { project_per_minute: 1_000_000, ..SMALL });
    for n in 0..ACCOUNTS_BEFORE_SWEEP {
        assert!(bench.admitted(ask(n as u128, Urgency::Poll)).await);
    }
    bench.refused(
        &ask(3, Urgency::Poll),
        Error::RateLimited { retry_after: Some(Duration::from_hours(2)), project: false },
    );
    bench.clock.advance(TimeDelta::hours(1));
    assert!(bench.admitted(ask(u128::MAX, Urgency::Poll)).await);
    assert_eq!(bench.pacer.state().accounts.len(), 2, "the paused one stays");
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_for() {
    let bench = Bench::new(SMALL);
    bench.drain(1, Urgency::Caller).await;
    let clock = Arc::clone(&bench.clock);
    let time = async move {
        for _ in 0..2_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            clock.advance(TimeDelta::milliseconds(1));
        }
    };
    let patient = Ask { patience: Duration::from_millis(1_500), ..ask(1, Urgency::Caller) };
    let (outcome, ()) = tokio::join!(bench.pacer.admit(patient), time);
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_any_more_when_the_process_is_to_end() {
    let bench = Bench::new(SMALL);
    bench.drain(1, Urgency::Caller).await;
    let patient = Ask { patience: Duration::from_secs(20), ..ask(1, Urgency::Background) };
    let stop = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        bench.pacer.stop_waiting();
    };
    let started = tokio::time::Instant::now();
    let (outcome, ()) = tokio::join!(bench.pacer.admit(patient), stop);
    assert!(matches!(outcome, Err(Error::HeldBack { .. })), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(bench.admitted(ask(2, Urgency::Caller)).await, "what has room still goes out");
}

proptest! {
    /// Whatever is asked, refused and waited: in no minute does an account make more calls than it may.
    #[test]
    fn no_account_makes_more_calls_in_a_minute_than_it_may(
        steps in proptest::collection::vec((0_i64..3_000, 0_u128..3, 0_usize..4, 1_u32..4, 0_u8..20), 1..500),
    ) {
        let bench = Bench::new(SMALL);
        let mut made: HashMap<u128, Vec<(DateTime<Utc>, u32)>> = HashMap::new();
        for (pause_ms, n, urgency, calls, luck) in steps {
            bench.clock.advance(TimeDelta::milliseconds(pause_ms));
            let now = bench.clock.now();
            let ask = Ask { calls, ..ask(n, Urgency::ALL[urgency]) };
            while bench.pacer.state().try_take(&ask, &SMALL, now).is_ok() {
                made.entry(n).or_default().push((now, calls));
                if luck == 0 {
                    let limited = Error::RateLimited { retry_after: None, project: false };
                    prop_assert!(bench.pacer.refused(&ask, now, limited).retry_after().is_some());
                    let again = bench.pacer.state().try_take(&ask, &SMALL, now);
                    prop_assert!(matches!(again, Err((Held::Pause, _))));
                }
            }
        }
        for calls in made.values() {
            for (place, (from, _)) in calls.iter().enumerate() {
                let minute = calls[place..].iter().take_while(|(at, _)| *at - *from < TimeDelta::minutes(1));
                prop_assert!(minute.map(|(_, calls)| calls).sum::<u32>() <= SMALL.account_per_minute);
            }
        }
    }
}
