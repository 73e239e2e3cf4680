//! Opening hours by the week.

use std::fmt;

use chrono::Weekday;
use serde::{Deserialize, Serialize};

pub(super) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: u16 = 24 * 60;
/// More openings than anybody's day has.
const OPENINGS_PER_DAY_MAX: usize = 24;

/// When a resource is open, in local time, the same every week.
///
/// As JSON: `{"mon": [["09:00", "12:30"], ["13:00", "17:00"]], "sat": [["22:00", "24:00"]]}`. A day that is not named is
/// closed. A night shift is written as two openings that meet at midnight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct WeeklyHours {
    /// Monday first; each sorted, apart, and within 0..=1440 minutes.
    days: [Vec<(u16, u16)>; 7],
}

/// What is wrong with opening hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct HoursError {
    /// The place, such as `mon[1]`.
    pub field: String,
    /// What is wrong there.
    pub problem: &'static str,
}

impl WeeklyHours {
    /// Open around the clock.
    #[must_use]
    pub fn always() -> Self {
        Self { days: std::array::from_fn(|_| vec![(0, MINUTES_PER_DAY)]) }
    }

    /// Openings of each day from Monday on, as minutes after midnight, `[opens, closes)`, 1440 being the next midnight.
    ///
    /// # Errors
    ///
    /// Names the first opening that is empty, reversed, out of the day, or overlaps the one before.
    pub fn new(days: [Vec<(u16, u16)>; 7]) -> Result<Self, HoursError> {
        let mut sorted = days;
        for (openings, day) in sorted.iter_mut().zip(DAYS) {
            tidy(openings).map_err(|(index, problem)| HoursError { field: format!("{day}[{index}]"), problem })?;
        }
        Ok(Self { days: sorted })
    }

    /// The openings of a day of the week, as minutes after midnight.
    pub(super) fn day(&self, day: Weekday) -> &[(u16, u16)] {
        &self.days[day.num_days_from_monday() as usize]
    }
}

/// Sorts the openings of one day, and says which is wrong and why.
fn tidy(openings: &mut [(u16, u16)]) -> Result<(), (usize, &'static str)> {
    if openings.len() > OPENINGS_PER_DAY_MAX {
        return Err((OPENINGS_PER_DAY_MAX, "more than 24 openings in one day"));
    }
    if let Some(index) = openings.iter().position(|(opens, closes)| opens >= closes) {
        return Err((index, "an opening must end after it begins; split it at midnight, 24:00"));
    }
    if let Some(index) = openings.iter().position(|(_, closes)| *closes > MINUTES_PER_DAY) {
        return Err((index, "a day ends at 24:00"));
    }
    openings.sort_unstable();
    match openings.windows(2).position(|pair| pair[1].0 < pair[0].1) {
        Some(index) => Err((index + 1, "openings of one day must not overlap")),
        None => Ok(()),
    }
}

/// Reads the openings of one day as people write them, and says which is wrong and why.
fn read_day(texts: &[(String, String)]) -> Result<Vec<(u16, u16)>, (usize, &'static str)> {
    let mut day = Vec::with_capacity(texts.len());
    for (index, (opens, closes)) in texts.iter().enumerate() {
        let minutes =
            |text: &str| minutes_of(text).ok_or((index, "a time of day is written HH:MM, from 00:00 to 24:00"));
        day.push((minutes(opens)?, minutes(closes)?));
    }
    Ok(day)
}

fn written(openings: Vec<(u16, u16)>) -> Vec<(String, String)> {
    openings.into_iter().map(|(opens, closes)| (Clock(opens).to_string(), Clock(closes).to_string())).collect()
}

/// When somebody is open on one date, whatever the day of the week. No opening at all means closed.
///
/// As JSON: `[["09:00", "12:30"], ["22:00", "24:00"]]`. What goes on after midnight belongs to the next date.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, String)>", into = "Vec<(String, String)>")]
pub struct DayHours(Vec<(u16, u16)>);

impl DayHours {
    /// Closed all day.
    pub const CLOSED: Self = Self(Vec::new());

    /// Openings as minutes after midnight, `[opens, closes)`, 1440 being the next midnight.
    ///
    /// # Errors
    ///
    /// Like [`WeeklyHours::new`].
    pub fn new(openings: Vec<(u16, u16)>) -> Result<Self, HoursError> {
        let mut openings = openings;
        tidy(&mut openings).map_err(|(index, problem)| HoursError { field: format!("[{index}]"), problem })?;
        Ok(Self(openings))
    }

