//! The salon of the demo: two people, three services, and a few hundred events such as a salon has.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc, Weekday};
use chrono_tz::Tz;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::domain::zone::local_to_utc;

pub(super) const NAME: &str = "Salon Aurora";
pub(super) const ZONE: Tz = Tz::Europe__Berlin;
pub(super) const REGION: &str = "DE";
pub(super) const PEOPLE: [&str; 2] = ["Mia", "Jonas"];

/// How far back and ahead the calendars are filled.
const DAYS_BACK: u64 = 21;
const DAYS_AHEAD: u64 = 84;

/// Opening hours.
pub(super) fn hours() -> Value {
    let day = json!([["09:00", "18:00"]]);
    json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day, "sat": [["10:00", "16:00"]], "sun": [] })
}

/// What is booked.
pub(super) fn services() -> [Value; 3] {
    [
        json!({ "name": "Haircut", "duration_min": 45, "buffer_after_min": 10, "slot_step_min": 15 }),
        json!({ "name": "Color", "duration_min": 120, "buffer_after_min": 15, "slot_step_min": 30 }),
        json!({ "name": "Beard trim", "duration_min": 20, "buffer_after_min": 5, "slot_step_min": 10 }),
    ]
}

const VISITS: [(&str, i64); 6] = [
    ("Cut & blow-dry", 60),
    ("Haircut", 45),
    ("Color", 120),
    ("Highlights", 150),
    ("Beard trim", 20),
    ("Consultation", 30),
];
const NAMES: [&str; 8] = ["Sofia L.", "Paul K.", "Emma W.", "Noah B.", "Lena S.", "Finn M.", "Clara H.", "Theo R."];

/// The events of one person: visits, habits, days off, and things that do not block.
pub(super) fn events(person: usize, now: DateTime<Utc>) -> Vec<Value> {
    let today = now.with_timezone(&ZONE).date_naive();
    let mut random = StdRng::seed_from_u64(u64::try_from(person).unwrap_or_default() + 41);
    let first = today - Days::new(DAYS_BACK);
    let mut events = habits(person, first);
    for date in first.iter_days().take(usize::try_from(DAYS_BACK + DAYS_AHEAD).unwrap_or_default()) {
        if date.weekday() != Weekday::Sun {
            visits(date, &mut random, &mut events);
        }
    }
    events.push(json!({
        "summary": "Trade fair", "start": { "date": monday_after(today, 3) },
        "end": { "date": monday_after(today, 3) + Days::new(2) },
    }));
    events.push(json!({
        "summary": "Birthday of the other one", "transparency": "transparent",
        "start": { "date": today + Days::new(2) }, "end": { "date": today + Days::new(3) },
    }));
    events
}

/// A day's visits, one after the other with gaps between them; later days are emptier.
fn visits(date: NaiveDate, random: &mut StdRng, events: &mut Vec<Value>) {
    let opens = if date.weekday() == Weekday::Sat { 10 } else { 9 };
    let closes = at(date, if date.weekday() == Weekday::Sat { 16 } else { 18 }, 0);
    let mut next = at(date, opens, 0);
    while next < closes {
        next += TimeDelta::minutes(15 * random.random_range(0..7));
        let (what, minutes) = VISITS[random.random_range(0..VISITS.len())];
        let end = next + TimeDelta::minutes(minutes);
        if end > closes {
            return;
        }
        if random.random_range(0..100) < 80 && !meets_lunch(next, end) {
            let name = NAMES[random.random_range(0..NAMES.len())];
            events.push(timed(&format!("{what}: {name}"), next, end, &[]));
            next = end;
        }
        next += TimeDelta::minutes(15);
    }
}

fn meets_lunch(start: NaiveDateTime, end: NaiveDateTime) -> bool {
    start < at(start.date(), 13, 45) && end > at(start.date(), 13, 0)
}

/// What repeats.
fn habits(person: usize, first: NaiveDate) -> Vec<Value> {
    let monday = first + Days::new(u64::from((7 - first.weekday().num_days_from_monday()) % 7));
    let mut events = vec![
        timed("Lunch", at(monday, 13, 0), at(monday, 13, 45), &["RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"]),
        timed("Team meeting", at(monday, 9, 0), at(monday, 9, 30), &["RRULE:FREQ=WEEKLY;BYDAY=MO"]),
    ];
    events.push(if person == 0 {
        timed("Yoga", at(monday, 17, 0), at(monday, 18, 0), &["RRULE:FREQ=WEEKLY;BYDAY=TH"])
    } else {
        let evening = at(monday, 16, 30);
        timed("School run", evening, evening + TimeDelta::minutes(45), &["RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU"])
    });
    events
}

fn at(date: NaiveDate, hour: u32, minute: u32) -> NaiveDateTime {
    date.and_time(NaiveTime::from_hms_opt(hour, minute, 0).unwrap_or_default())
}

fn monday_after(date: NaiveDate, weeks: u64) -> NaiveDate {
    date + Days::new(weeks * 7 - u64::from(date.weekday().num_days_from_monday()))
}

fn timed(summary: &str, start: NaiveDateTime, end: NaiveDateTime, recurrence: &[&str]) -> Value {
    let time = |local| {
        let at = local_to_utc(local, ZONE).with_timezone(&ZONE);
        json!({ "dateTime": at.to_rfc3339(), "timeZone": ZONE.name() })
    };
    let mut event = json!({ "summary": summary, "start": time(start), "end": time(end) });
    if !recurrence.is_empty() {
        event["recurrence"] = json!(recurrence);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salon_has_a_few_hundred_events_and_none_at_lunch() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        for person in 0..PEOPLE.len() {
            let events = events(person, now);
            assert!((150..600).contains(&events.len()), "{}", events.len());
            assert_eq!(events, super::events(person, now), "the same each time");
            let visits = events.iter().filter(|event| event["summary"].as_str().unwrap().contains(": "));
            for visit in visits {
                let time = |end: &str| visit[end]["dateTime"].as_str().unwrap()[11..16].to_owned();
                assert!(time("end").as_str() <= "13:00" || time("start").as_str() >= "13:45", "{visit}");
            }
        }
    }
}
