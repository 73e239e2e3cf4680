//! What owners do with whole calendars: share, rename, move to another zone, hide, delete.

use super::{Calendar, ListEntry, Model, Role};

impl Model {
    /// Puts a calendar into a user's list, unhidden. An entry that is there already stays as it is: a new role or title
    /// is no change of the entry.
    pub(crate) fn list(&mut self, email: &str, calendar: &str) {
        self.set_entry(email, calendar, |entry| {
            let fresh = ListEntry { revision: 0, deleted: false, hidden: false };
            match entry {
                Some(known) if !known.deleted => *known,
                _ => fresh,
            }
        });
    }

    /// Hides a calendar in a user's list, or shows it again. Returns whether it is there.
    pub(crate) fn hide(&mut self, email: &str, calendar: &str, hidden: bool) -> bool {
        let listed = self.entry(email, calendar).is_some_and(|entry| !entry.deleted);
        if listed {
            self.set_entry(email, calendar, |_| ListEntry { revision: 0, deleted: false, hidden });
        }
        listed
    }

    /// Takes a calendar out of a user's list, who may still read it. Returns whether it was there; one's own primary
    /// calendar stays.
    pub(crate) fn unlist(&mut self, email: &str, calendar: &str) -> bool {
        let listed = email != calendar && self.entry(email, calendar).is_some_and(|entry| !entry.deleted);
        if listed {
            self.set_entry(email, calendar, |_| ListEntry { revision: 0, deleted: true, hidden: false });
        }
        listed
    }

    /// Gives a user a role in a calendar and lists it. `false` when either is unknown.
    pub(crate) fn share(&mut self, calendar: &str, email: &str, role: Role) -> bool {
        let Some(known) = self.calendars.get_mut(calendar).filter(|_| self.users.contains_key(email)) else {
            return false;
        };
        known.access.insert(email.to_owned(), role);
        self.list(email, calendar);
        true
    }

    /// Takes a user's role away, and the calendar out of the user's list. `false` when there was none.
    pub(crate) fn unshare(&mut self, calendar: &str, email: &str) -> bool {
        let known = self.calendars.get_mut(calendar);
        if known.and_then(|known| known.access.remove(email)).is_none() {
            return false;
        }
        self.unlist(email, calendar);
        true
    }

    /// Deletes a calendar with its events, and takes it out of every list. `false` when there is none, or it is
    /// somebody's primary one, which cannot be deleted.
    pub(crate) fn delete_calendar(&mut self, calendar: &str) -> bool {
        if self.calendars.get(calendar).is_none_or(Calendar::is_primary) {
            return false;
        }
        self.calendars.remove(calendar);
        let emails: Vec<String> = self.users.keys().cloned().collect();
        for email in emails {
            self.unlist(&email, calendar);
        }
        true
    }

    fn entry(&self, email: &str, calendar: &str) -> Option<ListEntry> {
        self.users.get(email)?.list.get(calendar).copied()
    }

    /// Writes an entry; the list gets a new revision when something is different then.
    fn set_entry(&mut self, email: &str, calendar: &str, change: impl FnOnce(Option<&ListEntry>) -> ListEntry) {
        let Some(user) = self.users.get_mut(email) else { return };
        let known = user.list.get(calendar);
        let wanted = change(known);
        let same = |known: &ListEntry| (known.deleted, known.hidden) == (wanted.deleted, wanted.hidden);
        if !known.is_some_and(same) {
            user.list_revision += 1;
            user.list.insert(calendar.to_owned(), ListEntry { revision: user.list_revision, ..wanted });
        }
    }
}
