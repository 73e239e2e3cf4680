//! Random series, as Google would give them.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use slotd::domain::zone::{local_to_utc, utc_to_local};

use crate::stage::OWNER;

/// Zones with clock changes of every kind: at midnight, of half an hour and of two, backwards in summer, around Ramadan,
/// announced late, given up, and one that left out a whole day.
pub(super) const ZONES: [Tz; 20] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Africa__Cairo,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
    Tz::Pacific__Kiritimati,
    Tz::Europe__Dublin,
    Tz::Africa__Casablanca,
    Tz::America__Santiago,
    Tz::America__Asuncion,
    Tz::Asia__Gaza,
    Tz::Asia__Beirut,
    Tz::America__Havana,
    Tz::Pacific__Chatham,
    Tz::America__St_Johns,
    Tz::America__Sao_Paulo,
    Tz::Asia__Tehran,
    Tz::Antarctica__Troll,
    Tz::Atlantic__Azores,
    Tz::Asia__Kolkata,
];
/// Where most clock changes happen.
const NIGHT_MINUTES: [u32; 10] = [0, 15, 30, 60, 90, 120, 135, 150, 165, 180];

/// A series with its exceptions, and the window in which it is looked at.
#[derive(Debug, Clone)]
pub(super) struct Case {
    zone: Tz,
    calendar_zone: Tz,
    all_day: bool,
    start: NaiveDateTime,
    /// Of whole days, in days of 1,440.
    minutes: i64,
    transparent: bool,
    rules: Vec<RuleLine>,
    except: Option<RuleLine>,
    added: Vec<(u64, u32, Form)>,
    removed: Vec<(usize, Form)>,
    exceptions: Vec<(usize, Change)>,
    window_after_days: u64,
    window_days: u64,
}

/// A rule and how it ends.
#[derive(Debug, Clone)]
struct RuleLine {
    parts: String,
    ends: Ends,
}

#[derive(Debug, Clone, Copy)]
enum Ends {
    Never,
    Count(u32),
    /// So many days after the start, or before it, and a second earlier or not.
    Until(i64, bool, Form),
}

/// How a time is written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Utc,
    Local,
    OwnZone,
    OtherZone,
    Day,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy)]
enum Change {
    Cancelled,
    /// Moved by so many minutes, and lasts so many.
    Moved(i64, i64),
    Free(i64),
    Declined,
    /// Of a start that the rules do not give.
    Stray(i64),
}

impl Case {
    /// The calendar's zone.
    pub(super) const fn calendar_zone(&self) -> Tz {
        self.calendar_zone
    }

    /// From when to when it is looked at.
    pub(super) fn window(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let from = self.start.date() + Days::new(self.window_after_days);
        let from = from.and_time(NaiveTime::MIN).and_utc();
        (from, from + Days::new(self.window_days))
    }

    fn local_zone(&self) -> Tz {
        if self.all_day { self.calendar_zone } else { self.zone }
    }

    fn stamp(&self, local: NaiveDateTime, form: Form) -> (String, String) {
        let zone = self.zone;
        let written = |at: NaiveDateTime| at.format("%Y%m%dT%H%M%S").to_string();
        match form {
            Form::Day => (";VALUE=DATE".to_owned(), local.format("%Y%m%d").to_string()),
            _ if self.all_day => (";VALUE=DATE".to_owned(), local.format("%Y%m%d").to_string()),
            Form::Utc => (String::new(), format!("{}Z", written(local_to_utc(local, zone).naive_utc()))),
            Form::Local => (String::new(), written(local)),
            Form::OwnZone => (format!(";TZID={}", zone.name()), written(local)),
            Form::OtherZone => {
                let other = Tz::America__New_York;
                (format!(";TZID={}", other.name()), written(utc_to_local(local_to_utc(local, zone), other)))
            }
        }
    }

    fn line(&self, name: &str, rule: &RuleLine) -> String {
        let end = match rule.ends {
            Ends::Never => String::new(),
            Ends::Count(count) => format!(";COUNT={count}"),
            Ends::Until(days, early, form) => {
                let at = self.start + TimeDelta::days(days) - TimeDelta::seconds(i64::from(early && !self.all_day));
                let form = if matches!(form, Form::OwnZone | Form::OtherZone) { Form::Utc } else { form };
                format!(";UNTIL={}", self.stamp(at, form).1)
            }
        };
        format!("{name}:{}{end}", rule.parts)
    }

