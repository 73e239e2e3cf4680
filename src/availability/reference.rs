//! The same answers by the slowest, most obvious way, minute by minute, and properties that hold the engine to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Agenda, DateOverride, DayHours, Reason, Rules, Timetable, WeekLoad, WeeklyHours, capped_days, check, slots,
    weeks_of,
};
use crate::domain::{Interval, ResourceId, interval::merge, zone::utc_to_local};

/// Days on which clocks change, and one on which they do not.
const PLACES: [(Tz, &str); 9] = [
    (Tz::Europe__Berlin, "2026-03-29T00:00:00Z"),
    (Tz::Europe__Berlin, "2026-10-25T00:00:00Z"),
    (Tz::America__New_York, "2026-03-08T05:00:00Z"),
    (Tz::America__New_York, "2026-11-01T04:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-04T13:00:00Z"),
    (Tz::America__Sao_Paulo, "2018-11-04T00:00:00Z"),
    (Tz::America__Havana, "2026-11-01T04:00:00Z"),
    (Tz::Pacific__Apia, "2011-12-30T00:00:00Z"),
    (Tz::Asia__Kathmandu, "2026-06-01T00:00:00Z"),
];

/// The first and the last day, and the minutes of a day between which it is open.
type OtherDays = (i64, i64, Vec<(u16, u16)>);

#[derive(Debug, Clone)]
struct World {
    zone: Tz,
    /// Midnight or so of the day of interest; all times below are minutes from here.
    day: DateTime<Utc>,
    openings: [Vec<(u16, u16)>; 7],
    rules: Rules,
    capacity: u32,
    busy: Vec<(i64, i64)>,
    claims: Vec<(i64, i64)>,
    coverage: Option<(i64, i64)>,
    withheld: bool,
    now: i64,
    /// Days from the day of interest on which the resource has hours of its own.
    own: BTreeMap<i64, Vec<(u16, u16)>>,
    /// From which day to which the business has other hours, and what they are.
    shared: Option<OtherDays>,
    /// Where the business is: its days are those of the cap.
    business_zone: Tz,
    /// When bookings of the service begin, whoever does them.
    booked: Vec<i64>,
}

impl World {
    fn at(&self, minute: i64) -> DateTime<Utc> {
        self.day + TimeDelta::minutes(minute)
    }

    fn intervals(&self, minutes: &[(i64, i64)]) -> Vec<Interval> {
        minutes.iter().filter_map(|(from, to)| Interval::new(self.at(*from), self.at(*to))).collect()
    }

    fn range(&self) -> Interval {
        Interval::new(self.at(-300), self.at(1_800)).unwrap()
    }

