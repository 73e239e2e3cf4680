//! What the rows of accounts, calendars and deliveries say about the health of the whole. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Report;
use crate::{
    config,
    domain::drift::whole_seconds,
    store::{
        accounts::{Account, AccountStatus},
        audits::{Audit, AuditOutcome},
        calendars::Calendar,
        outbox::Depth,
    },
};

/// An audit should not be older: one a week, and a day for what is in the way.
const AUDIT_AGE_MAX: TimeDelta = TimeDelta::days(8);
/// So long after it was due, nobody seems to do it.
const LATE: TimeDelta = TimeDelta::minutes(5);
/// So many failures in a row are no hiccup.
const FAILURES_MANY: i64 = 5;
/// Clocks may differ by so much.
const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(2);
const CLOCK_FAILURE: TimeDelta = TimeDelta::seconds(60);

/// A stretch for people: its two largest units are enough.
pub(super) fn spoken(time: TimeDelta) -> String {
    let seconds = time.num_seconds();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Enough of an address for its owner to know it by.
pub(super) fn masked(email: &str) -> String {
    let (name, domain) = email.split_once('@').unwrap_or((email, ""));
    let first = name.chars().next().map(String::from).unwrap_or_default();
    if domain.is_empty() { format!("{first}…") } else { format!("{first}…@{domain}") }
}

pub(super) fn clock(report: &mut Report, whose: &str, theirs: DateTime<Utc>, ours: DateTime<Utc>, blur: TimeDelta) {
    let apart = (theirs - ours).abs();
    let about = format!("clock against {whose}");
    let what = "Let a time service such as chrony or systemd-timesyncd set the clocks of all machines.";
    if apart > CLOCK_FAILURE + blur {
        report.fail(about, format!("they are {} apart", spoken(apart)), what);
    } else if apart > CLOCK_WARNING + blur {
        report.warn(about, format!("they are {} apart", spoken(apart)), what);
    } else {
        report.ok(about, "they agree");
    }
}

pub(super) fn account(report: &mut Report, account: &Account) {
    let about = format!("account {} ({})", account.id, masked(&account.email));
    match account.status {
        AccountStatus::Connected => report.ok(about, "connected"),
        AccountStatus::NeedsReconnect => {
            let why = account.last_error.as_deref().unwrap_or("Google ended the grant");
            report.fail(
                about,
                format!("needs to be connected again: {why}"),
                "Send the owner a new link: POST /api/v1/auth/google-calendar/start.",
            );
        }
        AccountStatus::Disconnected => report.ok(about, "disconnected by its owner"),
    }
}

/// What a calendar is judged by, besides itself.
pub(super) struct Circumstances<'a> {
    pub(super) now: DateTime<Utc>,
    pub(super) sync: &'a config::Sync,
    /// Whether Google can push to this installation at all.
    pub(super) pushed_to: bool,
    /// Its last audit, and before it the last that found drift.
    pub(super) audits: &'a [Audit],
}