    fn time(&self, at: DateTime<Utc>) -> Value {
        if self.all_day {
            return json!({ "date": at.with_timezone(&self.calendar_zone).date_naive().to_string() });
        }
        json!({ "dateTime": at.with_timezone(&self.zone).to_rfc3339(), "timeZone": self.zone.name() })
    }

    fn first(&self) -> DateTime<Utc> {
        local_to_utc(self.start, self.local_zone())
    }

    /// The series without EXDATE and exceptions.
    pub(super) fn plain(&self) -> Value {
        let mut recurrence: Vec<String> = self.rules.iter().map(|rule| self.line("RRULE", rule)).collect();
        recurrence.extend(self.except.iter().map(|rule| self.line("EXRULE", rule)));
        recurrence.extend(self.added.iter().map(|(days, minutes, form)| {
            let at = (self.start.date() + Days::new(*days)).and_time(NaiveTime::MIN)
                + TimeDelta::minutes(i64::from(*minutes));
            let (parameter, value) = self.stamp(at, *form);
            format!("RDATE{parameter}:{value}")
        }));
        let (start, end) = if self.all_day {
            let end = self.start.date() + TimeDelta::minutes(self.minutes);
            (json!({ "date": self.start.date().to_string() }), json!({ "date": end.to_string() }))
        } else {
            (self.time(self.first()), self.time(self.first() + TimeDelta::minutes(self.minutes)))
        };
        let transparency = if self.transparent { "transparent" } else { "opaque" };
        json!({
            "id": "series", "status": "confirmed", "summary": "Series", "transparency": transparency,
            "start": start, "end": end, "recurrence": recurrence,
        })
    }

    /// The whole series: EXDATE and exceptions name some of the `starts` that the plain one has.
    pub(super) fn events(&self, starts: &[DateTime<Utc>]) -> Vec<Value> {
        let mut master = self.plain();
        let one_of = |place: usize| starts.get(place % starts.len().max(1)).copied();
        let lines = master["recurrence"].as_array_mut().unwrap();
        for (place, form) in &self.removed {
            let Some(at) = one_of(*place) else { continue };
            let (parameter, value) = self.stamp(utc_to_local(at, self.local_zone()), *form);
            lines.push(json!(format!("EXDATE{parameter}:{value}")));
        }
        let mut events = vec![master];
        let mut taken = Vec::new();
        for (place, change) in &self.exceptions {
            let Some(mut original) = one_of(*place) else { continue };
            if let Change::Stray(minutes) = change {
                original += TimeDelta::minutes(*minutes);
            }
            // Days are told apart by day.
            let original_time = self.time(original);
            if taken.contains(&original_time) {
                continue;
            }
            events.push(self.exception(original, &original_time, *change));
            taken.push(original_time);
        }
        events
    }

    fn exception(&self, original: DateTime<Utc>, original_time: &Value, change: Change) -> Value {
        let id = if self.all_day {
            let day = original.with_timezone(&self.calendar_zone).date_naive();
            format!("series_{}", day.format("%Y%m%d"))
        } else {
            format!("series_{}", original.format("%Y%m%dT%H%M%SZ"))
        };
        let mut event = json!({
            "id": id, "status": "confirmed", "recurringEventId": "series", "originalStartTime": original_time,
        });
        let (moved, minutes) = match change {
            Change::Cancelled => {
                event["status"] = json!("cancelled");
                return event;
            }
            Change::Moved(by, minutes) => (by, minutes),
            Change::Free(by) => (by, 60),
            Change::Declined | Change::Stray(_) => (30, 45),
        };
        let start = original + TimeDelta::minutes(moved);
        if self.all_day {
            let day = start.with_timezone(&self.calendar_zone).date_naive();
            event["start"] = json!({ "date": day.to_string() });
            event["end"] = json!({ "date": (day + Days::new(1)).to_string() });
        } else {
            (event["start"], event["end"]) = (self.time(start), self.time(start + TimeDelta::minutes(minutes)));
        }
        match change {
            Change::Free(_) => event["transparency"] = json!("transparent"),
            Change::Declined => {
                event["attendees"] = json!([{ "email": OWNER, "self": true, "responseStatus": "declined" }]);
            }
            Change::Cancelled | Change::Moved(..) | Change::Stray(_) => {}
        }
        event
    }
}

