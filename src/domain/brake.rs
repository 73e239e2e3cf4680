//! The brake on mass cancellation. Pure.
//!
//! When many events of bookings are gone at once, a slip is likelier than an intention: a calendar emptied by mistake, a
//! program gone wild. Bookings are people who will come, so the owner is asked first.

/// So many may always go at once, however few bookings there are.
pub const ALWAYS: usize = 3;
/// Beyond that, one in so many.
const SHARE: usize = 5;

/// Whether bookings whose events are gone must wait for the owner's word.
///
/// `ending` would end now, `lately` ended moments ago in the same way, and `upcoming` stand, those that would end
/// included. While the owner is `asked` already, what comes on top waits too.
#[must_use]
pub const fn holds(asked: bool, ending: usize, lately: usize, upcoming: usize) -> bool {
    let share = upcoming.saturating_add(lately) / SHARE;
    let most = if share > ALWAYS { share } else { ALWAYS };
    ending > 0 && (asked || ending.saturating_add(lately) > most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_may_always_go_and_a_fifth_of_many() {
        for (ending, lately, upcoming, held) in [
            (0, 0, 0, false),
            (1, 0, 1, false),
            (3, 0, 3, false),
            (4, 0, 4, true),
            (10, 0, 12, true),
            (20, 0, 100, false),
            (21, 0, 100, true),
            (1, 3, 9, true),
            (1, 2, 9, false),
            (1, 20, 80, true),
            (1, 19, 81, false),
        ] {
            assert_eq!(holds(false, ending, lately, upcoming), held, "{ending} {lately} {upcoming}");
        }
        assert!(holds(true, 1, 0, 100));
        assert!(!holds(true, 0, 0, 100));
    }

    proptest! {
        #[test]
        fn a_burst_in_parts_passes_no_more_than_a_burst_at_once(parts in prop::collection::vec(1..9_usize, 1..20), rest in 0..200_usize) {
            let total: usize = parts.iter().sum();
            let (mut gone, mut upcoming) = (0, total + rest);
            for part in parts {
                if holds(false, part, gone, upcoming) {
                    break;
                }
                gone += part;
                upcoming -= part;
            }
            prop_assert!(!holds(false, gone, 0, total + rest));
        }

        #[test]
        fn more_bookings_never_make_it_stricter(ending in 0..50_usize, lately in 0..50_usize, upcoming in 0..500_usize) {
            prop_assert!(!holds(false, ending, lately, upcoming + 1) || holds(false, ending, lately, upcoming));
        }
    }
}
