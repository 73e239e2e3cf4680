//! What the stand-in knows: users, their calendars and the events in them.

mod calendar;
mod draft;
mod history;
mod import;
mod instances;
mod record;
mod series;
mod sharing;
mod times;
mod write;

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

pub(crate) use calendar::Calendar;
pub use import::{NewCalendar, RefusedEvents};
pub(crate) use instances::{expand, instances_of};
pub(crate) use record::{Record, View, Window, millis};
pub(crate) use times::{parse_zone, rfc3339};
pub(crate) use write::Write;

use crate::refusal::Refusal;

/// What a user may do with a calendar; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees when the calendar is busy, and nothing else.
    FreeBusyReader,
    /// Sees events; private ones only as times.
    Reader,
    /// Changes events, but sees private ones only as times.
    WriterWithoutPrivateAccess,
    /// Sees and changes all events.
    Writer,
    /// May also share and delete the calendar.
    Owner,
}

impl Role {
    /// The name that Google gives the role.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FreeBusyReader => "freeBusyReader",
            Self::Reader => "reader",
            Self::WriterWithoutPrivateAccess => "writerWithoutPrivateAccess",
            Self::Writer => "writer",
            Self::Owner => "owner",
        }
    }

    pub(crate) fn may_write(self) -> bool {
        self >= Self::WriterWithoutPrivateAccess
    }
}

/// A person with a Google account.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Google's stable number for the account.
    pub(crate) sub: String,
    /// The user's list of calendars by id, each with the list revision of its last change.
    pub(crate) list: BTreeMap<String, ListEntry>,
    pub(crate) list_revision: u64,
}

/// A calendar's place in a user's list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListEntry {
    pub(crate) revision: u64,
    pub(crate) deleted: bool,
    pub(crate) hidden: bool,
}

/// Everything that is stored.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) calendars: BTreeMap<String, Calendar>,
}

impl Model {
    /// Makes a user and the user's primary calendar; a known user only gets the name.
    pub(crate) fn add_user(&mut self, email: &str, name: &str) {
        if let Some(known) = self.users.get_mut(email) {
            name.clone_into(&mut known.name);
            return;
        }
        let user = User { name: name.to_owned(), sub: number(email), list: BTreeMap::new(), list_revision: 0 };
        self.users.insert(email.to_owned(), user);
        self.calendars.insert(email.to_owned(), Calendar::new(email, email, name, chrono_tz::Tz::UTC));
        self.list(email, email);
    }

    /// The calendar that `id` means to a user, with the user's role in it. Without a role it does not exist.
    pub(crate) fn calendar(&self, email: &str, id: &str) -> Result<(&Calendar, Role), Refusal> {
        let calendar = self.calendars.get(resolve(email, id)).ok_or_else(Refusal::not_found)?;
        let role = calendar.role_of(email).ok_or_else(Refusal::not_found)?;
        Ok((calendar, role))
    }

    /// The same for writing.
    pub(crate) fn calendar_to_write(&mut self, email: &str, id: &str) -> Result<(&mut Calendar, Role), Refusal> {
        let calendar = self.calendars.get_mut(resolve(email, id)).ok_or_else(Refusal::not_found)?;
        let role = calendar.role_of(email).ok_or_else(Refusal::not_found)?;
        if role.may_write() { Ok((calendar, role)) } else { Err(Refusal::access_level()) }
    }
}

/// `primary` is an alias of the caller's own calendar, whose id is the caller's address.
pub(crate) fn resolve<'a>(email: &'a str, id: &'a str) -> &'a str {
    if id == "primary" { email } else { id }
}

/// An opaque name made from others: the same for the same parts.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    BASE64URL_NOPAD.encode(&hash.finalize()[..18])
}

/// A 21-digit number like those that Google gives accounts.
fn number(email: &str) -> String {
    let hash = Sha256::digest(email.as_bytes());
    let digits: String = hash.iter().map(|byte| char::from(b'0' + byte % 10)).take(20).collect();
    format!("1{digits}")
}
