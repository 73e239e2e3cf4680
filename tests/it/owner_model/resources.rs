//! Random events as Google's clients send them.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::dice::Dice;

/// With gaps and folds of an hour and of half an hour, at different times of the year, without any, and across the date
/// line.
pub(super) const ZONES: [Tz; 10] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Auckland,
    Tz::America__Santiago,
    Tz::Asia__Kolkata,
    Tz::Asia__Jerusalem,
    Tz::Africa__Casablanca,
    Tz::Pacific__Kiritimati,
    Tz::UTC,
];
const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// Makes events in and around the time that mirrors cover.
pub(super) struct Maker {
    today: NaiveDate,
    back: i64,
    ahead: i64,
    /// Local times that do not exist or exist twice, and their zones.
    gaps: Vec<(NaiveDateTime, Tz)>,
    folds: Vec<(NaiveDateTime, Tz)>,
}

/// What was special about an event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Nothing,
    Gap,
    Fold,
}

impl Maker {
    /// For mirrors that cover `back` days before `now` and `ahead` days after it.
    pub(super) fn new(now: DateTime<Utc>, back: i64, ahead: i64) -> Self {
        let today = now.date_naive();
        let (mut gaps, mut folds) = (Vec::new(), Vec::new());
        for zone in ZONES {
            for day in -back + 1..ahead {
                let midnight = (today + TimeDelta::days(day)).and_time(NaiveTime::MIN);
                for quarter in 0..96 {
                    let local = midnight + TimeDelta::minutes(15 * quarter);
                    match zone.from_local_datetime(&local) {
                        LocalResult::None => gaps.push((local, zone)),
                        LocalResult::Ambiguous(..) => folds.push((local, zone)),
                        LocalResult::Single(_) => {}
                    }
                }
            }
        }
        Self { today, back, ahead, gaps, folds }
    }

    pub(super) const fn today(&self) -> NaiveDate {
        self.today
    }

    fn date(&self, dice: &mut Dice) -> NaiveDate {
        let (least, most) = if dice.percent(85) { (-self.back, self.ahead) } else { (-2 * self.back, self.ahead + 60) };
        self.today + TimeDelta::days(dice.between(least, most))
    }

    /// Start and end of something that happens once.
    pub(super) fn times(&self, dice: &mut Dice) -> (Value, Hit) {
        if dice.percent(20) {
            let first = self.date(dice);
            return (days(first, dice.between(1, 4)), Hit::Nothing);
        }
        let minutes = *dice.pick(&[15, 30, 45, 60, 60, 90, 240, 1_500, 0]);
        if dice.percent(12) {
            let (places, hit) = if dice.percent(50) { (&self.gaps, Hit::Gap) } else { (&self.folds, Hit::Fold) };
            if !places.is_empty() {
                let (local, zone) = *dice.pick(places);
                return (Self::odd_times(dice, local, zone, minutes), hit);
            }
        }
        let zone = *dice.pick(&ZONES);
        let time = NaiveTime::from_hms_opt(u32::try_from(dice.between(0, 23)).unwrap(), 0, 0).unwrap();
        let local = self.date(dice).and_time(time) + TimeDelta::minutes(5 * dice.between(0, 11));
        (timed(&naive(local), zone, minutes), Hit::Nothing)
    }

    /// In a gap or a fold; the second of two times can only be said with its offset.
    fn odd_times(dice: &mut Dice, local: NaiveDateTime, zone: Tz, minutes: i64) -> Value {
        match zone.from_local_datetime(&local) {
            LocalResult::Ambiguous(first, second) => {
                let at = if dice.percent(50) { first } else { second };
                timed(&at.to_rfc3339(), zone, minutes)
            }
            LocalResult::Single(_) | LocalResult::None => timed(&naive(local), zone, minutes),
        }
    }

    /// The start and end of a series, which may lie a while back, and its rules.
    pub(super) fn series(&self, dice: &mut Dice) -> (Value, Hit) {
        let (mut body, mut hit) = self.times(dice);
        let mut back = if dice.percent(50) { dice.between(0, 80) } else { 0 };
        if hit != Hit::Nothing {
            // Daily or weekly from a few days before, it meets the odd time by its rule; or it begins there.
            back = if dice.percent(60) { 7 * dice.between(1, 3) } else { 0 };
            if back > 0 {
                let rule = *dice.pick(&["RRULE:FREQ=DAILY;COUNT=40", "RRULE:FREQ=WEEKLY;COUNT=12", "RRULE:FREQ=DAILY"]);
                body = shifted(&body, -back, 0);
                body["recurrence"] = json!([rule]);
                return (body, hit);
            }
        }
        if back > 0 {
            body = shifted(&body, -back, 0);
            hit = Hit::Nothing;
        }
        body["recurrence"] = Self::rules(dice, &body);
        (body, hit)
    }

