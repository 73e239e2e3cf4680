//! Times as a person says them on the phone, in the languages that slotd speaks.
//!
//! What has to be said is found here, once: which day that is from today, whether the year is another, which of two
//! equal readings of the clock is meant, whose clock it is. A language only puts it into words. Another language is
//! another file with a [`Speech`], a variant of [`Language`], and its parser in the tests.

mod english;
mod german;
#[cfg(test)]
mod heard;

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, Days, NaiveDateTime, Utc};
use chrono_tz::Tz;

use crate::domain::zone::{instants_showing, utc_to_local};

/// A language that slotd speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// `en`
    #[default]
    English,
    /// `de`
    German,
}

/// Nobody here speaks that language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a language is expected that is spoken here: {}", tags())]
pub struct UnknownLanguage;

fn tags() -> String {
    Language::ALL.map(Language::tag).join(", ")
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its tag by BCP 47.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    const fn speech(self) -> &'static dyn Speech {
        match self {
            Self::English => &english::English,
            Self::German => &german::German,
        }
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// Goes by the first part of a tag: `de-AT` is German.
    fn from_str(tag: &str) -> Result<Self, UnknownLanguage> {
        let primary = tag.split('-').next().unwrap_or_default();
        let fits = |language: &Self| language.tag().eq_ignore_ascii_case(primary);
        Self::ALL.into_iter().find(fits).ok_or(UnknownLanguage)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// How times are told to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// By which clock.
    pub zone: Tz,
    /// Whether that has to be said, because others are possible here.
    pub names_zone: bool,
    /// In which language.
    pub language: Language,
}

impl Voice {
    /// The same in another language, when there is one.
    #[must_use]
    pub fn speaking(self, language: Option<Language>) -> Self {
        Self { language: language.unwrap_or(self.language), ..self }
    }
}

impl From<Voice> for Tz {
    fn from(voice: Voice) -> Self {
        voice.zone
    }
}

/// Which day it is, from today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Near {
    Today,
    Tomorrow,
    Later,
}

/// Which of two equal readings of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    First,
    Second,
}

/// What has to be said of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    local: NaiveDateTime,
    near: Near,
    /// The year is not the current one.
    other_year: bool,
    /// Clocks are set back and show the time twice.
    twice: Option<Twice>,
    /// Where the clock is, when that has to be said.
    place: Option<String>,
}

/// Puts it into words.
trait Speech: Sync {
    fn say(&self, said: &Said) -> String;
}

/// `start` to be read out: "tomorrow, Tuesday the 24th of November, at half past two in the afternoon".
///
/// Names the weekday and the date, so that nobody can take it for another day, and the year when it is not the current
/// one; never leaves open which half of the day is meant; and says which is meant where clocks are set back and show a
/// time twice. "Today" and "tomorrow" are those of the voice's zone at `now`. Seconds are not said.
#[must_use]
pub fn spoken(start: DateTime<Utc>, voice: Voice, now: DateTime<Utc>) -> String {
    let (local, today) = (utc_to_local(start, voice.zone), utc_to_local(now, voice.zone).date());
    let near = if local.date() == today {
        Near::Today
    } else if today.checked_add_days(Days::new(1)) == Some(local.date()) {
        Near::Tomorrow
    } else {
        Near::Later
    };
    let said = Said {
        local,
        near,
        other_year: local.year() != today.year(),
        twice: which_of_two(start, voice.zone),
        place: voice.names_zone.then(|| place(voice.zone)),
    };
    voice.language.speech().say(&said)
}

/// Whether clocks in `zone` show the time of `at` twice, so that the time alone does not tell which is meant.
#[must_use]
pub fn is_ambiguous(at: DateTime<Utc>, zone: Tz) -> bool {
    which_of_two(at, zone).is_some()
}

fn which_of_two(at: DateTime<Utc>, zone: Tz) -> Option<Twice> {
    let mut showing = instants_showing(utc_to_local(at, zone), zone);
    let (first, second) = (showing.next()?, showing.next());
    second.map(|_| if first == at { Twice::First } else { Twice::Second })
}

