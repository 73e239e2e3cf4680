//! One recurrence rule, stepped through in floating time.
//!
//! The `rrule` crate reads and validates the rule; stepping is done here, because its iterator always begins at DTSTART
//! and one call of it may examine 100,000 periods, which no caller can stop. Here every examined day is paid for from a
//! [`Budget`], and a rule without COUNT begins next to the asked window.

use std::{collections::HashSet, str::FromStr};

use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use rrule::{Frequency, NWeekday, RRule, Unvalidated};

/// Longer rules than this are not read.
const RULE_BYTES_MAX: usize = 2_048;
/// Values that one day is compared with for the price of one step; more than any rule that people make.
const VALUES_PER_STEP: usize = 40;

/// How much work may still be done.
#[derive(Debug)]
pub(super) struct Budget {
    /// Days and times that may still be examined.
    pub(super) steps: u32,
    /// Starts that may still be given.
    pub(super) starts: usize,
    /// Something was left out because one of them ran out.
    pub(super) exhausted: bool,
    /// From when on starts may be missing. The earliest, when several rules were cut short.
    pub(super) cut: Option<NaiveDateTime>,
}

impl Budget {
    pub(super) const fn new(steps: u32, starts: usize) -> Self {
        Self { steps, starts, exhausted: false, cut: None }
    }

    fn cut_at(&mut self, at: NaiveDateTime) {
        self.cut = Some(self.cut.map_or(at, |cut| cut.min(at)));
    }

    fn spend(&mut self, steps: usize) -> bool {
        let left = u32::try_from(steps).ok().and_then(|steps| self.steps.checked_sub(steps));
        self.exhausted |= left.is_none();
        self.steps = left.unwrap_or_default();
        left.is_some()
    }

    fn give(&mut self) -> bool {
        let left = self.starts.checked_sub(1);
        self.exhausted |= left.is_none();
        self.starts = left.unwrap_or_default();
        left.is_some()
    }
}

/// A rule as read, and what DTSTART adds to it.
#[derive(Debug)]
pub(super) struct Rule {
    parts: RRule<Unvalidated>,
    start: NaiveDateTime,
    until: Option<NaiveDateTime>,
    months: Vec<u8>,
    month_days: Vec<i8>,
    weekdays: Vec<NWeekday>,
    /// Times of day of each matching day; for rules that repeat within a day, the hours, minutes and seconds allowed.
    hours: Vec<u8>,
    minutes: Vec<u8>,
    seconds: Vec<u8>,
}

/// A stretch that the rule fills or leaves empty as a whole: a year, month, week, day, hour, minute or second.
struct Period {
    begins: NaiveDateTime,
    days: u64,
}

