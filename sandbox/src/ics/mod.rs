//! Calendars exported from Google as iCalendar files (RFC 5545), turned into the event resources of Calendar v3.
//!
//! The file is parsed by calcard. What is decided here is what Google decides when it imports such a file: which zone a
//! time is in, which component is a series and which one an exception to it, and which event cannot be used. A file whose
//! structure is broken is refused with the line; one broken event in a good file is left out and named in
//! [`ImportedCalendar::skipped`].

mod event;
mod moment;
mod outline;
mod recurrence;
mod resource;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, hash_map::Entry as Slot};

use calcard::{
    Entry, Parser,
    icalendar::{ICalendar, ICalendarComponentType, ICalendarProperty},
};
use serde_json::Value;

use event::Draft;
use moment::Zones;
pub use outline::IcsError;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an iCalendar file holds, in the words of Calendar v3.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedCalendar {
    /// `X-WR-CALNAME`: the calendar's title.
    pub name: Option<String>,
    /// IANA name of the calendar's zone: `X-WR-TIMEZONE` when it is known, else the fallback.
    pub time_zone: String,
    /// Event resources, each master before its exceptions. Ids follow from the UIDs, so the same file gives the same ids.
    pub events: Vec<Value>,
    /// Events that could not be taken over.
    pub skipped: Vec<Skipped>,
    /// Zone names that nobody knows. Their times were read in the calendar's zone.
    pub unknown_zones: Vec<String>,
}

/// An event of the file that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its `UID`, empty when it has none.
    pub uid: String,
    /// The line of its `BEGIN:VEVENT`, counted from 1, when it can be told.
    pub line: Option<usize>,
    /// Why, in words.
    pub why: String,
}

/// Reads an iCalendar file. Times without a zone, and whole days, are in the file's own zone or else in `fallback_zone`
/// (an IANA name).
///
/// # Errors
///
/// When the text is not an iCalendar file, its components are not closed, or the fallback zone is unknown. The message
/// names the line and what would be right.
pub fn import(text: &str, fallback_zone: &str) -> Result<ImportedCalendar, IcsError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(IcsError::TooLong { bytes: text.len(), bytes_max: FILE_BYTES_MAX });
    }
    let text = text.trim_start_matches('\u{feff}');
    let lines = outline::event_lines(text)?;
    let calendars = parse(text);
    let mut zones = Zones::new(&calendars, fallback_zone)?;
    let name = calendars.iter().find_map(|calendar| calendar_property(calendar, "X-WR-CALNAME"));
    let owner = name.as_deref().filter(|name| name.contains('@'));

    let mut series: Vec<Series> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut skipped = Vec::new();
    let events = calendars
        .iter()
        .flat_map(|calendar| &calendar.components)
        .filter(|component| component.component_type == ICalendarComponentType::VEvent);
    for (at, component) in events.enumerate() {
        let line = lines.get(at).copied();
        let uid = component.uid().map(|uid| uid.trim().to_owned()).unwrap_or_default();
        match event::read(component, &mut zones) {
            Ok(draft) => {
                let place = match places.entry(draft.uid.clone()) {
                    Slot::Occupied(place) => *place.get(),
                    Slot::Vacant(free) => {
                        series.push(Series::default());
                        *free.insert(series.len() - 1)
                    }
                };
                if let Some(displaced) = series[place].add(draft, line) {
                    skipped.push(displaced);
                }
            }
            Err(why) => skipped.push(Skipped { uid, line, why }),
        }
    }
    let mut events = Vec::new();
    for one in series {
        resource::emit(one.master, one.exceptions, owner, &mut events);
    }
    Ok(ImportedCalendar {
        name,
        time_zone: zones.calendar().name().to_owned(),
        events,
        skipped,
        unknown_zones: zones.unknown(),
    })
}

/// Everything that shares one UID.
#[derive(Default)]
struct Series {
    master: Option<Draft>,
    exceptions: Vec<Draft>,
}

impl Series {
    /// Takes an event in. Of two that claim the same place the higher SEQUENCE stays, the later one when they are equal;
    /// the other one is returned.
    fn add(&mut self, draft: Draft, line: Option<usize>) -> Option<Skipped> {
        let rival = match &draft.replaces {
            None => self.master.as_mut(),
            Some(original) => self.exceptions.iter_mut().find(|other| other.replaces.as_ref() == Some(original)),
        };
        let Some(rival) = rival else {
            if draft.replaces.is_none() {
                self.master = Some(draft);
            } else {
                self.exceptions.push(draft);
            }
            return None;
        };
        let uid = draft.uid.clone();
        if draft.sequence >= rival.sequence {
            *rival = draft;
        }
        Some(Skipped { uid, line, why: "another event of the same UID and RECURRENCE-ID took its place".to_owned() })
    }
}

fn parse(text: &str) -> Vec<ICalendar> {
    let mut parser = Parser::new(text);
    let mut calendars = Vec::new();
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => calendars.push(calendar),
            Entry::Eof => return calendars,
            _ => {}
        }
    }
}

/// The text of a property of VCALENDAR itself that RFC 5545 does not know.
fn calendar_property(calendar: &ICalendar, name: &str) -> Option<String> {
    let root = calendar.components.first()?;
    let entry = root.entries.iter().find(|entry| match &entry.name {
        ICalendarProperty::Other(other) => other.eq_ignore_ascii_case(name),
        _ => false,
    })?;
    let text = entry.values.first()?.as_text()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
