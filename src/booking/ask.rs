//! Questions: is it free, when is it free, when is somebody busy.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::{
    BookingError, Desk,
    freshness::{Standing, Terms},
    office::{Diary, Office, Wish, around, find_alternatives},
    together::judge_together,
};
use crate::{
    availability::{Alternative, Besides, Course, Purpose, Reason, Rules, Slot, Voice, slots_together},
    domain::{BookingId, BusinessId, Interval, ResourceId, ServiceId, interval::merge},
    store::{self, Tx, calendars::Calendar},
};

/// The answer to "is it free?".
#[derive(Debug, Clone)]
pub struct Answer {
    /// Yes, no, or not known.
    pub available: Option<bool>,
    /// Why not.
    pub reason: Option<Reason>,
    /// The time that was asked about.
    pub interval: Interval,
    /// Who could do it then: first whom a booking gets that names nobody; where several are needed, who would be taken, the
    /// lead first.
    pub resources: Vec<ResourceId>,
    /// What else could be offered.
    pub alternatives: Vec<Alternative>,
    /// Of which service they are; a bare time when absent.
    pub service: Option<ServiceId>,
    /// How the mirror stands.
    pub standing: Standing,
    /// How to tell times.
    pub voice: Voice,
    /// The instant of the answer.
    pub now: DateTime<Utc>,
}

/// "When can I come?"
#[derive(Debug, Clone)]
pub struct SlotsQuestion {
    /// What is wanted.
    pub wish: Wish,
    /// Slots start in here.
    pub range: Interval,
    /// At most so many.
    pub limit: usize,
    /// Spread over days and times of day, rather than the soonest.
    pub diverse: bool,
}

/// Somebody whose time is not known, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Who.
    pub resource: ResourceId,
    /// Why.
    pub reason: Reason,
}

/// The answer to "when can I come?".
#[derive(Debug, Clone)]
pub struct SlotsAnswer {
    /// In the order of their starts.
    pub slots: Vec<Slot>,
    /// Of which service they are; a bare time when absent.
    pub service: Option<ServiceId>,
    /// Whose time is not known, so that there may be more slots.
    pub gaps: Vec<Gap>,
    /// How the mirror stands.
    pub standing: Standing,
    /// How to tell times.
    pub voice: Voice,
    /// The instant of the answer.
    pub now: DateTime<Utc>,
}

/// A stretch during which a resource cannot be booked because it is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// Who.
    pub resource: ResourceId,
    /// When.
    pub interval: Interval,
}

/// The answer to "when is somebody busy?".
#[derive(Debug, Clone)]
pub struct BusyAnswer {
    /// Merged for each resource, clipped to what was asked, in the order of their starts. `None` when it may not be told:
    /// a list without the busy time of somebody would look as if they were free.
    pub busy: Option<Vec<Busy>>,
    /// Whose time is not known, or not for the whole range.
    pub gaps: Vec<Gap>,
    /// How the mirror stands.
    pub standing: Standing,
    /// The zone to tell times in.
    pub zone: Tz,
}

/// What came of trying to answer.
enum Attempt<T> {
    Answered(T),
    /// These calendars are to be looked at first.
    Behind(Vec<Calendar>),
}