fn list(values: &[i32]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Rules that match something in the end: python-dateutil looks for the others until the year 9999. Left out is what the
/// two read differently, each told in the decision record: a plain beside a counted weekday, and BYSETPOS of a WEEKLY
/// rule whose first week DTSTART cuts. Negative BYWEEKNO differ at the turn of the year.
fn parts() -> impl Strategy<Value = String> {
    const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
    let weekdays = || prop::sample::subsequence(WEEKDAYS.to_vec(), 1..4).prop_map(|days| days.join(","));
    let many_days = prop::sample::subsequence(WEEKDAYS.to_vec(), 2..6).prop_map(|days| days.join(","));
    let month_days = || prop::sample::subsequence(vec![1, 2, 13, 15, 28, -1, -2, -28], 1..4).prop_map(|it| list(&it));
    let late_days = prop::sample::subsequence(vec![29, 30, 31, -31, -30], 1..3).prop_map(|it| list(&it));
    let months = || prop::sample::subsequence(vec![1, 2, 3, 4, 9, 10, 11, 12], 1..4).prop_map(|it| list(&it));
    let nth = select(vec![1, 2, 3, 4, -1, -2]);
    let position = select(vec!["1", "-1", "2", "1,-1"]);
    let hours = prop::sample::subsequence(vec![0, 1, 2, 3, 9, 23], 1..4).prop_map(|it| list(&it));
    let daily = prop_oneof![
        3 => Just("FREQ=DAILY".to_owned()),
        1 => months().prop_map(|months| format!("FREQ=DAILY;BYMONTH={months}")),
        1 => weekdays().prop_map(|days| format!("FREQ=DAILY;BYDAY={days}")),
        1 => hours.prop_map(|hours| format!("FREQ=DAILY;BYHOUR={hours}")),
        1 => month_days().prop_map(|days| format!("FREQ=DAILY;BYMONTHDAY={days}")),
    ];
    let weekly = prop_oneof![
        Just("FREQ=WEEKLY".to_owned()),
        weekdays().prop_map(|days| format!("FREQ=WEEKLY;BYDAY={days}")),
        (weekdays(), months()).prop_map(|(days, months)| format!("FREQ=WEEKLY;BYDAY={days};BYMONTH={months}")),
    ];
    let monthly = prop_oneof![
        Just("FREQ=MONTHLY".to_owned()),
        month_days().prop_map(|days| format!("FREQ=MONTHLY;BYMONTHDAY={days}")),
        late_days.prop_map(|days| format!("FREQ=MONTHLY;BYMONTHDAY={days}")),
        (nth.clone(), weekdays()).prop_map(|(nth, days)| {
            let days: Vec<String> = days.split(',').map(|day| format!("{nth}{day}")).collect();
            format!("FREQ=MONTHLY;BYDAY={}", days.join(","))
        }),
        (many_days, position).prop_map(|(days, position)| format!("FREQ=MONTHLY;BYDAY={days};BYSETPOS={position}")),
        (weekdays(), select(vec![13, 1, -1]))
            .prop_map(|(days, day)| format!("FREQ=MONTHLY;BYDAY={days};BYMONTHDAY={day}")),
    ];
    let yearly = prop_oneof![
        Just("FREQ=YEARLY".to_owned()),
        months().prop_map(|months| format!("FREQ=YEARLY;BYMONTH={months}")),
        (months(), month_days()).prop_map(|(months, days)| format!("FREQ=YEARLY;BYMONTH={months};BYMONTHDAY={days}")),
        (months(), nth, select(WEEKDAYS.to_vec()))
            .prop_map(|(months, nth, day)| format!("FREQ=YEARLY;BYMONTH={months};BYDAY={nth}{day}")),
        (select(vec![1, 10, 20, -1, -20]), select(WEEKDAYS.to_vec()))
            .prop_map(|(nth, day)| format!("FREQ=YEARLY;BYDAY={nth}{day}")),
        select(vec!["1", "60,100", "-1", "200,-1", "90,300"]).prop_map(|days| format!("FREQ=YEARLY;BYYEARDAY={days}")),
        (select(vec!["10", "13,44", "20", "30,40"]), weekdays())
            .prop_map(|(weeks, days)| format!("FREQ=YEARLY;BYWEEKNO={weeks};BYDAY={days}")),
    ];
    let short = prop_oneof![
        select(vec![5, 7, 11, 25]).prop_map(|hours| format!("FREQ=HOURLY;INTERVAL={hours}")),
        select(vec![95, 250, 1_441]).prop_map(|minutes| format!("FREQ=MINUTELY;INTERVAL={minutes}")),
    ];
    // Intervals share no divisor with the months of a year, lest BYMONTH never match.
    let paced = (
        prop_oneof![3 => daily, 4 => weekly, 4 => monthly, 3 => yearly],
        select(vec![1, 1, 1, 5, 7]),
        select(WEEKDAYS.to_vec()),
    )
        .prop_map(|(parts, interval, week_start)| match (interval, parts.contains("YEARLY")) {
            (1, _) => format!("{parts};WKST={week_start}"),
            (_, true) => format!("{parts};INTERVAL=2;WKST={week_start}"),
            (interval, false) => format!("{parts};INTERVAL={interval};WKST={week_start}"),
        });
    prop_oneof![12 => paced, 1 => short]
}

fn form() -> impl Strategy<Value = Form> {
    select(vec![Form::Utc, Form::Local, Form::OwnZone, Form::OtherZone, Form::Day])
}

fn rule() -> impl Strategy<Value = RuleLine> {
    let ends = prop_oneof![
        3 => Just(Ends::Never),
        2 => (1..200_u32).prop_map(Ends::Count),
        2 => (-2..900_i64, any::<bool>(), form()).prop_map(|(days, early, form)| Ends::Until(days, early, form)),
    ];
    (parts(), ends).prop_map(|(parts, ends)| RuleLine { parts, ends })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::Cancelled),
        (-3_000..3_000_i64, select(vec![15, 60, 600])).prop_map(|(by, minutes)| Change::Moved(by, minutes)),
        // Out of the window, or into it.
        (-150_000..150_000_i64).prop_map(|by| Change::Moved(by, 60)),
        (-500..500_i64).prop_map(Change::Free),
        Just(Change::Declined),
        (1..400_i64).prop_map(Change::Stray),
    ]
}