    /// Rules that fit the start of `body`.
    pub(super) fn rules(dice: &mut Dice, body: &Value) -> Value {
        let mut lines = vec![format!("RRULE:{}", Self::rule(dice, body))];
        if dice.percent(8) {
            lines.push(format!("RRULE:{}", Self::rule(dice, body)));
        }
        if dice.percent(4) {
            lines.push(format!("EXRULE:{}", Self::rule(dice, body)));
        }
        for name in ["EXDATE", "RDATE"] {
            if dice.percent(15) {
                lines.push(dates(dice, name, body));
            }
        }
        if dice.percent(30) {
            lines.reverse();
        }
        json!(lines)
    }

    fn rule(dice: &mut Dice, body: &Value) -> String {
        let days = |dice: &mut Dice, prefix: &str| {
            let first = dice.below(7);
            let picked: Vec<String> =
                (0..=dice.below(3)).map(|more| format!("{prefix}{}", WEEKDAYS[(first + 2 * more) % 7])).collect();
            picked.join(",")
        };
        let mut rule = match dice.below(12) {
            0 | 1 => "FREQ=DAILY".to_owned(),
            2 | 3 => "FREQ=WEEKLY".to_owned(),
            4 | 5 => format!("FREQ=WEEKLY;BYDAY={}", days(dice, "")),
            6 => "FREQ=MONTHLY".to_owned(),
            7 => format!("FREQ=MONTHLY;BYDAY={}", {
                let nth = *dice.pick(&["1", "2", "-1", "-2"]);
                days(dice, nth)
            }),
            8 => format!("FREQ=MONTHLY;BYMONTHDAY={}", [1, 15, 31, -1, -3][dice.below(5)]),
            9 => format!("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS={}", [1, 3, -1][dice.below(3)]),
            10 => format!("FREQ=YEARLY;BYMONTH={};BYDAY=2SU", dice.between(1, 12)),
            _ if is_timed(body) => "FREQ=HOURLY;INTERVAL=7;COUNT=30".to_owned(),
            _ => "FREQ=YEARLY".to_owned(),
        };
        if !rule.contains("INTERVAL") && dice.percent(35) {
            rule = format!("{rule};INTERVAL={}", dice.between(2, 4));
        }
        if rule.contains("WEEKLY") && dice.percent(20) {
            rule = format!("{rule};WKST={}", ["SU", "MO", "WE"][dice.below(3)]);
        }
        if !rule.contains("COUNT") {
            match dice.below(10) {
                0..4 => rule = format!("{rule};COUNT={}", dice.between(1, 30)),
                4..8 => rule = format!("{rule};UNTIL={}", Self::until(dice, body)),
                _ => {}
            }
        }
        rule
    }

    /// Sometimes exactly at an instance, which counts.
    fn until(dice: &mut Dice, body: &Value) -> String {
        let days = dice.between(1, 120);
        match start_of(body) {
            Start::Date(date) => (date + TimeDelta::days(days)).format("%Y%m%d").to_string(),
            Start::At(at, _) => {
                let at = at + TimeDelta::days(days) + TimeDelta::minutes(*dice.pick(&[0, 0, 60, -1]));
                at.format("%Y%m%dT%H%M%SZ").to_string()
            }
        }
    }

    /// A whole event.
    pub(super) fn event(&self, dice: &mut Dice, title: &str, recurring: bool) -> (Value, Hit) {
        let (mut body, hit) = if recurring { self.series(dice) } else { self.times(dice) };
        body["summary"] = json!(title);
        for (percent, field, value) in
            [(10, "transparency", "transparent"), (10, "status", "tentative"), (10, "visibility", "private")]
        {
            if dice.percent(percent) {
                body[field] = json!(value);
            }
        }
        (body, hit)
    }
}

/// The start of an event as it was sent or answered.
pub(super) enum Start {
    Date(NaiveDate),
    At(DateTime<Utc>, Tz),
}

pub(super) fn start_of(body: &Value) -> Start {
    point(&body["start"])
}

fn point(time: &Value) -> Start {
    if let Some(date) = time["date"].as_str() {
        return Start::Date(date.parse().unwrap());
    }
    let text = time["dateTime"].as_str().unwrap();
    let zone: Tz = time["timeZone"].as_str().unwrap_or("UTC").parse().unwrap();
    let at = match DateTime::parse_from_rfc3339(text) {
        Ok(at) => at.to_utc(),
        Err(_) => slotd::domain::zone::local_to_utc(text.parse().unwrap(), zone),
    };
    Start::At(at, zone)
}

pub(super) fn is_timed(body: &Value) -> bool {
    body["start"]["dateTime"].is_string()
}