pub(super) fn calendar(report: &mut Report, calendar: &Calendar, around: &Circumstances<'_>) {
    let (about, mirror, before) = (format!("calendar {}", calendar.id), &calendar.mirror, report.findings.len());
    if mirror.account_status != AccountStatus::Connected {
        // Its account says what is to be done.
        return report.ok(about, "not read while its account is not connected");
    }
    let error = mirror.last_error.as_deref().unwrap_or("no reason is known");
    if mirror.failures > 0 {
        let found = format!("{} passes in a row failed: {error}", mirror.failures);
        let what =
            "Passes are tried again by themselves; if this lasts, see docs/operating.md, \"A calendar is failing\".";
        if mirror.failures >= FAILURES_MANY {
            report.fail(&about, found, what);
        } else {
            report.warn(&about, found, what);
        }
    }
    let late = around.now - mirror.due_at;
    if late > LATE {
        let found = format!("it should have been looked at {} ago", spoken(late));
        report.fail(&about, found, "Nobody works on it. See that `slotd serve` runs on this database.");
    }
    let watched = mirror.watched_until.filter(|until| *until > around.now);
    let Some(as_of) = mirror.as_of else {
        return report.warn(about, "its first sync has not ended", "Wait for it; the status shows its progress.");
    };
    if mirror.sync_token.is_none() {
        let what = "Wait for it; until then the rows from before are served as stale.";
        report.warn(&about, "it is being synced anew", what);
    }
    let period = if watched.is_some() { around.sync.poll_watched_s } else { around.sync.poll_unwatched_s };
    let age = around.now - as_of;
    if age > TimeDelta::seconds(i64::from(period) * 2) {
        let found = format!("the last look at Google was {} ago", spoken(age));
        report.warn(&about, found, "Ask for one: POST /api/v1/settings/{business_id}/calendar/sync.");
    }
    if watched.is_none() && mirror.watchable && around.pushed_to && calendar.blocks && calendar.resource.is_some() {
        let what = "slotd polls meanwhile and asks for a channel again. If this lasts, see docs/operating.md, \"Push and TLS\".";
        report.warn(&about, "Google does not push its changes: there is no live channel", what);
    }
    if mirror.odd_events > 0 {
        let found = format!("{} events could only be read in part", mirror.odd_events);
        report.warn(&about, found, "They count as busy where their times can be told. Let the owner simplify them.");
    }
    audits(report, &about, around);
    if report.findings.len() == before {
        let channel =
            watched.map_or_else(|| "polled".to_owned(), |until| format!("watched for {}", spoken(until - around.now)));
        let audit = around.audits.first().map_or_else(
            || "not audited yet".to_owned(),
            |audit| format!("found equal {} ago", spoken(around.now - audit.started_at)),
        );
        report.ok(about, format!("looked at {} ago, {channel}, {audit}", spoken(age)));
    }
}

fn audits(report: &mut Report, about: &str, around: &Circumstances<'_>) {
    let Some(last) = around.audits.first() else { return };
    let age = around.now - last.started_at;
    match last.outcome {
        AuditOutcome::Drift => {
            let found = format!(
                "its last audit, {} ago, found {} s busy at Google and free here, {} s free at Google and busy here, and {} of {} events not the same",
                spoken(age),
                whole_seconds(last.missing),
                whole_seconds(last.surplus),
                last.events_differing,
                last.events_compared,
            );
            report.fail(
                about,
                found,
                "It is healed by itself; if it comes back, see docs/operating.md, \"An audit found drift\".",
            );
        }
        AuditOutcome::Failed => {
            let why = last.why.as_deref().unwrap_or("no reason is known");
            let found = format!("its last audit failed: {why}");
            report.warn(
                about,
                found,
                "It is tried again within a day, or now: POST /api/v1/settings/{business_id}/calendar/audit.",
            );
        }
        AuditOutcome::Equal if age > AUDIT_AGE_MAX => {
            let found = format!("its last audit was {} ago", spoken(age));
            report.warn(
                about,
                found,
                "Let jobs.audit run more often, or ask: POST /api/v1/settings/{business_id}/calendar/audit.",
            );
        }
        AuditOutcome::Equal => {}
    }
}

pub(super) fn outbox(report: &mut Report, depth: Depth, now: DateTime<Utc>) {
    let before = report.findings.len();
    if depth.dead > 0 {
        let found = format!("{} deliveries were given up", depth.dead);
        report.fail("outbox", found, "See docs/operating.md, \"A booking says calendar_sync: failed\".");
    }
    if let Some(age) = depth.oldest.map(|oldest| now - oldest).filter(|age| *age > LATE) {
        let found = format!("{} deliveries wait, the oldest for {}", depth.waiting, spoken(age));
        report.warn(
            "outbox",
            found,
            "See that `slotd serve` runs, that accounts are connected and that Google answers.",
        );
    }
    if report.findings.len() == before {
        report.ok("outbox", format!("{} deliveries wait", depth.waiting));
    }
}