/// The city after which a zone is named.
fn place(zone: Tz) -> String {
    zone.name().rsplit('/').next().unwrap_or_default().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const ZONES: [Tz; 7] = [
        Tz::Europe__Berlin,
        Tz::America__New_York,
        // Clocks go back by half an hour here.
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kathmandu,
        Tz::America__Argentina__Buenos_Aires,
        // Clocks go back at midnight here, so that the repeated hour is on two dates.
        Tz::America__Havana,
        Tz::UTC,
    ];

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn voice(zone: Tz, language: Language) -> Voice {
        Voice { zone, names_zone: false, language }
    }

    #[test]
    fn a_language_is_known_by_the_first_part_of_its_tag() {
        for (tag, language) in [("en", Language::English), ("en-GB", Language::English), ("DE-at", Language::German)] {
            assert_eq!(tag.parse(), Ok(language));
        }
        for tag in ["", "fr", "deu", "english", "-de"] {
            assert_eq!(tag.parse::<Language>(), Err(UnknownLanguage), "{tag}");
        }
        assert_eq!(UnknownLanguage.to_string(), "a language is expected that is spoken here: en, de");
    }

    #[test]
    fn today_and_tomorrow_are_those_of_the_zone() {
        // Half past eleven at night in Berlin, and half past five in the afternoon in New York.
        let now = at("2026-11-23T22:30:00Z");
        let say = |text, zone| spoken(at(text), voice(zone, Language::English), now);
        assert!(say("2026-11-23T22:45:00Z", Tz::Europe__Berlin).starts_with("today, Monday the 23rd"));
        let midnight = say("2026-11-23T23:00:00Z", Tz::Europe__Berlin);
        assert_eq!(midnight, "tomorrow, Tuesday the 24th of November, at midnight at the start of the day");
        assert!(say("2026-11-23T23:00:00Z", Tz::America__New_York).starts_with("today, Monday the 23rd"));
        assert!(say("2026-11-24T23:00:00Z", Tz::Europe__Berlin).starts_with("Wednesday the 25th"));
        // After midnight it is another day, and what was tomorrow is today.
        let after = spoken(
            at("2026-11-24T09:00:00Z"),
            voice(Tz::Europe__Berlin, Language::English),
            at("2026-11-23T23:00:00Z"),
        );
        assert!(after.starts_with("today, Tuesday the 24th"), "{after}");
    }

    #[test]
    fn only_times_that_the_clock_shows_twice_are_ambiguous() {
        for (text, ambiguous) in [
            ("2026-11-01T04:59:00Z", false),
            ("2026-11-01T05:00:00Z", true),
            ("2026-11-01T06:59:00Z", true),
            ("2026-11-01T07:00:00Z", false),
        ] {
            assert_eq!(is_ambiguous(at(text), Tz::America__New_York), ambiguous, "{text}");
        }
    }

    /// Any minute within two years, and more often than not one near a change of the clocks.
    fn minute() -> impl Strategy<Value = DateTime<Utc>> {
        let changes = ["2026-10-25T00:00:00Z", "2026-11-01T05:00:00Z", "2026-04-04T14:30:00Z", "2027-03-28T01:00:00Z"];
        let near = (prop::sample::select(changes.to_vec()), -300..300_i64);
        prop_oneof![
            near.prop_map(|(change, minutes)| at(change) + TimeDelta::minutes(minutes)),
            (0..2 * 366 * 1_440_i64).prop_map(|minutes| at("2026-01-01T00:00:00Z") + TimeDelta::minutes(minutes)),
        ]
    }

    proptest! {
        #[test]
        fn whoever_hears_it_knows_the_instant(
            start in minute(),
            now in minute(),
            zone in prop::sample::select(ZONES.to_vec()),
            names_zone in any::<bool>(),
            language in prop::sample::select(Language::ALL.to_vec()),
        ) {
            let voice = Voice { zone, names_zone, language };
            let text = spoken(start, voice, now);
            let understood = heard::understand(&text, voice, now);
            prop_assert_eq!(understood, Some(start), "{}", text);
        }
    }
}