/// Series of the last years and the next ones, mostly at night.
pub(super) fn cases() -> impl Strategy<Value = Case> {
    let zones = (select(ZONES.to_vec()), select(ZONES.to_vec()));
    let times = (
        any::<u8>().prop_map(|dice| dice < 60),
        0..7_300_u64,
        prop_oneof![2 => select(NIGHT_MINUTES.to_vec()), 1 => (0..96_u32).prop_map(|quarter| quarter * 15)],
        select(vec![15, 30, 60, 90, 480, 1_500, 4_320]),
        any::<u8>().prop_map(|dice| dice < 10),
    );
    let lines = (
        prop_oneof![5 => prop::collection::vec(rule(), 1..2), 1 => prop::collection::vec(rule(), 0..4)],
        prop::option::weighted(0.15, rule()),
        prop::collection::vec((0..400_u64, (0..96_u32).prop_map(|quarter| quarter * 15), form()), 0..3),
        prop::collection::vec((any::<usize>(), form()), 0..3),
        prop::collection::vec((any::<usize>(), change()), 0..4),
    );
    let window = (prop_oneof![0..40_u64, 0..1_200_u64], 2..90_u64);
    (zones, times, lines, window).prop_map(
        |((zone, other), (all_day, day, minute, minutes, transparent), lines, (window_after_days, window_days))| {
            let (rules, except, mut added, removed, exceptions) = lines;
            if rules.is_empty() && added.is_empty() {
                // Without any line it would be no series.
                added.push((1, minute, Form::Local));
            }
            let date = NaiveDate::from_ymd_opt(2009, 1, 1).unwrap() + Days::new(day);
            let at = if all_day { 0 } else { minute };
            Case {
                zone,
                calendar_zone: if all_day { zone } else { other },
                all_day,
                start: date.and_time(NaiveTime::MIN) + TimeDelta::minutes(i64::from(at)),
                minutes: if all_day { 1_440 * (1 + minutes % 3) } else { minutes },
                transparent,
                rules: rules.into_iter().map(|rule| rule.fitting(all_day)).collect(),
                except: except.map(|rule| rule.fitting(all_day)),
                added,
                removed,
                exceptions,
                window_after_days,
                window_days,
            }
        },
    )
}

impl RuleLine {
    /// Whole days have no hours.
    fn fitting(self, all_day: bool) -> Self {
        let within_days = ["HOURLY", "MINUTELY", "BYHOUR"].iter().any(|part| self.parts.contains(part));
        if all_day && within_days { Self { parts: "FREQ=DAILY".to_owned(), ..self } } else { self }
    }
}
