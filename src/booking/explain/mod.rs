//! Why a moment is busy, free, closed or not known.
//!
//! The verdict is that of [`check`], over the same agendas that answer "is it free?". The causes are what those agendas
//! were made from, and what was left out of them on purpose.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

mod events;
mod find;

use super::{
    BookingError, Desk, Doubt, Standing,
    freshness::Terms,
    office::{Diary, Office, What, Wish, around},
    together::judge_together,
};
use crate::{
    availability::{Agenda, DateOverride, Door, Purpose, Reason, Rules, check},
    domain::{BookingId, BusinessId, CalendarId, Interval, ResourceId},
    store::{self, Tx},
};
use find::{Found, Scope};

/// Most resources that one answer explains.
const RESOURCES_MAX: usize = 50;
/// What counts as a moment.
const MOMENT: TimeDelta = TimeDelta::microseconds(1);

/// What somebody wants to understand.
#[derive(Debug, Clone)]
pub struct ExplainQuestion {
    /// The moment.
    pub at: DateTime<Utc>,
    /// Of whom, by id or name; of everybody, or of everybody who does the service, when absent.
    pub resource: Option<String>,
    /// Whether this could begin then, by id or name.
    pub service: Option<String>,
}

/// What a moment is for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing stands against it.
    Free,
    /// An event or booking is there.
    Busy,
    /// Outside the opening hours, whatever else is there.
    Closed,
    /// The mirror does not know.
    Unknown,
}

/// Why a moment is what it is, of each resource.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Whether all that the service needs at once could begin then, or why not; none when it needs one resource.
    pub together: Option<Result<(), Reason>>,
    /// In the order of their ids, group by group where several are needed.
    pub resources: Vec<ResourceExplained>,
    /// There are more resources than are told.
    pub truncated: bool,
    /// How the mirror stands.
    pub standing: Standing,
    /// The zone to tell times in.
    pub zone: Tz,
}

/// Why a moment is what it is for one resource.
#[derive(Debug, Clone)]
pub struct ResourceExplained {
    /// Who.
    pub resource: ResourceId,
    /// As receptionists call it.
    pub name: String,
    /// In which group of what the service needs it stands, from 0.
    pub group: Option<usize>,
    /// What the moment is.
    pub verdict: Verdict,
    /// Whether the service could begin then, or why not; none when no service was asked about.
    pub start: Option<Result<(), Reason>>,
    /// Everything that has to do with it.
    pub causes: Vec<Cause>,
    /// There are more causes than are told, or than were looked through.
    pub truncated: bool,
}

/// One thing that has to do with a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Whether it speaks against the moment, or against beginning the service then.
    pub blocks: bool,
    /// What it is.
    pub kind: CauseKind,
}

/// What has to do with a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseKind {
    /// An event of the owner's.
    Event {
        /// In which calendar.
        calendar: CalendarId,
        /// Google's id.
        event_id: String,
        /// Google's id of the series that it belongs to.
        series_id: Option<String>,
        /// `single`, `instance` of a series as its rules give it, or `exception`.
        occurs: &'static str,
        /// When it is.
        interval: Interval,
        /// Its title.
        title: Option<String>,
        /// Why it does not block: `transparent`, `declined` or `cancelled`.
        ignored: Option<&'static str>,
    },
    /// The event of a booking. It counts through its booking; by itself only while the owner's time differs.
    OwnEvent {
        /// In which calendar.
        calendar: CalendarId,
        /// Google's id.
        event_id: String,
        /// Whose event it is.
        booking: BookingId,
        /// When it is.
        interval: Interval,
    },
    /// A booking, or a hold.
    Booking {
        /// Which.
        booking: BookingId,
        /// The word for its state.
        state: &'static str,
        /// Its time.
        interval: Interval,
        /// What it occupies, buffers included.
        claim: Interval,
        /// When a hold runs out.
        expires_at: Option<DateTime<Utc>>,
    },
    /// The opening hours.
    Hours {
        /// Whether they are the resource's own; else the business's.
        own: bool,
        /// What they say.
        door: Door,
    },
    /// The date is not like the week: what counts instead of the opening hours.
    Override {
        /// Whether it is the resource's own; else the business's.
        own: bool,
        /// Which dates, and what they are.
        dates: DateOverride,
        /// What it says.
        door: Door,
    },
    /// A rule of the service.
    Rule {
        /// `past`, `notice`, `horizon`, `cap`, `buffer` or `step`.
        rule: &'static str,
        /// It would be kept from here on.
        from: Option<DateTime<Utc>>,
        /// It would be kept until here.
        to: Option<DateTime<Utc>>,
    },
    /// A calendar that says nothing about the moment.
    Coverage {
        /// Which.
        calendar: CalendarId,
        /// What is known of it; nothing when it was never read in full.
        covered: Option<Interval>,
    },
    /// A calendar whose mirror is behind.
    Stale {
        /// Which.
        calendar: CalendarId,
        /// The start of its last successful pass.
        as_of: Option<DateTime<Utc>>,
        /// Why.
        doubt: Doubt,
    },
}