impl Desk {
    /// Answers a question on one state of the tables; when the business or the caller wants it, on a second one, after a
    /// look at Google.
    async fn ask<T, F>(
        &self,
        business: BusinessId,
        max_staleness: Option<TimeDelta>,
        question: F,
    ) -> Result<T, BookingError>
    where
        F: for<'t> Fn(&'t mut Tx, Terms) -> BoxFuture<'t, Result<Attempt<T>, BookingError>> + Clone + Send + 'static,
        T: Send + 'static,
    {
        let deadline = self.deadline();
        let mut terms = Terms {
            purpose: Purpose::Question,
            since: max_staleness.map(|age| self.clock.now() - age),
            fresh_for: self.limits.fresh_for,
            looked: false,
        };
        loop {
            let question = question.clone();
            let work = store::work::<Attempt<T>, BookingError, _>(move |tx| question(tx, terms));
            match self.store.read(work).await? {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Behind(calendars) => self.look(business, calendars, &terms, deadline).await?,
            }
            terms.looked = true;
        }
    }

    /// Whether `wish` can be had at `start`, and else what can. When the mirror is older than `max_staleness`, Google is
    /// asked first, under a deadline.
    pub async fn is_free(
        &self,
        business: BusinessId,
        wish: Wish,
        start: DateTime<Utc>,
        max_staleness: Option<TimeDelta>,
    ) -> Result<Answer, BookingError> {
        let call_id = wish.call_id.clone();
        let asked = self.ask(business, max_staleness, move |tx, terms| {
            let wish = wish.clone();
            Box::pin(async move { is_free(tx, business, &wish, start, &terms).await })
        });
        let answer = asked.await?;
        // A yes is an offer, of whoever comes first.
        let free = answer.resources.first().map(|resource| Slot {
            interval: answer.interval,
            resource: *resource,
            besides: Besides::default(),
        });
        self.note_offers(business, call_id.as_deref(), answer.service, free);
        self.note_alternatives(business, call_id.as_deref(), answer.service, &answer.alternatives);
        Ok(answer)
    }

    /// When `wish` can be had.
    pub async fn free_slots(
        &self,
        business: BusinessId,
        asked: SlotsQuestion,
        max_staleness: Option<TimeDelta>,
    ) -> Result<SlotsAnswer, BookingError> {
        let call_id = asked.wish.call_id.clone();
        let answer = self.ask(business, max_staleness, move |tx, terms| {
            let asked = asked.clone();
            Box::pin(async move { free_slots(tx, business, &asked, &terms).await })
        });
        let answer = answer.await?;
        self.note_offers(business, call_id.as_deref(), answer.service, answer.slots.iter().copied());
        Ok(answer)
    }

    /// When the resources of a business, or one of them, are busy: by their calendars, or by bookings and their buffers.
    pub async fn busy(
        &self,
        business: BusinessId,
        resource: Option<String>,
        range: Interval,
        max_staleness: Option<TimeDelta>,
    ) -> Result<BusyAnswer, BookingError> {
        self.ask(business, max_staleness, move |tx, terms| {
            let resource = resource.clone();
            Box::pin(async move { busy(tx, business, resource.as_deref(), range, &terms).await })
        })
        .await
    }

    /// How the mirror of a business stands, all calendars that block together.
    pub async fn standing(&self, business: BusinessId) -> Result<(Office, Standing), BookingError> {
        let fresh_for = self.limits.fresh_for;
        let ask = store::work::<(Office, Standing), BookingError, _>(move |tx| {
            Box::pin(async move {
                let (now, office) = (tx.now(), Office::read(tx, business).await?);
                let blocking =
                    office.calendars.iter().filter(|calendar| calendar.blocks && calendar.resource.is_some());
                let standing = Standing::of(blocking, now, fresh_for);
                Ok((office, standing))
            })
        });
        self.store.read(ask).await
    }
}

/// What the call that asks holds itself.
async fn own_holds(tx: &mut Tx, business: BusinessId, wish: &Wish) -> Result<Vec<BookingId>, BookingError> {
    match &wish.call_id {
        Some(call_id) => Ok(tx.holds_of_call(business, call_id).await?),
        None => Ok(Vec::new()),
    }
}

async fn is_free(
    tx: &mut Tx,
    business: BusinessId,
    wish: &Wish,
    start: DateTime<Utc>,
    terms: &Terms,
) -> Result<Attempt<Answer>, BookingError> {
    let (now, office) = (tx.now(), Office::read(tx, business).await?);
    let order = office.order(wish)?;
    let window = around(start, &order.rules)?;
    let everybody = order.everybody();
    let behind = office.behind(&everybody, terms, now);
    if !behind.is_empty() {
        return Ok(Attempt::Behind(behind));
    }
    let mine = own_holds(tx, business, wish).await?;
    let mut diary = Diary::read(tx, business, &everybody, window, &mine).await?;
    diary.count(tx, &office, &order, window, &mine).await?;
    diary.weigh(tx, &office, &everybody, window).await?;
    let able = judge_together(&office.agendas_together(&order, &diary, terms, now), &order, start, now);
    let verdict = able.map(|able| office.told(&order, able, terms, now));
    let alternatives = match &verdict {
        Ok(_) => Vec::new(),
        Err(_) => find_alternatives(tx, &office, &order, start, &mine, terms).await?,
    };
    // A yes rests on the calendars of those who can do it; anything else on all that were asked.
    let matter = verdict.as_ref().unwrap_or(&everybody);
    let end = start + order.rules.duration;
    let empty = || BookingError::Invalid { field: "end", detail: "it must be after `start`".to_owned() };
    Ok(Attempt::Answered(Answer {
        available: match &verdict {
            Ok(_) => Some(true),
            Err(reason) if reason.is_unknown() => None,
            Err(_) => Some(false),
        },
        reason: verdict.as_ref().err().copied(),
        interval: Interval::new(start, end).ok_or_else(empty)?,
        standing: Standing::of(office.blocking(matter), now, terms.fresh_for),
        resources: verdict.clone().unwrap_or_default(),
        alternatives,
        service: order.service,
        voice: office.voice(order.named),
        now,
    }))
}

