//! Whether a customer is to be a guest of their booking's event, and what the event's list of guests becomes. Pure.
//!
//! The list is the owner's too: guests whom they added stay, with all that Google keeps of them, and a customer whom they
//! took off is not added again.

use serde_json::{Value, json};

use super::contact::Email;

/// How it stands with slotd's guest on an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A write that adds or removes guests is or was under way: any of the addresses may be on the event.
    Asked,
    /// The first address is on the event, unless the owner took it off.
    Invited,
    /// Google did not let slotd invite the first address. The others may be on the event.
    Refused,
}

impl State {
    /// The word for it, in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Invited => "invited",
            Self::Refused => "refused",
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Asked, Self::Invited, Self::Refused]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}`"))
    }
}

/// Whom slotd added to an event as a guest, or was about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// How it stands.
    pub state: State,
    /// The latest address, then those that may be on the event still.
    pub emails: Vec<Email>,
}

impl Known {
    /// Those that may be on the event.
    #[must_use]
    pub fn perhaps_there(&self) -> &[Email] {
        match self.state {
            State::Asked | State::Invited => &self.emails,
            State::Refused => self.emails.get(1..).unwrap_or_default(),
        }
    }
}

/// What a write does about the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// Who is to be on the event.
    pub wanted: Option<Email>,
    /// The list of guests is to be changed, or may have to be.
    pub changes: bool,
    /// Google is asked to tell the guest by e-mail.
    pub tells: bool,
    /// The guest would be told, were it not that Google refused to tell others a short while ago.
    pub skipped: bool,
}

/// Decides what a write of an event does about its guest. `invites`: the business wants its customers invited; `email`: the
/// customer's; `hushed`: Google refused a short while ago to tell guests.
#[must_use]
pub fn course(known: Option<&Known>, email: Option<&Email>, invites: bool, hushed: bool) -> Course {
    let there = known.map_or(&[][..], Known::perhaps_there);
    let was_there = |email: &&Email| there.iter().any(|known| known.is_same(email));
    let asks = |email: &&Email| invites && (!hushed || was_there(email));
    // Whoever was invited before the business changed its mind stays a guest.
    let wanted = email.filter(|email| asks(email) || was_there(email)).cloned();
    let changes = match (known, &wanted) {
        (None, wanted) => wanted.is_some(),
        (Some(Known { state: State::Invited, emails }), Some(wanted)) => {
            emails.len() != 1 || !emails[0].is_same(wanted)
        }
        (Some(Known { state: State::Refused, .. }), None) => !there.is_empty(),
        (Some(_), _) => true,
    };
    let concerns = wanted.is_some() || !there.is_empty();
    Course {
        changes,
        tells: invites && !hushed && concerns,
        skipped: invites && hushed && (concerns || email.is_some()),
        wanted,
    }
}

/// A list of guests with slotd's own in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The new list, in Google's JSON; `None` when it stays as it is.
    pub attendees: Option<Vec<Value>>,
    /// Whether the wanted address is slotd's to take off again: the owner did not add it.
    pub ours: bool,
}

/// Puts `wanted` on the list that is `present`, and takes off whom slotd added before.
#[must_use]
pub fn merge(present: &[Value], known: Option<&Known>, wanted: Option<&Email>) -> Merged {
    let address = |guest: &Value| guest["email"].as_str().unwrap_or_default().to_owned();
    let there = known.map_or(&[][..], Known::perhaps_there);
    let own = |guest: &Value| there.iter().any(|email| email.is_same(&address(guest)));
    let is_wanted = |guest: &Value| wanted.is_some_and(|email| email.is_same(&address(guest)));
    let mut list: Vec<Value> = present.iter().filter(|guest| !own(guest) || is_wanted(guest)).cloned().collect();
    let ours = match wanted {
        None => false,
        Some(wanted) => {
            let was_ours = there.iter().any(|email| email.is_same(wanted));
            let settled = known.is_some_and(|known| known.state == State::Invited);
            if list.iter().any(is_wanted) {
                was_ours
            } else if was_ours && settled {
                // The owner took them off.
                true
            } else {
                list.push(json!({ "email": &**wanted }));
                true
            }
        }
    };
    Merged { attendees: (list != present).then_some(list), ours }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn email(name: &str) -> Email {
        format!("{name}@example.com").parse().unwrap()
    }

    fn guest(name: &str) -> Value {
        json!({ "email": format!("{name}@example.com"), "responseStatus": "accepted", "comment": name })
    }

    fn known(state: State, names: &[&str]) -> Known {
        Known { state, emails: names.iter().map(|name| email(name)).collect() }
    }

    #[test]
    fn nobody_is_invited_unless_the_business_wants_it_and_the_customer_has_an_address() {
        let ada = email("ada");
        assert_eq!(course(None, Some(&ada), false, false), Course::default());
        assert_eq!(course(None, None, true, false), Course::default());
        let invited = course(None, Some(&ada), true, false);
        assert_eq!(invited, Course { wanted: Some(ada), changes: true, tells: true, skipped: false });
    }

    #[test]
    fn each_course() {
        let (ada, bob) = (email("ada"), email("bob"));
        let invited = known(State::Invited, &["ada"]);
        let moved = course(Some(&invited), Some(&ada), true, false);
        assert_eq!((moved.changes, moved.tells), (false, true), "a move tells the guest and leaves the list");
        let other = course(Some(&invited), Some(&bob), true, false);
        assert_eq!((other.wanted, other.changes, other.tells), (Some(bob.clone()), true, true));
        let off = course(Some(&invited), Some(&ada), false, false);
        assert_eq!((off.wanted, off.changes, off.tells), (Some(ada.clone()), false, false), "they stay, untold");
        let gone = course(Some(&invited), None, true, false);
        assert_eq!((gone.wanted, gone.changes, gone.tells), (None, true, true));
        let hushed = course(None, Some(&ada), true, true);
        assert_eq!(hushed, Course { wanted: None, changes: false, tells: false, skipped: true });
        let refused = known(State::Refused, &["ada"]);
        assert!(course(Some(&refused), Some(&ada), true, false).changes, "tried again with the next write");
        assert!(!course(Some(&refused), Some(&ada), true, true).changes);
        assert!(course(Some(&known(State::Asked, &["ada"])), Some(&ada), true, false).changes);
    }

    #[test]
    fn each_merge() {
        let (ada, bob) = (email("ada"), email("bob"));
        let added = merge(&[guest("owner")], None, Some(&ada));
        assert_eq!(added.attendees, Some(vec![guest("owner"), json!({ "email": "ada@example.com" })]));
        assert!(added.ours);
        let invited = known(State::Invited, &["ada"]);
        let swapped = merge(&[guest("ada"), guest("owner")], Some(&invited), Some(&bob));
        assert_eq!(swapped.attendees, Some(vec![guest("owner"), json!({ "email": "bob@example.com" })]));
        let kept = merge(&[guest("ada")], Some(&invited), Some(&email("ADA")));
        assert_eq!(kept, Merged { attendees: None, ours: true });
        let taken_off = merge(&[guest("owner")], Some(&invited), Some(&ada));
        assert_eq!(taken_off, Merged { attendees: None, ours: true }, "the owner took them off");
        let theirs = merge(&[guest("ada")], None, Some(&ada));
        assert_eq!(theirs, Merged { attendees: None, ours: false }, "the owner invited them");
        let lost_answer = merge(&[guest("ada")], Some(&known(State::Asked, &["bob", "ada"])), Some(&bob));
        assert_eq!(lost_answer.attendees, Some(vec![json!({ "email": "bob@example.com" })]));
    }

    fn names() -> impl Strategy<Value = Vec<usize>> {
        proptest::sample::subsequence((0..6_usize).collect::<Vec<_>>(), 0..6)
    }

    proptest! {
        #[test]
        fn the_owners_guests_stay_as_they_are(
            theirs in names(), ours in names(), wanted in proptest::option::of(0..6_usize), settled in any::<bool>(),
        ) {
            let all = ["a", "b", "c", "d", "e", "f"];
            let present: Vec<Value> = theirs.iter().map(|n| guest(all[*n])).collect();
            let state = if settled { State::Invited } else { State::Asked };
            let known = Known { state, emails: ours.iter().map(|n| email(all[*n])).collect() };
            let wanted = wanted.map(|n| email(all[n]));
            let merged = merge(&present, Some(&known), wanted.as_ref());
            let list = merged.attendees.unwrap_or_else(|| present.clone());
            for n in theirs.iter().filter(|n| !ours.contains(n)) {
                prop_assert!(list.contains(&guest(all[*n])));
            }
            // Nobody comes twice, and doing it again changes nothing.
            let mut addresses: Vec<String> = list.iter().map(|one| one["email"].to_string()).collect();
            addresses.sort();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), list.len());
            let emails = wanted.iter().filter(|_| merged.ours).cloned().collect();
            let after = Known { state: State::Invited, emails };
            prop_assert_eq!(merge(&list, Some(&after), wanted.as_ref()).attendees, None);
        }
    }
}
