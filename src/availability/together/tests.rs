use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    availability::{WeeklyHours, alternatives},
    domain::interval::merge,
};

const DAY: &str = "2026-03-28T00:00:00Z";
const MINUTES: std::ops::Range<i64> = -60..2_940;

fn at(minute: i64) -> DateTime<Utc> {
    DAY.parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minute)
}

fn span(minutes: (i64, i64)) -> Interval {
    Interval::new(at(minutes.0), at(minutes.0 + minutes.1)).unwrap()
}

/// Somebody, in minutes after [`DAY`].
#[derive(Debug, Clone)]
struct Person {
    zone: Tz,
    opens: (u16, u16),
    capacity: u32,
    busy: Vec<(i64, i64)>,
    claims: Vec<(i64, i64)>,
    withheld: Option<Reason>,
}

/// What an agenda borrows.
struct Kept {
    hours: WeeklyHours,
    busy: Vec<Interval>,
    claims: Vec<Interval>,
}

impl Person {
    fn keep(&self) -> Kept {
        let mut claims: Vec<Interval> = self.claims.iter().copied().map(span).collect();
        claims.sort_unstable_by_key(|claim| claim.start());
        Kept {
            hours: WeeklyHours::new(std::array::from_fn(|_| vec![self.opens])).unwrap(),
            busy: merge(self.busy.iter().copied().map(span).collect()),
            claims,
        }
    }

    fn agenda<'a>(&self, kept: &'a Kept, number: u128) -> Agenda<'a> {
        Agenda {
            resource: ResourceId::new(Uuid::from_u128(number)),
            zone: self.zone,
            hours: (&kept.hours).into(),
            capacity: self.capacity,
            busy: &kept.busy,
            claims: &kept.claims,
            coverage: None,
            withheld: self.withheld,
            capped: &[],
            load: &[],
        }
    }
}

/// Gives `judge` the agendas of `groups`, each person with a number of their own.
fn with_agendas<T>(groups: &[Vec<Person>], judge: impl FnOnce(&[Vec<Agenda<'_>>]) -> T) -> T {
    let kept: Vec<Vec<Kept>> = groups.iter().map(|group| group.iter().map(Person::keep).collect()).collect();
    let mut number = 0;
    let mut agendas = Vec::new();
    for (group, kept) in groups.iter().zip(&kept) {
        let mut of_group = Vec::new();
        for (person, kept) in group.iter().zip(kept) {
            number += 1;
            of_group.push(person.agenda(kept, number));
        }
        agendas.push(of_group);
    }
    judge(&agendas)
}

/// Every way to take one of each group.
fn combinations<'a>(groups: &[Vec<Agenda<'a>>]) -> Vec<Vec<Agenda<'a>>> {
    groups.iter().fold(vec![Vec::new()], |begun, group| {
        begun
            .iter()
            .flat_map(|begun| {
                group.iter().map(move |one| {
                    let mut longer: Vec<Agenda<'a>> = begun.clone();
                    longer.push(*one);
                    longer
                })
            })
            .collect()
    })
}