impl Rule {
    /// Reads the value of an RRULE or EXRULE of a series that starts at `start`. UNTIL is given apart, as `until` turned
    /// it into the series' local time. Parts that begin with `X-` mean nothing to us.
    ///
    /// # Errors
    ///
    /// Says in words what cannot be read.
    pub(super) fn read(
        text: &str,
        start: NaiveDateTime,
        until: impl Fn(&str) -> Option<NaiveDateTime>,
    ) -> Result<Self, String> {
        if text.len() > RULE_BYTES_MAX || !text.is_ascii() || text.contains(':') {
            return Err("not the text of a recurrence rule".to_owned());
        }
        let text = text.to_ascii_uppercase();
        let mut ends = None;
        let mut kept = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("X-")) {
            match part.strip_prefix("UNTIL=") {
                Some(value) => ends = Some(until(value).ok_or_else(|| format!("UNTIL={value} is no date or time"))?),
                None => kept.push(part),
            }
        }
        let parts = RRule::from_str(&kept.join(";")).map_err(|error| error.to_string())?;
        parts.clone().validate(start.and_utc().with_timezone(&rrule::Tz::UTC)).map_err(|error| error.to_string())?;
        if parts.get_interval() == 0 {
            return Err("INTERVAL=0 never repeats".to_owned());
        }
        Ok(Self::with_defaults(parts, start, ends))
    }

    /// Takes from DTSTART what the rule leaves open (RFC 5545 section 3.3.10: "information is derived from DTSTART").
    fn with_defaults(parts: RRule<Unvalidated>, start: NaiveDateTime, until: Option<NaiveDateTime>) -> Self {
        let mut months = parts.get_by_month().to_vec();
        let mut month_days = parts.get_by_month_day().to_vec();
        let mut weekdays = parts.get_by_weekday().to_vec();
        let days_are_named = !(month_days.is_empty()
            && weekdays.is_empty()
            && parts.get_by_year_day().is_empty()
            && parts.get_by_week_no().is_empty());
        let frequency = parts.get_freq();
        if !days_are_named {
            let day = i8::try_from(start.day()).unwrap_or(1);
            match frequency {
                Frequency::Yearly => {
                    if months.is_empty() {
                        months.push(u8::try_from(start.month()).unwrap_or(1));
                    }
                    month_days.push(day);
                }
                Frequency::Monthly => month_days.push(day),
                Frequency::Weekly => weekdays.push(NWeekday::Every(start.weekday())),
                Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {}
            }
        }
        // The frequencies are ordered from YEARLY to SECONDLY.
        let times = |given: &[u8], from_start: u32, below: Frequency| {
            let mut times = given.to_vec();
            if times.is_empty() && frequency < below {
                times.push(u8::try_from(from_start).unwrap_or_default());
            }
            times.sort_unstable();
            times.dedup();
            times
        };
        Self {
            hours: times(parts.get_by_hour(), start.hour(), Frequency::Hourly),
            minutes: times(parts.get_by_minute(), start.minute(), Frequency::Minutely),
            seconds: times(parts.get_by_second(), start.second(), Frequency::Secondly),
            parts,
            start,
            until,
            months,
            month_days,
            weekdays,
        }
    }

    /// The last local time at which the rule gives a start.
    pub(super) fn until(&self) -> Option<NaiveDateTime> {
        self.until
    }

    /// Adds the starts from `from` to `to`, both included, as far as the budget reaches. Starts before DTSTART do not
    /// exist; those before `from` count for COUNT.
    pub(super) fn starts(
        &self,
        from: NaiveDateTime,
        to: NaiveDateTime,
        budget: &mut Budget,
        found: &mut Vec<NaiveDateTime>,
    ) {
        let mut left = self.parts.get_count();
        let last = self.until.map_or(to, |until| until.min(to));
        let mut index = if left.is_some() { 0 } else { self.index_at(from.max(self.start)) };
        let (mut set, day_cost) = (Vec::new(), self.day_cost());
        while let Some(period) = self.period(index)
            && period.begins <= last
        {
            let days = usize::try_from(period.days).unwrap_or(usize::MAX);
            set.clear();
            if !budget.spend(days.saturating_mul(day_cost).saturating_add(1)) || !self.fill(&period, budget, &mut set) {
                return budget.cut_at(period.begins);
            }
            self.keep_positions(&mut set);
            for at in set.iter().copied().filter(|at| *at >= self.start) {
                if at > last || left == Some(0) {
                    return;
                }
                left = left.map(|left| left - 1);
                if at >= from {
                    if !budget.give() {
                        return budget.cut_at(at);
                    }
                    found.push(at);
                }
            }
            index = self.next_index(index, &period);
        }
    }

    /// The index of the last period that begins by `at`, which is not before the start.
    fn index_at(&self, at: NaiveDateTime) -> u32 {
        let (start, interval) = (self.start, i64::from(self.parts.get_interval()));
        let months = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month0());
        let periods = match self.parts.get_freq() {
            Frequency::Yearly => i64::from(at.year() - start.year()),
            Frequency::Monthly => months(at) - months(start),
            Frequency::Weekly => (at.date() - self.week_begins(start.date())).num_days().div_euclid(7),
            Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                (at - self.even_start()).num_seconds().div_euclid(self.unit_seconds())
            }
        };
        u32::try_from(periods.div_euclid(interval).max(0)).unwrap_or(u32::MAX)
    }

    fn period(&self, index: u32) -> Option<Period> {
        let units = index.checked_mul(u32::from(self.parts.get_interval()))?;
        let date = self.start.date();
        let whole = |first: NaiveDate, days: i64| {
            Some(Period { begins: first.and_time(NaiveTime::MIN), days: u64::try_from(days).ok()? })
        };
        match self.parts.get_freq() {
            Frequency::Yearly => {
                let year = date.year().checked_add(i32::try_from(units).ok()?)?;
                let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
                whole(first, (first.checked_add_months(Months::new(12))? - first).num_days())
            }
            Frequency::Monthly => {
                let first = date.with_day(1)?.checked_add_months(Months::new(units))?;
                whole(first, (first.checked_add_months(Months::new(1))? - first).num_days())
            }
            Frequency::Weekly => whole(self.week_begins(date).checked_add_days(Days::new(u64::from(units) * 7))?, 7),
            Frequency::Daily => whole(date.checked_add_days(Days::new(u64::from(units)))?, 1),
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                let ahead = TimeDelta::try_seconds(i64::from(units) * self.unit_seconds())?;
                Some(Period { begins: self.even_start().checked_add_signed(ahead)?, days: 1 })
            }
        }
    }

    /// The next period that is worth looking at: one that repeats within a day leaps over days and hours that do not
    /// match.
    fn next_index(&self, index: u32, period: &Period) -> u32 {
        let next = index.saturating_add(1);
        if self.parts.get_freq() <= Frequency::Daily {
            return next;
        }
        let (date, hour) = (period.begins.date(), period.begins.hour());
        let leap_to = if !self.matches(date) {
            date.succ_opt().map(|date| date.and_time(NaiveTime::MIN))
        } else if !allows(&self.hours, hour) {
            date.and_hms_opt(hour, 0, 0).and_then(|at| at.checked_add_signed(TimeDelta::hours(1)))
        } else {
            None
        };
        // The period in which the leap lands may begin before it and has then been passed over already.
        leap_to.map_or(next, |at| next.max(self.index_at(at - TimeDelta::seconds(1)).saturating_add(1)))
    }

    /// Adds the starts within `period`, sorted. False when the budget ran out.
    fn fill(&self, period: &Period, budget: &mut Budget, set: &mut Vec<NaiveDateTime>) -> bool {
        let days = period.begins.date().iter_days().take(usize::try_from(period.days).unwrap_or_default());
        let at = period.begins;
        let (hour, minute, second) = (low(at.hour()), low(at.minute()), low(at.second()));
        let (hours, minutes, seconds) = match self.parts.get_freq() {
            Frequency::Yearly | Frequency::Monthly | Frequency::Weekly | Frequency::Daily => {
                (&self.hours[..], &self.minutes[..], &self.seconds[..])
            }
            Frequency::Hourly => (only(&self.hours, &hour), &self.minutes[..], &self.seconds[..]),
            Frequency::Minutely => (only(&self.hours, &hour), only(&self.minutes, &minute), &self.seconds[..]),
            Frequency::Secondly => {
                (only(&self.hours, &hour), only(&self.minutes, &minute), only(&self.seconds, &second))
            }
        };
        for date in days.filter(|date| self.matches(*date)) {
            if !budget.spend(hours.len() * minutes.len() * seconds.len()) {
                return false;
            }
            for hour in hours {
                for minute in minutes {
                    set.extend(seconds.iter().filter_map(|second| {
                        date.and_hms_opt(u32::from(*hour), u32::from(*minute), u32::from(*second))
                    }));
                }
            }
        }
        true
    }

    /// Steps that one day costs: more where hundreds of values are compared with it.
    fn day_cost(&self) -> usize {
        let lists = [
            self.months.len(),
            self.month_days.len(),
            self.weekdays.len(),
            self.parts.get_by_year_day().len(),
            self.parts.get_by_week_no().len(),
        ];
        1 + lists.iter().sum::<usize>() / VALUES_PER_STEP
    }

    /// Applies BYSETPOS.
    fn keep_positions(&self, set: &mut Vec<NaiveDateTime>) {
        let positions = self.parts.get_by_set_pos();
        if positions.is_empty() {
            return;
        }
        // Thousands of times may meet hundreds of positions.
        let positions: HashSet<i64> = positions.iter().map(|wanted| i64::from(*wanted)).collect();
        let count = i64::try_from(set.len()).unwrap_or(i64::MAX);
        let mut position = 0;
        set.retain(|_| {
            position += 1;
            positions.contains(&position) || positions.contains(&(position - count - 1))
        });
    }

    /// Whether all BY parts that name days allow `date`.
    fn matches(&self, date: NaiveDate) -> bool {
        let in_order = |from_front: i64, count: i64| [from_front, from_front - count - 1];
        let month_days = in_order(i64::from(date.day()), i64::from(date.num_days_in_month()));
        let days_in_year = if date.leap_year() { 366 } else { 365 };
        let year_days = in_order(i64::from(date.ordinal()), days_in_year);
        let named = |wanted: i64, actual: [i64; 2]| actual.contains(&wanted);

        allows(&self.months, date.month())
            && (self.month_days.is_empty() || self.month_days.iter().any(|day| named(i64::from(*day), month_days)))
            && (self.weekdays.is_empty() || self.weekdays.iter().any(|day| self.is_weekday(*day, date)))
            && (self.parts.get_by_year_day().is_empty()
                || self.parts.get_by_year_day().iter().any(|day| named(i64::from(*day), year_days)))
            && (self.parts.get_by_week_no().is_empty() || self.is_week(date))
    }

    /// Whether `date` is that weekday, or the nth of its month or year: RFC 5545 counts within the month for MONTHLY and
    /// for YEARLY with BYMONTH, within the year for other YEARLY, and gives the number no meaning elsewhere.
    fn is_weekday(&self, wanted: NWeekday, date: NaiveDate) -> bool {
        let (number, weekday) = match wanted {
            NWeekday::Every(weekday) => return weekday == date.weekday(),
            NWeekday::Nth(number, weekday) => (i64::from(number), weekday),
        };
        if weekday != date.weekday() {
            return false;
        }
        let days_in_year = if date.leap_year() { 366 } else { 365 };
        let (day, days) = match self.parts.get_freq() {
            Frequency::Yearly if self.months.is_empty() => (date.ordinal(), days_in_year),
            Frequency::Yearly | Frequency::Monthly => (date.day(), u32::from(date.num_days_in_month())),
            Frequency::Weekly | Frequency::Daily | Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                return true;
            }
        };
        number == i64::from((day - 1) / 7 + 1) || number == -i64::from((days - day) / 7 + 1)
    }

    /// Whether BYWEEKNO names the week of `date`. A week belongs to the year that has at least four of its days.
    fn is_week(&self, date: NaiveDate) -> bool {
        let fourth_day = |date: NaiveDate| self.week_begins(date).checked_add_days(Days::new(3));
        let week_of = |date: NaiveDate| fourth_day(date).map(|day| i64::from(day.ordinal0() / 7 + 1));
        let year = fourth_day(date).map(|day| day.year());
        // 28 December is always in the last week of its year, whatever day weeks begin with.
        let weeks = year.and_then(|year| NaiveDate::from_ymd_opt(year, 12, 28)).and_then(week_of);
        let (Some(week), Some(weeks)) = (week_of(date), weeks) else { return false };
        self.parts.get_by_week_no().iter().any(|wanted| [week, week - weeks - 1].contains(&i64::from(*wanted)))
    }

    fn week_begins(&self, date: NaiveDate) -> NaiveDate {
        date.week(self.parts.get_week_start()).checked_first_day().unwrap_or(date)
    }

    fn unit_seconds(&self) -> i64 {
        match self.parts.get_freq() {
            Frequency::Secondly => 1,
            Frequency::Minutely => 60,
            Frequency::Hourly => 3_600,
            Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => 86_400,
        }
    }

    /// The start of the day, hour, minute or second in which the series starts.
    fn even_start(&self) -> NaiveDateTime {
        let into = i64::from(self.start.num_seconds_from_midnight()).rem_euclid(self.unit_seconds());
        self.start - TimeDelta::seconds(into)
    }
}

/// An empty list names nothing and so allows everything.
fn allows(list: &[u8], value: u32) -> bool {
    list.is_empty() || list.iter().any(|allowed| u32::from(*allowed) == value)
}

/// `value` alone, when the list allows it.
fn only<'a>(list: &[u8], value: &'a u8) -> &'a [u8] {
    if allows(list, u32::from(*value)) { std::slice::from_ref(value) } else { &[] }
}

fn low(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}