/// What the rows of notices say.
pub(super) struct NoticesStanding {
    pub(super) depth: Depth,
    /// Notices to the operator that were given up.
    pub(super) untold: i64,
    /// Endpoints that slotd disabled.
    pub(super) disabled: i64,
    /// Whether there is a way to the operator.
    pub(super) support: bool,
}

pub(super) fn notices(report: &mut Report, standing: &NoticesStanding, now: DateTime<Utc>) {
    let (about, before) = ("notices", report.findings.len());
    let NoticesStanding { depth, untold, disabled, support } = standing;
    if depth.dead > 0 {
        let what = "See `slotd deliveries list`; when the cause is gone: `slotd deliveries retry --all`.";
        report.fail(about, format!("{} notices to webhook endpoints were given up", depth.dead), what);
    }
    if *disabled > 0 {
        let what = "Once they are mended, their owners enable them again: PATCH …/webhook-endpoints/{id}.";
        report.warn(about, format!("{disabled} webhook endpoints failed for long and are disabled"), what);
    }
    if let Some(age) = depth.oldest.map(|oldest| now - oldest).filter(|age| *age > LATE) {
        let found = format!("{} notices wait, the oldest for {}", depth.waiting, spoken(age));
        report.warn(about, found, "See that `slotd serve` runs, and what GET …/webhook-endpoints says of failures.");
    }
    if *untold > 0 {
        let what = "See that the mail relay or the address in [support] answers; this list is all there is of them.";
        report.fail("support", format!("{untold} notices to the support address were given up"), what);
    } else if !support {
        // An installation may do without: what is given up is told here, and by the metrics.
        let unset =
            "nobody is told of deliveries that are given up: neither support.mail_to nor support.post_url is set";
        report.ok("support", unset);
    }
    if report.findings.len() == before {
        report.ok(about, format!("{} notices wait", depth.waiting));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::doctor::report::Level,
        domain::{AccountId, BusinessId, CalendarId, Interval, ResourceId},
        store::calendars::Mirror,
    };

    const NOW: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    fn healthy() -> Calendar {
        let uuid = uuid::Uuid::from_u128(1);
        let coverage = Interval::new(NOW - TimeDelta::days(35), NOW + TimeDelta::days(400));
        Calendar {
            business: BusinessId::new(uuid),
            id: CalendarId::new(uuid),
            account: AccountId::new(uuid),
            google_id: "ada@example.com".to_owned(),
            summary: "Ada's".to_owned(),
            time_zone: chrono_tz::UTC,
            access_role: "owner".to_owned(),
            resource: Some(ResourceId::new(uuid)),
            blocks: true,
            target: true,
            mirror: Mirror {
                as_of: Some(NOW - TimeDelta::seconds(90)),
                sync_token: Some("token".to_owned()),
                coverage,
                due_at: NOW + TimeDelta::hours(3),
                watched_until: Some(NOW + TimeDelta::days(6)),
                ..Mirror::unread(AccountStatus::Connected)
            },
        }
    }

    fn audit(outcome: AuditOutcome, age: TimeDelta) -> Audit {
        let calendar = healthy();
        Audit {
            business: calendar.business,
            calendar: calendar.id,
            started_at: NOW - age,
            finished_at: NOW - age,
            outcome,
            missing: TimeDelta::milliseconds(3_600_001),
            surplus: TimeDelta::zero(),
            events_differing: 2,
            events_compared: 40,
            healed_at: None,
            why: Some("Google is unavailable".to_owned()),
        }
    }

    fn judged(one: &Calendar, audits: &[Audit]) -> Vec<(Level, String)> {
        let (mut report, sync) = (Report::default(), config::Sync::default());
        calendar(&mut report, one, &Circumstances { now: NOW, sync: &sync, pushed_to: true, audits });
        report.findings.into_iter().map(|finding| (finding.level, finding.found)).collect()
    }

    fn changed(change: impl FnOnce(&mut Mirror)) -> Vec<(Level, String)> {
        let mut one = healthy();
        change(&mut one.mirror);
        judged(&one, &[])
    }

    #[test]
    fn a_healthy_calendar_is_one_good_line() {
        let found = judged(&healthy(), &[audit(AuditOutcome::Equal, TimeDelta::days(3))]);
        let line = "looked at 90 s ago, watched for 6 days, found equal 3 days ago";
        assert_eq!(found, [(Level::Ok, line.to_owned())]);
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let said = |found: Vec<(Level, String)>, level: Level, part: &str| {
            assert!(found.len() == 1 && found[0].0 == level && found[0].1.contains(part), "{part}: {found:?}");
        };
        said(changed(|mirror| mirror.failures = 2), Level::Warning, "2 passes in a row failed");
        said(changed(|mirror| mirror.failures = 5), Level::Failure, "5 passes in a row failed");
        said(changed(|mirror| mirror.due_at = NOW - TimeDelta::hours(3)), Level::Failure, "3 h ago");
        said(changed(|mirror| mirror.as_of = None), Level::Warning, "first sync");
        said(changed(|mirror| mirror.sync_token = None), Level::Warning, "synced anew");
        said(changed(|mirror| mirror.as_of = Some(NOW - TimeDelta::hours(9))), Level::Warning, "9 h ago");
        said(changed(|mirror| mirror.watched_until = None), Level::Warning, "no live channel");
        said(changed(|mirror| mirror.odd_events = 3), Level::Warning, "3 events");
        let audited = |outcome, days| judged(&healthy(), &[audit(outcome, TimeDelta::days(days))]);
        said(audited(AuditOutcome::Drift, 1), Level::Failure, "found 3601 s busy at Google and free here");
        said(audited(AuditOutcome::Failed, 1), Level::Warning, "failed: Google is unavailable");
        said(audited(AuditOutcome::Equal, 9), Level::Warning, "9 days ago");
    }

    #[test]
    fn clocks_and_deliveries_are_judged_by_how_far_they_are_off() {
        let mut report = Report::default();
        for apart in [0, 3, -90] {
            clock(&mut report, "Google", NOW + TimeDelta::seconds(apart), NOW, TimeDelta::zero());
        }
        outbox(&mut report, Depth { waiting: 2, dead: 0, oldest: Some(NOW) }, NOW);
        outbox(&mut report, Depth { waiting: 2, dead: 0, oldest: Some(NOW - TimeDelta::hours(1)) }, NOW);
        outbox(&mut report, Depth { waiting: 0, dead: 1, oldest: None }, NOW);
        let levels: Vec<Level> = report.findings.iter().map(|finding| finding.level).collect();
        let (ok, warning, failure) = (Level::Ok, Level::Warning, Level::Failure);
        assert_eq!(levels, [ok, warning, failure, ok, warning, failure]);
    }

    #[test]
    fn notices_that_were_given_up_and_a_missing_support_address_are_told() {
        let mut report = Report::default();
        let fine = Depth { waiting: 1, dead: 0, oldest: Some(NOW) };
        let standing = |depth, untold, disabled, support| NoticesStanding { depth, untold, disabled, support };
        notices(&mut report, &standing(fine, 0, 0, true), NOW);
        notices(&mut report, &standing(fine, 0, 0, false), NOW);
        notices(&mut report, &standing(Depth { dead: 1, ..fine }, 0, 0, true), NOW);
        notices(&mut report, &standing(fine, 1, 0, true), NOW);
        notices(&mut report, &standing(fine, 0, 1, true), NOW);
        let levels: Vec<Level> = report.findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Ok, Level::Failure, Level::Failure, Level::Warning]);
    }

    #[test]
    fn an_address_is_never_shown_whole() {
        assert_eq!((masked("ada@example.com"), masked("ada")), ("a…@example.com".to_owned(), "a…".to_owned()));
    }
}