fn naive(local: NaiveDateTime) -> String {
    local.format("%Y-%m-%dT%H:%M:%S").to_string()
}

fn timed(start: &str, zone: Tz, minutes: i64) -> Value {
    let begin = json!({ "dateTime": start, "timeZone": zone.name() });
    let Start::At(at, _) = point(&begin) else { unreachable!() };
    let end = json!({ "dateTime": (at + TimeDelta::minutes(minutes)).to_rfc3339(), "timeZone": zone.name() });
    json!({ "start": begin, "end": end })
}

fn days(first: NaiveDate, count: i64) -> Value {
    let last = first + Days::new(u64::try_from(count).unwrap());
    json!({ "start": { "date": first.to_string() }, "end": { "date": last.to_string() } })
}

/// Start and end of `body`, so many days and minutes of the wall clock later; of days, only days later.
pub(super) fn shifted(body: &Value, days: i64, minutes: i64) -> Value {
    match (start_of(body), point(&body["end"])) {
        (Start::Date(from), Start::Date(to)) => {
            let shift = TimeDelta::days(if days == 0 && minutes != 0 { 1 } else { days });
            json!({ "start": { "date": (from + shift).to_string() }, "end": { "date": (to + shift).to_string() } })
        }
        (Start::At(from, zone), Start::At(to, _)) => {
            let local = from.with_timezone(&zone).naive_local() + TimeDelta::days(days) + TimeDelta::minutes(minutes);
            timed(&naive(local.with_nanosecond(0).unwrap()), zone, (to - from).num_minutes())
        }
        _ => unreachable!("an event is timed or not"),
    }
}

/// Start and end of `body` with another length.
pub(super) fn resized(dice: &mut Dice, body: &Value) -> Value {
    match start_of(body) {
        Start::Date(from) => days(from, dice.between(1, 5)),
        Start::At(from, zone) => timed(&from.with_timezone(&zone).to_rfc3339(), zone, *dice.pick(&[20, 50, 100, 600])),
    }
}

/// Start and end of `body` in another zone: at the same instant, or when the clock there shows the same.
pub(super) fn rezoned(dice: &mut Dice, body: &Value) -> Value {
    let (Start::At(from, zone), Start::At(to, _)) = (start_of(body), point(&body["end"])) else {
        return shifted(body, 1, 0);
    };
    let (other, minutes) = (*dice.pick(&ZONES), (to - from).num_minutes());
    if dice.percent(50) {
        timed(&from.with_timezone(&other).to_rfc3339(), other, minutes)
    } else {
        timed(&naive(from.with_timezone(&zone).naive_local()), other, minutes)
    }
}

/// Some dates from the first weeks after the start, in one of the notations of RFC 5545.
fn dates(dice: &mut Dice, name: &str, body: &Value) -> String {
    let count = dice.between(1, 3);
    let days: Vec<i64> = (0..count).map(|_| dice.between(0, 28)).collect();
    match start_of(body) {
        Start::Date(first) => {
            let texts: Vec<String> =
                days.iter().map(|day| (first + TimeDelta::days(*day)).format("%Y%m%d").to_string()).collect();
            format!("{name};VALUE=DATE:{}", texts.join(","))
        }
        Start::At(at, zone) => {
            let local = at.with_timezone(&zone).naive_local();
            let in_zone = dice.percent(60);
            let text = |day: &i64| {
                let local = local + TimeDelta::days(*day);
                if in_zone {
                    local.format("%Y%m%dT%H%M%S").to_string()
                } else {
                    slotd::domain::zone::local_to_utc(local, zone).format("%Y%m%dT%H%M%SZ").to_string()
                }
            };
            let texts: Vec<String> = days.iter().map(text).collect();
            let head = if in_zone { format!("{name};TZID={}", zone.name()) } else { name.to_owned() };
            format!("{head}:{}", texts.join(","))
        }
    }
}

/// The rules of a series that ends just before one of its instances.
pub(super) fn cut_before(recurrence: &Value, start: &Start) -> Value {
    let until = match start {
        Start::Date(date) => (*date - TimeDelta::days(1)).format("%Y%m%d").to_string(),
        Start::At(at, _) => (*at - TimeDelta::seconds(1)).format("%Y%m%dT%H%M%SZ").to_string(),
    };
    let cut = |line: &str| {
        let Some(rule) = line.strip_prefix("RRULE:") else { return line.to_owned() };
        let parts = rule.split(';').filter(|part| !part.starts_with("COUNT=") && !part.starts_with("UNTIL="));
        format!("RRULE:{};UNTIL={until}", parts.collect::<Vec<_>>().join(";"))
    };
    recurrence.as_array().unwrap().iter().map(|line| cut(line.as_str().unwrap())).collect()
}