    /// Sorted, apart, and within 0..=1440 minutes.
    pub(super) fn openings(&self) -> &[(u16, u16)] {
        &self.0
    }
}

impl TryFrom<Vec<(String, String)>> for DayHours {
    type Error = HoursError;

    fn try_from(texts: Vec<(String, String)>) -> Result<Self, HoursError> {
        let day = read_day(&texts);
        Self::new(day.map_err(|(index, problem)| HoursError { field: format!("[{index}]"), problem })?)
    }
}

impl From<DayHours> for Vec<(String, String)> {
    fn from(hours: DayHours) -> Self {
        written(hours.0)
    }
}

/// The hours as people write them.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    mon: Vec<(String, String)>,
    tue: Vec<(String, String)>,
    wed: Vec<(String, String)>,
    thu: Vec<(String, String)>,
    fri: Vec<(String, String)>,
    sat: Vec<(String, String)>,
    sun: Vec<(String, String)>,
}

impl TryFrom<Written> for WeeklyHours {
    type Error = HoursError;

    fn try_from(written: Written) -> Result<Self, HoursError> {
        let Written { mon, tue, wed, thu, fri, sat, sun } = written;
        let mut days = [const { Vec::new() }; 7];
        for ((texts, day), name) in [mon, tue, wed, thu, fri, sat, sun].into_iter().zip(&mut days).zip(DAYS) {
            *day = read_day(&texts)
                .map_err(|(index, problem)| HoursError { field: format!("{name}[{index}]"), problem })?;
        }
        Self::new(days)
    }
}

impl From<WeeklyHours> for Written {
    fn from(hours: WeeklyHours) -> Self {
        let [mon, tue, wed, thu, fri, sat, sun] = hours.days.map(written);
        Self { mon, tue, wed, thu, fri, sat, sun }
    }
}

/// Minutes after midnight, as a clock shows them.
pub(super) struct Clock(pub(super) u16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

fn minutes_of(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<u16>().ok())?
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= MINUTES_PER_DAY).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<WeeklyHours, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn hours_read_back_as_they_were_written() {
        let hours = read(r#"{"mon":[["09:00","12:30"],["13:00","17:00"]],"sat":[["22:00","24:00"]]}"#).unwrap();
        assert_eq!(read(&serde_json::to_string(&hours).unwrap()).unwrap(), hours);
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (json, field) in [
            (r#"{"mon":[["09:00","12:00"],["9","17:00"]]}"#, "`mon[1]`"),
            (r#"{"tue":[["09:00","24:01"]]}"#, "`tue[0]`"),
            (r#"{"wed":[["17:00","09:00"]]}"#, "`wed[0]`"),
            (r#"{"thu":[["09:00","09:00"]]}"#, "`thu[0]`"),
            (r#"{"fri":[["09:00","12:00"],["11:59","13:00"]]}"#, "`fri[1]`"),
            (r#"{"monday":[["09:00","12:00"]]}"#, "`monday`"),
            (r#"{"sat":[["+9:00","12:00"]]}"#, "`sat[0]`"),
        ] {
            let refused = read(json).unwrap_err();
            assert!(refused.contains(field), "{json}: {refused}");
        }
    }

    #[test]
    fn the_hours_of_one_date_are_written_like_a_day_of_the_week() {
        let read = |json: &str| serde_json::from_str::<DayHours>(json).map_err(|error| error.to_string());
        let evening = read(r#"[["18:00","24:00"],["09:00","12:30"]]"#).unwrap();
        assert_eq!(evening.openings(), [(540, 750), (1080, 1440)]);
        assert_eq!(serde_json::to_string(&evening).unwrap(), r#"[["09:00","12:30"],["18:00","24:00"]]"#);
        assert_eq!(read("[]").unwrap(), DayHours::CLOSED);
        for (json, place) in [
            (r#"[["09:00","12:00"],["9","17:00"]]"#, "`[1]`"),
            (r#"[["22:00","02:00"]]"#, "`[0]`"),
            (r#"[["09:00","24:01"]]"#, "`[0]`"),
            (r#"[["09:00","12:00"],["11:00","13:00"]]"#, "`[1]`"),
        ] {
            assert!(read(json).unwrap_err().contains(place), "{json}");
        }
    }
}