async fn free_slots(
    tx: &mut Tx,
    business: BusinessId,
    asked: &SlotsQuestion,
    terms: &Terms,
) -> Result<Attempt<SlotsAnswer>, BookingError> {
    let (now, office) = (tx.now(), Office::read(tx, business).await?);
    let order = office.order(&asked.wish)?;
    let everybody = order.everybody();
    let behind = office.behind(&everybody, terms, now);
    if !behind.is_empty() {
        return Ok(Attempt::Behind(behind));
    }
    let rules = order.rules;
    let window = asked.range.widen(rules.buffer_before, rules.duration + rules.buffer_after).unwrap_or(asked.range);
    let mine = own_holds(tx, business, &asked.wish).await?;
    let mut diary = Diary::read(tx, business, &everybody, window, &mine).await?;
    diary.count(tx, &office, &order, asked.range, &mine).await?;
    diary.weigh(tx, &office, &everybody, asked.range).await?;
    let groups = office.agendas_together(&order, &diary, terms, now);
    let needed = bookable(asked.range, &rules, now);
    Ok(Attempt::Answered(SlotsAnswer {
        slots: slots_together(&groups, &rules, asked.range, now, asked.limit, asked.diverse),
        gaps: gaps(&office, &everybody, needed, terms, now),
        standing: Standing::of(office.blocking(&everybody), now, terms.fresh_for),
        service: order.service,
        voice: office.voice(order.named),
        now,
    }))
}

async fn busy(
    tx: &mut Tx,
    business: BusinessId,
    resource: Option<&str>,
    range: Interval,
    terms: &Terms,
) -> Result<Attempt<BusyAnswer>, BookingError> {
    let (now, office) = (tx.now(), Office::read(tx, business).await?);
    let named = resource.map(|text| office.resource(text)).transpose()?;
    let asked: Vec<ResourceId> = match named {
        Some(id) => vec![id],
        None => office.resources.iter().map(|resource| resource.id).collect(),
    };
    let behind = office.behind(&asked, terms, now);
    if !behind.is_empty() {
        return Ok(Attempt::Behind(behind));
    }
    let diary = Diary::read(tx, business, &asked, range, &[]).await?;
    let agendas = office.agendas(&asked, &diary, terms, now);
    let told = agendas.iter().all(|agenda| agenda.withheld.is_none()).then(|| {
        let mut busy = Vec::new();
        for agenda in &agendas {
            let all = merge([agenda.busy, agenda.claims].concat());
            let clipped = all.into_iter().filter_map(|interval| interval.clip(range));
            busy.extend(clipped.map(|interval| Busy { resource: agenda.resource, interval }));
        }
        busy.sort_by_key(|busy| (busy.interval, busy.resource));
        busy
    });
    Ok(Attempt::Answered(BusyAnswer {
        busy: told,
        gaps: gaps(&office, &asked, Some(range), terms, now),
        standing: Standing::of(office.blocking(&asked), now, terms.fresh_for),
        zone: office.zone(named),
    }))
}

/// The part of `range` that bookings can be made in, with what they occupy around it. `None` when there is none.
fn bookable(range: Interval, rules: &Rules, now: DateTime<Utc>) -> Option<Interval> {
    let earliest = range.start().max(now.checked_add_signed(rules.minimum_notice)?);
    let latest = range.end().min(now.checked_add_signed(rules.horizon)?);
    Interval::new(earliest, latest)?.widen(rules.buffer_before, rules.duration + rules.buffer_after)
}

/// Whose time is not known, on these terms, in all of `needed`.
fn gaps(
    office: &Office,
    asked: &[ResourceId],
    needed: Option<Interval>,
    terms: &Terms,
    now: DateTime<Utc>,
) -> Vec<Gap> {
    let gap = |resource: ResourceId| {
        let (standing, course) = office.course(resource, terms, now);
        let covers = |needed| standing.coverage.is_none_or(|coverage| coverage.covers(needed));
        match course {
            Course::Refuse(reason) => Some(Gap { resource, reason }),
            _ if needed.is_none_or(covers) => None,
            _ => Some(Gap { resource, reason: Reason::OutsideCoverage }),
        }
    };
    asked.iter().filter_map(|id| gap(*id)).collect()
}
