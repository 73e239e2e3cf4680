//! Reads the lines of a `recurrence` field.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::domain::zone::{local_to_utc, utc_to_local};

/// Lines and dates beyond these are not read.
const LINES_MAX: usize = 200;
const DATES_MAX: usize = 20_000;
/// How much of a line a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// A date or a time as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain) enum Stamp {
    /// `20260329`.
    Date(NaiveDate),
    /// `20260329T093000`, in the zone of the series.
    Local(NaiveDateTime),
    /// `20260329T073000Z`, or a time in another zone than the series'.
    Utc(DateTime<Utc>),
}

/// What an RDATE adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// A start; as long as the others.
    Start(Stamp),
    /// A start with a length of its own.
    Period(Stamp, TimeDelta),
}

/// The lines, sorted by what they are for.
#[derive(Debug, Default)]
pub(super) struct Lines<'a> {
    pub(super) rules: Vec<&'a str>,
    pub(super) except_rules: Vec<&'a str>,
    pub(super) added: Vec<Added>,
    pub(super) removed: Vec<Stamp>,
    /// The first thing that could not be read.
    pub(super) odd: Option<String>,
}

impl Stamp {
    /// Reads a date or a time. A time without `Z` is in `zone`, or local to the series when there is none.
    pub(super) fn read(text: &str, zone: Option<Tz>) -> Option<Self> {
        let text = text.trim();
        if text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z')) {
            return None;
        }
        if let Some(utc) = text.strip_suffix('Z') {
            return NaiveDateTime::parse_from_str(utc, "%Y%m%dT%H%M%S").ok().map(|at| Self::Utc(at.and_utc()));
        }
        if text.len() == 8 {
            return NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(Self::Date);
        }
        let local = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").ok()?;
        Some(zone.map_or(Self::Local(local), |zone| Self::Utc(local_to_utc(local, zone))))
    }
}

/// Sorts the lines of a series in `series_zone`. What cannot be read is left out and told in `odd`.
pub(super) fn read_lines(recurrence: &[String], series_zone: Tz) -> Lines<'_> {
    let mut lines = Lines::default();
    for line in recurrence.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).take(LINES_MAX) {
        if lines.sort_in(line, series_zone).is_none() {
            lines.say(line);
        }
    }
    if recurrence.len() > LINES_MAX {
        lines.odd.get_or_insert_with(|| format!("more than {LINES_MAX} lines"));
    }
    lines
}

impl<'a> Lines<'a> {
    fn sort_in(&mut self, line: &'a str, series_zone: Tz) -> Option<()> {
        let (head, value) = line.split_once(':')?;
        let mut head = head.split(';');
        let name = head.next()?.trim().to_ascii_uppercase();
        match name.as_str() {
            "RRULE" => self.rules.push(value.trim()),
            "EXRULE" => self.except_rules.push(value.trim()),
            "RDATE" | "EXDATE" => {
                let mut zone = None;
                for (key, text) in head.filter_map(|parameter| parameter.split_once('=')) {
                    if key.trim().eq_ignore_ascii_case("TZID") {
                        // An unknown zone is most likely the series' own under another name.
                        zone = text.trim().trim_matches('"').parse().ok();
                        if zone.is_none() {
                            self.say(line);
                        }
                    }
                }
                // The series' own zone need not be converted there and back, which would lose times in a gap.
                let zone = zone.filter(|zone| *zone != series_zone);
                for text in value.split(',').filter(|text| !text.trim().is_empty()) {
                    if self.added.len() + self.removed.len() >= DATES_MAX {
                        return None;
                    }
                    if name == "RDATE" {
                        self.added.push(read_added(text, zone, series_zone)?);
                    } else {
                        self.removed.push(Stamp::read(text, zone)?);
                    }
                }
            }
            // A writer's own property says nothing about when.
            _ if name.starts_with("X-") => {}
            _ => return None,
        }
        Some(())
    }

    fn say(&mut self, line: &str) {
        self.odd.get_or_insert_with(|| {
            let shown: String = line.chars().filter(|shown| !shown.is_control()).take(SHOWN_CHARS_MAX).collect();
            format!("cannot read `{shown}`")
        });
    }
}

/// A start, or a period with an end (`start/end`) or a duration (`start/PT1H30M`).
fn read_added(text: &str, zone: Option<Tz>, series_zone: Tz) -> Option<Added> {
    let Some((start, end)) = text.split_once('/') else {
        return Stamp::read(text, zone).map(Added::Start);
    };
    let start = Stamp::read(start, zone)?;
    let length = match end.trim().strip_prefix('P') {
        Some(duration) => read_duration(duration)?,
        None => local(Stamp::read(end, zone)?, series_zone) - local(start, series_zone),
    };
    Some(Added::Period(start, length))
}

fn local(stamp: Stamp, series_zone: Tz) -> NaiveDateTime {
    match stamp {
        Stamp::Date(date) => date.and_time(chrono::NaiveTime::MIN),
        Stamp::Local(local) => local,
        Stamp::Utc(at) => utc_to_local(at, series_zone),
    }
}

/// The duration of RFC 5545 section 3.3.6, after its `P`.
fn read_duration(text: &str) -> Option<TimeDelta> {
    let (mut total, mut number, mut in_time) = (TimeDelta::zero(), None::<i64>, false);
    for letter in text.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(number.unwrap_or_default().checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        if letter == 'T' && number.is_none() {
            in_time = true;
            continue;
        }
        let unit = match (letter, in_time) {
            ('W', false) => TimeDelta::weeks(1),
            ('D', false) => TimeDelta::days(1),
            ('H', true) => TimeDelta::hours(1),
            ('M', true) => TimeDelta::minutes(1),
            ('S', true) => TimeDelta::seconds(1),
            _ => return None,
        };
        total = total.checked_add(&unit.checked_mul(i32::try_from(number.take()?).ok()?)?)?;
    }
    number.is_none().then_some(total)
}
