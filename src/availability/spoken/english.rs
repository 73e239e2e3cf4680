//! English, by the clock of twelve hours and the part of the day.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::{Near, Said, Speech, Twice};

const NUMBERS: [&str; 20] = [
    "twelve",
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

/// Speaks English.
#[derive(Debug)]
pub(super) struct English;

impl Speech for English {
    /// "tomorrow, Tuesday the 24th of November, at half past two in the afternoon".
    fn say(&self, said: &Said) -> String {
        let near = match said.near {
            Near::Today => "today, ",
            Near::Tomorrow => "tomorrow, ",
            Near::Later => "",
        };
        let local = said.local;
        let day = local.format("%A");
        let date = format!("{}{}", local.day(), ordinal_suffix(local.day()));
        let month = local.format("%B");
        let year = if said.other_year { format!(" {}", local.year()) } else { String::new() };
        let (hour, minute) = (local.hour(), local.minute());
        let twice = match said.twice {
            Some(Twice::First) => format!(", the first {hour}:{minute:02}, before the clocks go back"),
            Some(Twice::Second) => format!(", the second {hour}:{minute:02}, after the clocks go back"),
            None => String::new(),
        };
        let place = said.place.as_ref().map(|place| format!(", {place} time")).unwrap_or_default();
        format!("{near}{day} the {date} of {month}{year}, at {}{twice}{place}", clock(local))
    }
}

fn clock(local: NaiveDateTime) -> String {
    let (hour, minute) = (local.hour(), local.minute());
    match (hour, minute) {
        (0, 0) => return "midnight at the start of the day".to_owned(),
        (12, 0) => return "noon".to_owned(),
        _ => {}
    }
    let name = |hour: u32| NUMBERS[(hour % 12) as usize];
    let time = match minute {
        0 => format!("{} o'clock", name(hour)),
        15 => format!("quarter past {}", name(hour)),
        30 => format!("half past {}", name(hour)),
        45 => format!("quarter to {}", name(hour + 1)),
        1..=9 => format!("{} oh {}", name(hour), number(minute)),
        _ => format!("{} {}", name(hour), number(minute)),
    };
    let part = match hour {
        1..12 => "in the morning",
        12..17 => "in the afternoon",
        17..21 => "in the evening",
        _ => "at night",
    };
    format!("{time} {part}")
}

fn number(minute: u32) -> String {
    let tens = match minute / 10 {
        0 | 1 => return NUMBERS[minute as usize % 20].to_owned(),
        2 => "twenty",
        3 => "thirty",
        4 => "forty",
        _ => "fifty",
    };
    match minute % 10 {
        0 => tens.to_owned(),
        one => format!("{tens}-{}", NUMBERS[one as usize]),
    }
}

fn ordinal_suffix(day: u32) -> &'static str {
    match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use chrono_tz::Tz;

    use super::super::{Language, Voice, spoken};

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn in_zone(zone: Tz) -> Voice {
        Voice { zone, names_zone: false, language: Language::English }
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = at("2026-11-23T09:00:00Z");
        for (start, said) in [
            ("2026-11-23T13:00:00Z", "today, Monday the 23rd of November, at two o'clock in the afternoon"),
            ("2026-11-24T13:30:00Z", "tomorrow, Tuesday the 24th of November, at half past two in the afternoon"),
            ("2026-12-01T08:45:00Z", "Tuesday the 1st of December, at quarter to ten in the morning"),
            ("2026-12-01T11:00:00Z", "Tuesday the 1st of December, at noon"),
            ("2026-12-01T10:45:00Z", "Tuesday the 1st of December, at quarter to twelve in the morning"),
            ("2026-12-01T17:05:00Z", "Tuesday the 1st of December, at six oh five in the evening"),
            ("2026-12-01T20:40:00Z", "Tuesday the 1st of December, at nine forty at night"),
            ("2026-12-01T23:00:00Z", "Wednesday the 2nd of December, at midnight at the start of the day"),
            ("2027-01-11T08:25:00Z", "Monday the 11th of January 2027, at nine twenty-five in the morning"),
        ] {
            assert_eq!(spoken(at(start), in_zone(Tz::Europe__Berlin), now), said);
        }
    }

    #[test]
    fn the_repeated_hour_is_told_apart() {
        let now = at("2026-10-20T09:00:00Z");
        let first = spoken(at("2026-11-01T05:30:00Z"), in_zone(Tz::America__New_York), now);
        let second = spoken(at("2026-11-01T06:30:00Z"), in_zone(Tz::America__New_York), now);
        assert_eq!(
            first,
            "Sunday the 1st of November, at half past one in the morning, the first 1:30, before the clocks go back"
        );
        assert!(second.ends_with("the second 1:30, after the clocks go back"), "{second}");
    }

    #[test]
    fn the_place_of_the_clock_is_said_where_there_are_several() {
        let voice = Voice { names_zone: true, ..in_zone(Tz::America__New_York) };
        let said = spoken(at("2026-11-24T15:00:00Z"), voice, at("2026-11-23T15:00:00Z"));
        assert_eq!(said, "tomorrow, Tuesday the 24th of November, at ten o'clock in the morning, New York time");
    }
}
