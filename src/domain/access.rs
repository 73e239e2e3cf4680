//! What Google lets an account do with a calendar, and when a calendar counts as lost. Pure.

/// Whether bookings can be written to a calendar with this `accessRole`. A word that is not known is left for Google to
/// judge.
#[must_use]
pub fn may_write(role: &str) -> bool {
    !matches!(role, "none" | "freeBusyReader" | "reader")
}

/// Refusals in a row after which a calendar is lost that the account's list lacks as well. Fewer may be a blip: Google
/// sometimes says "not found" for a moment.
const REFUSALS_UNLISTED: i64 = 3;
/// Refusals in a row after which it is lost whatever the list says: more than half an hour.
const REFUSALS_LISTED: i64 = 10;

/// After how many refusals in a row to show its events a calendar is lost, until Google shows them again. `listed`:
/// whether the account's list names it.
#[must_use]
pub const fn refusals_until_lost(listed: bool) -> i64 {
    if listed { REFUSALS_LISTED } else { REFUSALS_UNLISTED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_only_see_cannot_write() {
        for role in ["none", "freeBusyReader", "reader"] {
            assert!(!may_write(role), "{role}");
        }
        for role in ["writerWithoutPrivateAccess", "writer", "owner", "", "somethingNew"] {
            assert!(may_write(role), "{role}");
        }
    }

    #[test]
    fn a_calendar_that_the_list_still_names_is_believed_in_for_longer() {
        assert!(1 < refusals_until_lost(false) && refusals_until_lost(false) < refusals_until_lost(true));
    }
}