    /// Runs `judge` over the agenda of this world.
    fn with<T>(&self, judge: impl FnOnce(&Agenda<'_>) -> T) -> T {
        let hours = WeeklyHours::new(self.openings.clone()).unwrap();
        let busy = merge(self.intervals(&self.busy));
        let mut claims = self.intervals(&self.claims);
        claims.sort_unstable_by_key(|claim| claim.start());
        let coverage = self.coverage.and_then(|(from, to)| Interval::new(self.at(from), self.at(to)));
        let on = |first: i64, last: i64, openings: &Vec<(u16, u16)>| DateOverride {
            first: self.date(first),
            last: self.date(last),
            hours: DayHours::new(openings.clone()).unwrap(),
            label: None,
        };
        let own: Vec<DateOverride> = self.own.iter().map(|(day, openings)| on(*day, *day, openings)).collect();
        let shared: Vec<DateOverride> =
            self.shared.iter().map(|(first, last, openings)| on(*first, *last, openings)).collect();
        let booked: Vec<DateTime<Utc>> = self.booked.iter().map(|minute| self.at(*minute)).collect();
        let capped = self.rules.daily_cap.map(|cap| capped_days(&booked, cap, self.business_zone)).unwrap_or_default();
        judge(&Agenda {
            resource: ResourceId::new(Uuid::nil()),
            zone: self.zone,
            hours: Timetable::new(&hours, &own, &shared),
            capacity: self.capacity,
            busy: &busy,
            claims: &claims,
            coverage,
            withheld: self.withheld.then_some(Reason::Stale),
            capped: &capped,
            load: &[],
        })
    }

    /// The date so many days from that of interest.
    fn date(&self, days: i64) -> NaiveDate {
        utc_to_local(self.day, self.zone).date() + TimeDelta::days(days)
    }

    /// The first minute at which a clock shows `local` or later, found by looking at the clock.
    fn edge(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
        let mut at = local.and_utc() - TimeDelta::hours(15);
        while utc_to_local(at, zone) < local {
            at += TimeDelta::minutes(1);
        }
        at
    }

    /// All openings around the day: first and last local time, first and last instant.
    fn openings_around(&self) -> Vec<(NaiveDateTime, NaiveDateTime, DateTime<Utc>, DateTime<Utc>)> {
        let mut around = Vec::new();
        for day in -3..4 {
            let date = self.date(day);
            let shared = self.shared.as_ref().filter(|(first, last, _)| (*first..=*last).contains(&day));
            let week = &self.openings[date.weekday().num_days_from_monday() as usize];
            for (opens, closes) in self.own.get(&day).or(shared.map(|(_, _, openings)| openings)).unwrap_or(week) {
                let local = |minutes: u16| date.and_time(chrono::NaiveTime::MIN) + TimeDelta::minutes(minutes.into());
                let (opens, closes) = (local(*opens), local(*closes));
                around.push((opens, closes, Self::edge(opens, self.zone), Self::edge(closes, self.zone)));
            }
        }
        around
    }

    /// The days of the business that have no room for the service any more.
    fn slow_full_days(&self) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let Some(cap) = self.rules.daily_cap else { return Vec::new() };
        let midnight = |day: i64| Self::edge(self.date(day).and_time(chrono::NaiveTime::MIN), self.business_zone);
        let days = (-4..5).map(|day| (midnight(day), midnight(day + 1)));
        let begin = |from, to| self.booked.iter().filter(|minute| (from..to).contains(&self.at(**minute))).count();
        days.filter(|(from, to)| begin(*from, *to) >= cap as usize).collect()
    }

    fn slow_check(
        &self,
        start: DateTime<Utc>,
        openings: &[(NaiveDateTime, NaiveDateTime, DateTime<Utc>, DateTime<Utc>)],
        full_days: &[(DateTime<Utc>, DateTime<Utc>)],
    ) -> Result<(), Reason> {
        let Rules { duration, buffer_before, buffer_after, minimum_notice, horizon, .. } = self.rules;
        let now = self.at(self.now);
        if start < now {
            return Err(Reason::Past);
        }
        if start < now + minimum_notice {
            return Err(Reason::Notice);
        }
        if start > now + horizon {
            return Err(Reason::Horizon);
        }
        let minutes = |from: DateTime<Utc>, to: DateTime<Utc>| {
            (0..(to - from).num_minutes()).map(move |minute| from + TimeDelta::minutes(minute))
        };
        let open = |at: DateTime<Utc>| openings.iter().any(|(_, _, opens, closes)| *opens <= at && at < *closes);
        if !minutes(start, start + duration).all(open) {
            return Err(Reason::Closed);
        }
        if full_days.iter().any(|(from, to)| *from <= start && start < *to) {
            return Err(Reason::Cap);
        }
        if self.withheld {
            return Err(Reason::Stale);
        }
        let holds = |intervals: &[(i64, i64)], at: DateTime<Utc>| {
            intervals.iter().filter(|(from, to)| self.at(*from) <= at && at < self.at(*to)).count()
        };
        let taken = |at: DateTime<Utc>| holds(&self.busy, at) > 0 || holds(&self.claims, at) >= self.capacity as usize;
        if minutes(start, start + duration).any(taken) {
            return Err(Reason::Busy);
        }
        let (claim_start, claim_end) = (start - buffer_before, start + duration + buffer_after);
        if minutes(claim_start, claim_end).any(taken) {
            return Err(Reason::Buffer);
        }
        let known = |at| self.coverage.is_none_or(|coverage| holds(&[coverage], at) > 0);
        if !minutes(claim_start, claim_end).all(known) {
            return Err(Reason::OutsideCoverage);
        }
        Ok(())
    }

