//! Which bookings of one resource are too many for it. Pure.

use std::collections::BTreeSet;

use super::{BookingId, Interval};

/// The pairs of claims that are there together while the resource is claimed more often than it can be, each pair in both
/// orders.
#[must_use]
pub fn collisions(claims: &[(BookingId, Interval)], capacity: usize) -> BTreeSet<(BookingId, BookingId)> {
    let mut sorted: Vec<&(BookingId, Interval)> = claims.iter().collect();
    sorted.sort_unstable_by_key(|(id, claim)| (claim.start(), *id));
    let (mut here, mut found) = (Vec::<&(BookingId, Interval)>::new(), BTreeSet::new());
    // A crowd grows only where a claim begins.
    for next in sorted {
        here.retain(|(_, claim)| claim.end() > next.1.start());
        here.push(next);
        if here.len() > capacity.max(1) {
            for (one, _) in &here {
                found.extend(here.iter().filter(|(other, _)| other != one).map(|(other, _)| (*one, *other)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn claim(place: usize, start: i64, length: i64) -> (BookingId, Interval) {
        let at = |hour| DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
        let id = BookingId::new(Uuid::from_u128(place as u128 + 1));
        (id, Interval::new(at(start), at(start + length)).unwrap())
    }

    #[test]
    fn neighbours_do_not_meet_and_a_crowd_does() {
        let (a, b, c) = (claim(0, 0, 2), claim(1, 2, 2), claim(2, 1, 2));
        assert!(collisions(&[a, b], 1).is_empty());
        let both = |one: (BookingId, Interval), other: (BookingId, Interval)| [(one.0, other.0), (other.0, one.0)];
        let expected: BTreeSet<_> = both(a, c).into_iter().chain(both(b, c)).collect();
        assert_eq!(collisions(&[a, b, c], 1), expected);
        assert!(collisions(&[a, b, c], 2).is_empty(), "two at a time fit");
    }

    proptest! {
        #[test]
        fn as_looking_at_each_hour_finds(
            shapes in prop::collection::vec((0..12_i64, 1..5_i64), 0..9), capacity in 1..4_usize
        ) {
            let claims: Vec<_> =
                shapes.iter().enumerate().map(|(place, (start, length))| claim(place, *start, *length)).collect();
            let mut expected = BTreeSet::new();
            for hour in 0..20 {
                let now = claim(0, hour, 1).1;
                let here: Vec<_> = claims.iter().filter(|(_, claim)| claim.overlaps(now)).collect();
                if here.len() > capacity {
                    for one in &here {
                        expected.extend(here.iter().filter(|other| other.0 != one.0).map(|other| (one.0, other.0)));
                    }
                }
            }
            prop_assert_eq!(collisions(&claims, capacity), expected);
        }
    }
}