impl Desk {
    /// Why a moment is busy, free, closed or not known. Explains the mirror as it is: Google is not asked.
    pub async fn explain(&self, business: BusinessId, question: ExplainQuestion) -> Result<Explanation, BookingError> {
        let terms = Terms { purpose: Purpose::Question, since: None, fresh_for: self.limits.fresh_for, looked: true };
        let ask = store::work::<Explanation, BookingError, _>(move |tx| {
            Box::pin(async move { explain(tx, business, &question, &terms).await })
        });
        self.store.read(ask).await
    }
}

async fn explain(
    tx: &mut Tx,
    business: BusinessId,
    question: &ExplainQuestion,
    terms: &Terms,
) -> Result<Explanation, BookingError> {
    let (now, office) = (tx.now(), Office::read(tx, business).await?);
    let what = question.service.clone().map_or(What::Lasting(MOMENT), What::Service);
    let order = office.order(&Wish { what, resource: question.resource.clone(), call_id: None })?;
    let rules = question.service.is_some().then_some(order.rules);
    let everybody = order.everybody();
    let window = around(question.at, &order.rules)?;
    let mut diary = Diary::read(tx, business, &everybody, window, &[]).await?;
    diary.count(tx, &office, &order, window, &[]).await?;
    let groups = office.agendas_together(&order, &diary, terms, now);
    let is_together = !order.besides.is_empty();
    let together = is_together.then(|| judge_together(&groups, &order, question.at, now).map(|_| ()));
    let mut resources = Vec::new();
    for (place, agendas) in groups.iter().enumerate() {
        for agenda in agendas.iter().take(RESOURCES_MAX.saturating_sub(resources.len())) {
            let scope = Scope { office: &office, agenda, at: question.at, rules, window, terms, now };
            let group = is_together.then_some(place);
            resources.push(ResourceExplained { group, ..one(tx, &scope).await? });
        }
    }
    Ok(Explanation {
        together,
        resources,
        truncated: everybody.len() > RESOURCES_MAX,
        standing: Standing::of(office.blocking(&everybody), now, terms.fresh_for),
        zone: office.zone(order.named),
    })
}

/// What [`check`] says of the instant `at` alone, whenever it is asked.
fn verdict(agenda: &Agenda<'_>, at: DateTime<Utc>) -> Verdict {
    match check(agenda, &Rules::lasting(MOMENT), at, at) {
        Ok(()) => Verdict::Free,
        Err(Reason::Closed) => Verdict::Closed,
        Err(reason) if reason.is_unknown() => Verdict::Unknown,
        Err(_) => Verdict::Busy,
    }
}

async fn one(tx: &mut Tx, scope: &Scope<'_>) -> Result<ResourceExplained, BookingError> {
    let (agenda, at) = (scope.agenda, scope.at);
    let Found { causes, truncated } = scope.find(tx).await?;
    let resource = scope.office.resources.iter().find(|resource| resource.id == agenda.resource);
    Ok(ResourceExplained {
        resource: agenda.resource,
        name: resource.map(|resource| resource.name.clone()).unwrap_or_default(),
        group: None,
        verdict: verdict(agenda, at),
        start: scope.rules.map(|rules| check(agenda, &rules, at, scope.now)),
        causes,
        truncated,
    })
}
