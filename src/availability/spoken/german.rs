//! German, by the clock of 24 hours.

use chrono::{Datelike, Timelike, Weekday};

use super::{Near, Said, Speech, Twice};

/// Speaks German.
#[derive(Debug)]
pub(super) struct German;

const MONTHS: [&str; 12] = [
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

impl Speech for German {
    /// "morgen, Dienstag, den 24. November, um vierzehn Uhr dreißig".
    fn say(&self, said: &Said) -> String {
        let near = match said.near {
            Near::Today => "heute, ",
            Near::Tomorrow => "morgen, ",
            Near::Later => "",
        };
        let local = said.local;
        let (day, month) = (local.day(), MONTHS[local.month0() as usize]);
        let year = if said.other_year { format!(" {}", local.year()) } else { String::new() };
        let hour = if local.hour() == 1 { "ein".to_owned() } else { number(local.hour()) };
        let minute = if local.minute() == 0 { String::new() } else { format!(" {}", number(local.minute())) };
        let twice = match said.twice {
            Some(Twice::First) => ", und zwar beim ersten Mal, bevor die Uhr zurückgestellt wird",
            Some(Twice::Second) => ", und zwar beim zweiten Mal, nachdem die Uhr zurückgestellt wurde",
            None => "",
        };
        let place = said.place.as_ref().map(|place| format!(", Ortszeit {place}")).unwrap_or_default();
        let weekday = weekday(local.weekday());
        format!("{near}{weekday}, den {day}. {month}{year}, um {hour} Uhr{minute}{twice}{place}")
    }
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "Montag",
        Weekday::Tue => "Dienstag",
        Weekday::Wed => "Mittwoch",
        Weekday::Thu => "Donnerstag",
        Weekday::Fri => "Freitag",
        Weekday::Sat => "Samstag",
        Weekday::Sun => "Sonntag",
    }
}

/// 0 to 59.
fn number(number: u32) -> String {
    let tens = match number / 10 {
        0 | 1 => return SMALL[number as usize % 20].to_owned(),
        2 => "zwanzig",
        3 => "dreißig",
        4 => "vierzig",
        _ => "fünfzig",
    };
    match number % 10 {
        0 => tens.to_owned(),
        1 => format!("einund{tens}"),
        one => format!("{}und{tens}", SMALL[one as usize]),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use chrono_tz::Tz;

    use super::super::{Language, Voice, spoken};

    #[test]
    fn times_are_said_as_people_say_them() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-10-20T09:00:00Z");
        let voice = Voice { zone: Tz::Europe__Berlin, names_zone: false, language: Language::German };
        for (start, said) in [
            ("2026-10-20T12:00:00Z", "heute, Dienstag, den 20. Oktober, um vierzehn Uhr"),
            ("2026-10-21T12:30:00Z", "morgen, Mittwoch, den 21. Oktober, um vierzehn Uhr dreißig"),
            ("2026-10-22T23:01:00Z", "Freitag, den 23. Oktober, um ein Uhr eins"),
            ("2027-03-06T20:21:00Z", "Samstag, den 6. März 2027, um einundzwanzig Uhr einundzwanzig"),
            (
                "2026-10-25T00:30:00Z",
                "Sonntag, den 25. Oktober, um zwei Uhr dreißig, und zwar beim ersten Mal, bevor die Uhr \
                 zurückgestellt wird",
            ),
            (
                "2026-10-25T01:30:00Z",
                "Sonntag, den 25. Oktober, um zwei Uhr dreißig, und zwar beim zweiten Mal, nachdem die Uhr \
                 zurückgestellt wurde",
            ),
        ] {
            assert_eq!(spoken(at(start), voice, now), said);
        }
        let elsewhere = Voice { names_zone: true, ..voice };
        let said = spoken(at("2026-10-20T12:00:00Z"), elsewhere, now);
        assert_eq!(said, "heute, Dienstag, den 20. Oktober, um vierzehn Uhr, Ortszeit Berlin");
    }
}