    fn slow_slots(&self) -> Vec<DateTime<Utc>> {
        let (openings, full_days) = (self.openings_around(), self.slow_full_days());
        let range = self.range();
        let step = self.rules.slot_step.num_minutes();
        (0..range.duration().num_minutes())
            .map(|minute| range.start() + TimeDelta::minutes(minute))
            .filter(|start| {
                let local = utc_to_local(*start, self.zone);
                openings.iter().any(|(opens, closes, from, to)| {
                    let on_grid = (local - *opens).num_minutes() % step == 0;
                    on_grid && *opens <= local && local < *closes && from <= start && start < to
                })
            })
            .filter(|start| self.slow_check(*start, &openings, &full_days).is_ok())
            .collect()
    }

    fn fast_slots(&self) -> Vec<DateTime<Utc>> {
        let given = self.with(|agenda| {
            slots(std::slice::from_ref(agenda), &self.rules, self.range(), self.at(self.now), usize::MAX, false)
        });
        given.iter().map(|slot| slot.interval.start()).collect()
    }
}

/// Openings of one day.
fn day() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::btree_set(0_u16..=48, 0..5).prop_map(|edges| {
        let edges: Vec<u16> = edges.into_iter().map(|edge| edge * 30).collect();
        edges.windows(2).step_by(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    })
}

