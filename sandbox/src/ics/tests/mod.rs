//! The importer, held by small files.

mod events;
mod files;
mod series;

use serde_json::Value;

use super::{ImportedCalendar, import};

const HEAD: &str = "BEGIN:VCALENDAR\r\nPRODID:-//Google Inc//Google Calendar 70.9054//EN\r\nVERSION:2.0\r\n";

/// A calendar in New York around the given components. Indentation is dropped, `~` stands for the space of a folded line.
fn calendar(components: &str) -> String {
    let body =
        components.trim().lines().map(str::trim_start).collect::<Vec<_>>().join("\r\n").replace("\r\n~", "\r\n ");
    format!("{HEAD}X-WR-CALNAME:anna@example.com\r\nX-WR-TIMEZONE:America/New_York\r\n{body}\r\nEND:VCALENDAR\r\n")
}

fn event(properties: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\nUID:one@google.com\n{}\nEND:VEVENT", properties.trim()))
}

fn imported(text: &str) -> ImportedCalendar {
    import(text, "UTC").unwrap()
}

/// The only event of a calendar from which nothing was left out.
fn only(text: &str) -> Value {
    let mut calendar = imported(text);
    assert_eq!(calendar.skipped, []);
    assert_eq!(calendar.events.len(), 1, "{:#?}", calendar.events);
    calendar.events.remove(0)
}

fn why(properties: &str) -> String {
    let calendar = imported(&event(properties));
    assert_eq!(calendar.events, Vec::<Value>::new());
    assert_eq!(calendar.skipped.len(), 1);
    assert_eq!(calendar.skipped[0].line, Some(6));
    calendar.skipped[0].why.clone()
}
