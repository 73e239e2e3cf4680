//! Understands what the languages say, word by word and by nothing else: the other side of the phone, for tests.

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};

use super::{Language, Voice};
use crate::domain::zone::{instants_showing, utc_to_local};

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const GERMAN_MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];
const ENGLISH_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const GERMAN_DAYS: [&str; 7] = ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"];

/// What was said, or `None` when it makes no sense or contradicts itself.
pub(super) fn understand(text: &str, voice: Voice, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let place = super::place(voice.zone);
    let (clock_of, first, second) = match voice.language {
        Language::English => (format!(", {place} time"), ", the first ", ", the second "),
        Language::German => {
            (format!(", Ortszeit {place}"), ", und zwar beim ersten Mal", ", und zwar beim zweiten Mal")
        }
    };
    let text = if voice.names_zone { text.strip_suffix(&clock_of)? } else { text };
    let which = (text.contains(first), text.contains(second));
    let words = match voice.language {
        Language::English => english(text)?,
        Language::German => german(text)?,
    };
    let today = utc_to_local(now, voice.zone).date();
    let date = NaiveDate::from_ymd_opt(words.year.unwrap_or(today.year()), words.month, words.day)?;
    if date.weekday().num_days_from_monday() != words.weekday {
        return None;
    }
    if words.days_ahead.is_some_and(|days| (date - today).num_days() != days) {
        return None;
    }
    let local = date.and_time(NaiveTime::from_hms_opt(words.hour, words.minute, 0)?);
    let instants: Vec<DateTime<Utc>> = instants_showing(local, voice.zone).collect();
    match (&instants[..], which) {
        ([one], (false, false)) | ([one, _], (true, false)) | ([_, one], (false, true)) => Some(*one),
        _ => None,
    }
}

struct Words {
    days_ahead: Option<i64>,
    weekday: u32,
    day: u32,
    month: u32,
    year: Option<i32>,
    hour: u32,
    minute: u32,
}

fn place_in(list: &[&str], word: &str) -> Option<u32> {
    list.iter().position(|known| *known == word).and_then(|place| u32::try_from(place).ok())
}

fn english(text: &str) -> Option<Words> {
    let (date, clock) = text.split_once(", at ")?;
    let clock = clock.split(", the ").next()?;
    let (days_ahead, date) = match date.split_once(", ") {
        Some(("today", date)) => (Some(0), date),
        Some(("tomorrow", date)) => (Some(1), date),
        Some(_) => return None,
        None => (None, date),
    };
    let words: Vec<&str> = date.split(' ').collect();
    let (weekday, day, month, year) = match words[..] {
        [weekday, "the", day, "of", month] => (weekday, day, month, None),
        [weekday, "the", day, "of", month, year] => (weekday, day, month, Some(year.parse().ok()?)),
        _ => return None,
    };
    let (hour, minute) = english_clock(clock)?;
    Some(Words {
        days_ahead,
        weekday: place_in(&ENGLISH_DAYS, weekday)?,
        day: day[..day.len() - 2].parse().ok()?,
        month: place_in(&ENGLISH_MONTHS, month)? + 1,
        year,
        hour,
        minute,
    })
}

fn english_number(text: &str) -> Option<u32> {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    let tens = |word: &str| place_in(&["twenty", "thirty", "forty", "fifty"], word).map(|tens| 10 * (tens + 2));
    match text.split_once('-') {
        Some((ten, one)) => Some(tens(ten)? + place_in(&SMALL, one)?),
        None => place_in(&SMALL, text).or_else(|| tens(text)),
    }
}

fn english_clock(text: &str) -> Option<(u32, u32)> {
    match text {
        "midnight at the start of the day" => return Some((0, 0)),
        "noon" => return Some((12, 0)),
        _ => {}
    }
    let endings = [" in the morning", " in the afternoon", " in the evening", " at night"];
    let part = endings.iter().position(|ending| text.ends_with(ending))?;
    let time = text.strip_suffix(endings[part])?;
    let words: Vec<&str> = time.split(' ').collect();
    let (twelve, minute, to) = match words[..] {
        [hour, "o'clock"] => (english_number(hour)?, 0, false),
        ["quarter", "past", hour] => (english_number(hour)?, 15, false),
        ["half", "past", hour] => (english_number(hour)?, 30, false),
        ["quarter", "to", hour] => (english_number(hour)?, 45, true),
        [hour, "oh", minute] | [hour, minute] => (english_number(hour)?, english_number(minute)?, false),
        _ => return None,
    };
    // Of the hours of the day that this could be, the only one in that part of it.
    let of_part = |hour: &u32| match part {
        0 => (1..12).contains(hour),
        1 => (12..17).contains(hour),
        2 => (17..21).contains(hour),
        _ => !(1..21).contains(hour),
    };
    let fits = |hour: &u32| (if to { hour + 1 } else { *hour }) % 12 == twelve % 12;
    let hours: Vec<u32> = (0..24).filter(fits).filter(of_part).collect();
    match hours[..] {
        [hour] => Some((hour, minute)),
        _ => None,
    }
}

fn german(text: &str) -> Option<Words> {
    let (date, clock) = text.split_once(", um ")?;
    let clock = clock.split(", und zwar").next()?;
    let mut words: Vec<&str> = date.split(", ").collect();
    let days_ahead = match words[0] {
        "heute" => Some(0),
        "morgen" => Some(1),
        _ => None,
    };
    if days_ahead.is_some() {
        words.remove(0);
    }
    let [weekday, date] = words[..] else { return None };
    let date: Vec<&str> = date.split(' ').collect();
    let (day, month, year) = match date[..] {
        ["den", day, month] => (day, month, None),
        ["den", day, month, year] => (day, month, Some(year.parse().ok()?)),
        _ => return None,
    };
    let (hour, minute) = clock.split_once(" Uhr")?;
    Some(Words {
        days_ahead,
        weekday: place_in(&GERMAN_DAYS, weekday)?,
        day: day.strip_suffix('.')?.parse().ok()?,
        month: place_in(&GERMAN_MONTHS, month)? + 1,
        year,
        hour: if hour == "ein" { 1 } else { german_number(hour)? },
        minute: if minute.is_empty() { 0 } else { german_number(minute.trim())? },
    })
}

fn german_number(text: &str) -> Option<u32> {
    const SMALL: [&str; 20] = [
        "null",
        "eins",
        "zwei",
        "drei",
        "vier",
        "fünf",
        "sechs",
        "sieben",
        "acht",
        "neun",
        "zehn",
        "elf",
        "zwölf",
        "dreizehn",
        "vierzehn",
        "fünfzehn",
        "sechzehn",
        "siebzehn",
        "achtzehn",
        "neunzehn",
    ];
    let tens = |word: &str| place_in(&["zwanzig", "dreißig", "vierzig", "fünfzig"], word).map(|tens| 10 * (tens + 2));
    match text.split_once("und") {
        Some(("ein", ten)) => Some(tens(ten)? + 1),
        Some((one, ten)) => Some(tens(ten)? + place_in(&SMALL, one)?),
        None => place_in(&SMALL, text).or_else(|| tens(text)),
    }
}