fn openings() -> impl Strategy<Value = [Vec<(u16, u16)>; 7]> {
    let seven = |day: Vec<(u16, u16)>| std::array::from_fn(|_| day.clone());
    prop_oneof![
        prop::array::uniform7(day()),
        Just(seven(vec![(0, 1_440)])),
        Just(seven(vec![(0, 360), (1_320, 1_440)])),
        Just(seven(vec![(90, 150), (150, 400)])),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let minutes = |range: std::ops::Range<i64>| range.prop_map(TimeDelta::minutes);
    let cap = prop::option::of(1_u32..4);
    let times = (minutes(5..180), minutes(0..40), minutes(0..40), minutes(5..70), minutes(0..400), minutes(600..3_000));
    (times, cap).prop_map(|((duration, buffer_before, buffer_after, slot_step, minimum_notice, horizon), daily_cap)| {
        Rules { duration, buffer_before, buffer_after, slot_step, minimum_notice, horizon, daily_cap }
    })
}

fn world() -> impl Strategy<Value = World> {
    let span = || (-600_i64..2_200, 1_i64..300).prop_map(|(from, length)| (from, from + length));
    let coverage = prop::option::of((-900_i64..0, 900_i64..2_600));
    let spans = |most| prop::collection::vec(span(), 0..most);
    let withheld = prop::bool::weighted(0.1);
    let dates = (
        prop::collection::btree_map(-3_i64..4, day(), 0..3),
        prop::option::of((-3_i64..4, 0_i64..3, day()).prop_map(|(first, more, day)| (first, first + more, day))),
    );
    let booked = (0..PLACES.len(), prop::collection::vec(-900_i64..2_600, 0..8));
    let place = (0..PLACES.len(), openings(), rules(), dates, booked);
    (place, 0_u32..4, spans(4), spans(10), coverage, withheld, -600_i64..600).prop_map(
        |(place, capacity, busy, claims, coverage, withheld, now)| {
            let (place, openings, rules, (own, shared), (business, booked)) = place;
            let ((zone, day), (business_zone, _)) = (PLACES[place], PLACES[business]);
            let day = day.parse().unwrap();
            World {
                zone,
                day,
                openings,
                rules,
                capacity,
                busy,
                claims,
                coverage,
                withheld,
                now,
                own,
                shared,
                business_zone,
                booked,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_exactly_those_that_looking_at_every_minute_finds(world in world()) {
        prop_assert_eq!(world.fast_slots(), world.slow_slots());
    }

    #[test]
    fn every_slot_passes_the_check_and_every_reason_is_the_obvious_one(
        world in world(),
        others in prop::collection::vec(-300_i64..1_800, 20),
    ) {
        let (openings, full_days) = (world.openings_around(), world.slow_full_days());
        let now = world.at(world.now);
        for start in world.fast_slots() {
            prop_assert_eq!(world.with(|agenda| check(agenda, &world.rules, start, now)), Ok(()));
        }
        for start in others.into_iter().map(|minute| world.at(minute)) {
            let fast = world.with(|agenda| check(agenda, &world.rules, start, now));
            prop_assert_eq!(fast, world.slow_check(start, &openings, &full_days), "at {}", start);
        }
    }

    #[test]
    fn more_busy_time_or_another_claim_never_adds_a_slot(world in world(), busy in (-600_i64..2_200, 1_i64..300)) {
        let before = world.fast_slots();
        let span = (busy.0, busy.0 + busy.1);
        let mut busier = world.clone();
        busier.busy.push(span);
        let mut fuller = world;
        fuller.claims.push(span);
        for fewer in [busier.fast_slots(), fuller.fast_slots()] {
            prop_assert!(fewer.iter().all(|start| before.contains(start)));
        }
    }

    #[test]
    fn another_booking_never_adds_a_slot_to_a_capped_service(world in world(), start in -900_i64..2_600) {
        let before = world.fast_slots();
        let mut fuller = world;
        fuller.booked.push(start);
        prop_assert!(fuller.fast_slots().iter().all(|start| before.contains(start)));
    }

    #[test]
    fn the_first_slot_of_a_start_is_with_whoever_has_least_to_do_in_its_week(
        world in world(),
        loads in prop::collection::vec((0_i64..3, 0_u32..3), 3),
    ) {
        world.with(|agenda| {
            let weeks = weeks_of(world.range(), world.business_zone);
            let load = |(minutes, bookings): &(i64, u32)| -> Vec<WeekLoad> {
                let occupied = TimeDelta::minutes(*minutes);
                weeks.iter().map(|week| WeekLoad { week: *week, occupied, bookings: *bookings }).collect()
            };
            let loads: Vec<Vec<WeekLoad>> = loads.iter().map(load).collect();
            let agendas: Vec<Agenda<'_>> = loads
                .iter()
                .zip(1_u128..)
                .map(|(load, number)| Agenda { resource: ResourceId::new(Uuid::from_u128(number)), load, ..*agenda })
                .collect();
            let least = (0..3)
                .min_by_key(|at| (loads[*at][0].occupied, loads[*at][0].bookings, agendas[*at].resource))
                .unwrap();
            let given = slots(&agendas, &world.rules, world.range(), world.at(world.now), usize::MAX, false);
            for starts in given.chunks(3) {
                prop_assert!(starts.iter().all(|slot| slot.interval == starts[0].interval));
                prop_assert_eq!(starts[0].resource, agendas[least].resource);
            }
            let spread = slots(&agendas, &world.rules, world.range(), world.at(world.now), 5, true);
            prop_assert!(spread.iter().all(|slot| slot.resource == agendas[least].resource));
            Ok(())
        })?;
    }

    #[test]
    fn no_slot_is_at_a_time_that_no_clock_shows(world in world()) {
        for start in world.fast_slots() {
            let local = utc_to_local(start, world.zone);
            prop_assert_eq!(local.second(), 0);
            prop_assert!(crate::domain::zone::instants_showing(local, world.zone).any(|at| at == start));
        }
    }
}