/// Whether some combination can be had, by trying all.
fn can_be_had(groups: &[Vec<Agenda<'_>>], rules: &Rules, start: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    combinations(groups).iter().any(|all| all.iter().all(|one| check(one, rules, start, now).is_ok()))
}

fn person() -> impl Strategy<Value = Person> {
    let spans = |most| prop::collection::vec((-200_i64..2_800, 10_i64..500), 0..most);
    let opens = prop::sample::select(vec![(0, 1_440), (480, 1_080), (490, 1_000), (720, 1_440)]);
    let zone = prop::sample::select(vec![Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu]);
    let withheld = prop::option::weighted(0.1, Just(Reason::Stale));
    (zone, opens, 1_u32..3, spans(3), spans(6), withheld).prop_map(|(zone, opens, capacity, busy, claims, withheld)| {
        Person { zone, opens, capacity, busy, claims, withheld }
    })
}

fn groups() -> impl Strategy<Value = Vec<Vec<Person>>> {
    prop::collection::vec(prop::collection::vec(person(), 1..4), 1..4)
}

fn rules() -> impl Strategy<Value = Rules> {
    let minutes = |range: std::ops::Range<i64>| range.prop_map(TimeDelta::minutes);
    (minutes(10..120), minutes(0..30), minutes(0..30), minutes(7..70), minutes(0..200)).prop_map(
        |(duration, buffer_before, buffer_after, slot_step, minimum_notice)| Rules {
            duration,
            buffer_before,
            buffer_after,
            slot_step,
            minimum_notice,
            horizon: TimeDelta::days(30),
            daily_cap: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_combination_is_found_whenever_trying_all_finds_one(
        groups in groups(),
        rules in rules(),
        starts in prop::collection::vec(MINUTES, 60),
    ) {
        with_agendas(&groups, |groups| {
            for start in starts.into_iter().map(at) {
                let found = free_together(groups, &rules, start, at(0));
                prop_assert_eq!(found.is_some(), can_be_had(groups, &rules, start, at(0)), "at {}", start);
                let Some(found) = found else { continue };
                prop_assert_eq!(found.len(), groups.len());
                for (resource, group) in found.iter().zip(groups) {
                    let taken = group.iter().find(|agenda| agenda.resource == *resource);
                    prop_assert_eq!(taken.map(|agenda| check(agenda, &rules, start, at(0))), Some(Ok(())));
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn slots_are_those_of_the_leads_at_which_a_combination_can_be_had(
        groups in groups(),
        rules in rules(),
        limit in 1_usize..30,
    ) {
        with_agendas(&groups, |groups| {
            let range = Interval::new(at(MINUTES.start), at(MINUTES.end)).unwrap();
            let obvious: Vec<Slot> = slots(&groups[0], &rules, range, at(0), usize::MAX, false)
                .into_iter()
                .filter(|slot| can_be_had(groups, &rules, slot.interval.start(), at(0)))
                .map(|slot| {
                    let besides = free_together(&groups[1..], &rules, slot.interval.start(), at(0)).unwrap();
                    Slot { besides: besides.into_iter().collect(), ..slot }
                })
                .collect();
            prop_assert_eq!(&slots_together(groups, &rules, range, at(0), usize::MAX, false), &obvious);
            let few: Vec<Slot> = obvious.iter().take(limit).copied().collect();
            prop_assert_eq!(slots_together(groups, &rules, range, at(0), limit, false), few);
            let diverse = slots_together(groups, &rules, range, at(0), limit, true);
            prop_assert!(diverse.len() <= limit && diverse.iter().all(|offer| obvious.contains(offer)));
            prop_assert_eq!(diverse.is_empty(), obvious.is_empty());
            Ok(())
        })?;
    }

    #[test]
    fn alternatives_can_be_had_and_come_once(
        groups in groups(),
        rules in rules(),
        asked in MINUTES,
        wanted in prop::option::of(1_u128..4),
    ) {
        with_agendas(&groups, |groups| {
            let wanted = wanted.map(|number| ResourceId::new(Uuid::from_u128(number)));
            let offered = alternatives_together(groups, &rules, at(asked), wanted, at(0), 3);
            prop_assert!(offered.len() <= 3);
            for (index, offer) in offered.iter().enumerate() {
                let start = offer.slot.interval.start();
                let taken: Vec<ResourceId> = std::iter::once(offer.slot.resource).chain(offer.slot.besides.resources()).collect();
                for (resource, group) in taken.iter().zip(groups) {
                    let taken = group.iter().find(|agenda| agenda.resource == *resource);
                    prop_assert_eq!(taken.map(|agenda| check(agenda, &rules, start, at(0))), Some(Ok(())));
                }
                prop_assert!(offered[..index].iter().all(|earlier| earlier.slot.interval.start() != start));
            }
            Ok(())
        })?;
    }

    #[test]
    fn of_one_group_all_is_as_without_groups(group in prop::collection::vec(person(), 1..4), rules in rules(), asked in MINUTES) {
        with_agendas(&[group], |groups| {
            let (range, now) = (Interval::new(at(0), at(1_440)).unwrap(), at(0));
            let plain = slots(&groups[0], &rules, range, now, 20, true);
            prop_assert_eq!(slots_together(groups, &rules, range, now, 20, true), plain);
            let wanted = groups[0].last().map(|agenda| agenda.resource);
            let plain = alternatives(&groups[0], &rules, at(asked), wanted, now, 3);
            prop_assert_eq!(alternatives_together(groups, &rules, at(asked), wanted, now, 3), plain);
            Ok(())
        })?;
    }

    #[test]
    fn one_no_is_a_no_and_nothing_else_is(
        groups in prop::collection::vec(
            prop_oneof![
                Just(Ok(())), Just(Err(Reason::Stale)), Just(Err(Reason::Busy)), Just(Err(Reason::Closed)),
                Just(Err(Reason::Buffer)), Just(Err(Reason::OutsideCoverage)), Just(Err(Reason::Cap)),
            ],
            1..5,
        ),
    ) {
        let said = combine(groups.clone());
        let says_no = groups.iter().any(|group| group.is_err_and(|reason: Reason| !reason.is_unknown()));
        prop_assert_eq!(said.is_ok(), groups.iter().all(Result::is_ok));
        if let Err(reason) = said {
            prop_assert_eq!(!reason.is_unknown(), says_no, "{:?}", reason);
            prop_assert!(groups.contains(&Err(reason)), "it is a reason of one of them");
        }
    }
}
