//! Large calendars, as files that the stand-in loads.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use chrono::{DateTime, Days, TimeDelta, Utc};
use slotd::domain::{Clock, clock::SystemClock};

/// Midnight of today, UTC.
pub(crate) fn today() -> DateTime<Utc> {
    SystemClock.now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Writes a calendar of `events` events, all of them inside the time that is mirrored: the hardest case. In each hundred
/// are 97 single events, two weekly series (one of them without an end) and an exception to one of the two.
pub(crate) fn write(file: &Path, events: usize) -> Result<()> {
    let mut text = String::from(
        "BEGIN:VCALENDAR\r\nPRODID:-//Google Inc//Google Calendar 70.9054//EN\r\nVERSION:2.0\r\nCALSCALE:GREGORIAN\r\n\
         X-WR-CALNAME:Large\r\nX-WR-TIMEZONE:Europe/Berlin\r\n",
    );
    let first = today() - Days::new(30);
    for index in 0..events {
        let minutes = i64::try_from(index * 390 * 24 * 60 / events)? / 15 * 15;
        let start = first + TimeDelta::minutes(minutes);
        let (extra, start, uid) = match index % 100 {
            40 => ("RRULE:FREQ=WEEKLY\r\n".to_owned(), start, index),
            80 => ("RRULE:FREQ=WEEKLY;COUNT=20\r\n".to_owned(), start, index),
            // A later instance of the series before it, an hour later.
            81 => {
                let before = i64::try_from((index - 1) * 390 * 24 * 60 / events)? / 15 * 15;
                let original = first + TimeDelta::minutes(before) + TimeDelta::weeks(1);
                (format!("RECURRENCE-ID:{}\r\n", utc(original)), original + TimeDelta::hours(1), index - 1)
            }
            _ => (String::new(), start, index),
        };
        write!(
            text,
            "BEGIN:VEVENT\r\nDTSTART:{}\r\nDTEND:{}\r\nDTSTAMP:{}\r\n{extra}UID:bench{uid:08}@google.com\r\n\
             ATTENDEE;CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=ACCEPTED;CN=guest{index}:mailto:guest{index}@exam\r\n \
             ple.com\r\nDESCRIPTION:Notes of visit {index}\\, as long as such notes usually are. Nothing else.\r\n\
             LOCATION:Main street 1\r\nSEQUENCE:0\r\nSTATUS:CONFIRMED\r\nSUMMARY:Visit {index}\r\nTRANSP:OPAQUE\r\n\
             END:VEVENT\r\n",
            utc(start),
            utc(start + TimeDelta::minutes(45)),
            utc(first),
        )?;
    }
    text.push_str("END:VCALENDAR\r\n");
    Ok(fs::write(file, text)?)
}

fn utc(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}
