//! Questions: is it free, when is it free, when is somebody busy.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{
    BookingError, Desk,
    freshness::{Freshness, Standing},
    office::{Diary, Office, Wish, around, find_alternatives, judge},
};
use crate::{
    availability::{Reason, Slot, slots},
    domain::{BusinessId, Interval, ResourceId, interval::merge},
    store,
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
    /// Who could do it then.
    pub resources: Vec<ResourceId>,
    /// What else could be offered.
    pub alternatives: Vec<Slot>,
    /// How the mirror stands.
    pub standing: Standing,
    /// The zone to tell times in.
    pub zone: Tz,
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

/// The answer to "when can I come?".
#[derive(Debug, Clone)]
pub struct SlotsAnswer {
    /// In the order of their starts.
    pub slots: Vec<Slot>,
    /// How the mirror stands.
    pub standing: Standing,
    /// The zone to tell times in.
    pub zone: Tz,
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
    /// Merged for each resource, clipped to what was asked, in the order of their starts.
    pub busy: Vec<Busy>,
    /// How the mirror stands.
    pub standing: Standing,
    /// The zone to tell times in.
    pub zone: Tz,
}

impl Desk {
    /// Whether `wish` can be had at `start`, and else what can. When the mirror is older than `max_staleness`, Google is
    /// asked first, under a deadline.
    pub async fn is_free(
        &self,
        business: BusinessId,
        wish: Wish,
        start: DateTime<Utc>,
        max_staleness: Option<chrono::TimeDelta>,
    ) -> Result<Answer, BookingError> {
        let current = match max_staleness {
            Some(age) => self.look_again(business, &wish, age).await?.is_current,
            None => true,
        };
        let fresh_for = self.limits.fresh_for;
        let ask = store::work::<Answer, BookingError, _>(move |tx| {
            Box::pin(async move {
                let (now, office) = (tx.now(), Office::read(tx, business).await?);
                let order = office.order(&wish)?;
                let diary = Diary::read(tx, business, &order.candidates, around(start, &order.rules)?, None).await?;
                let verdict = judge(&office.agendas(&order.candidates, &diary), &order.rules, start, now);
                let verdict = if current { verdict } else { Err(Reason::Stale) };
                let alternatives = match &verdict {
                    Ok(_) => Vec::new(),
                    Err(reason) => {
                        let mut found = find_alternatives(tx, &office, &order, start, None).await?;
                        // What is not known of the asked time is no offer.
                        found.retain(|slot| !reason.is_unknown() || slot.interval.start() != start);
                        found
                    }
                };
                let end = start + order.rules.duration;
                let empty = || BookingError::Invalid { field: "end", detail: "it must be after `start`".to_owned() };
                Ok(Answer {
                    available: match &verdict {
                        Ok(_) => Some(true),
                        Err(reason) if reason.is_unknown() => None,
                        Err(_) => Some(false),
                    },
                    reason: verdict.as_ref().err().copied(),
                    interval: Interval::new(start, end).ok_or_else(empty)?,
                    resources: verdict.unwrap_or_default(),
                    alternatives,
                    standing: Standing::of(office.blocking(&order.candidates), now, fresh_for),
                    zone: office.zone(order.named),
                    now,
                })
            })
        });
        self.store.read(ask).await
    }

    /// When `wish` can be had.
    pub async fn free_slots(&self, business: BusinessId, question: SlotsQuestion) -> Result<SlotsAnswer, BookingError> {
        let fresh_for = self.limits.fresh_for;
        let ask = store::work::<SlotsAnswer, BookingError, _>(move |tx| {
            Box::pin(async move {
                let (now, office) = (tx.now(), Office::read(tx, business).await?);
                let order = office.order(&question.wish)?;
                let rules = order.rules;
                let window = question.range.widen(rules.buffer_before, rules.duration + rules.buffer_after);
                let window = window.unwrap_or(question.range);
                let diary = Diary::read(tx, business, &order.candidates, window, None).await?;
                let agendas = office.agendas(&order.candidates, &diary);
                let found = slots(&agendas, &rules, question.range, now, question.limit, question.diverse);
                Ok(SlotsAnswer {
                    slots: found,
                    standing: Standing::of(office.blocking(&order.candidates), now, fresh_for),
                    zone: office.zone(order.named),
                    now,
                })
            })
        });
        self.store.read(ask).await
    }

    /// When the resources of a business, or one of them, are busy: by their calendars, or by bookings and their buffers.
    pub async fn busy(
        &self,
        business: BusinessId,
        resource: Option<String>,
        range: Interval,
    ) -> Result<BusyAnswer, BookingError> {
        let fresh_for = self.limits.fresh_for;
        let ask = store::work::<BusyAnswer, BookingError, _>(move |tx| {
            Box::pin(async move {
                let (now, office) = (tx.now(), Office::read(tx, business).await?);
                let named = resource.as_deref().map(|text| office.resource(text)).transpose()?;
                let asked: Vec<ResourceId> = match named {
                    Some(id) => vec![id],
                    None => office.resources.iter().map(|resource| resource.id).collect(),
                };
                let diary = Diary::read(tx, business, &asked, range, None).await?;
                let mut busy = Vec::new();
                for agenda in office.agendas(&asked, &diary) {
                    let all = merge([agenda.busy, agenda.claims].concat());
                    let clipped = all.into_iter().filter_map(|interval| interval.clip(range));
                    busy.extend(clipped.map(|interval| Busy { resource: agenda.resource, interval }));
                }
                busy.sort_by_key(|busy| (busy.interval, busy.resource));
                Ok(BusyAnswer {
                    busy,
                    standing: Standing::of(office.blocking(&asked), now, fresh_for),
                    zone: office.zone(named),
                })
            })
        });
        self.store.read(ask).await
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

impl Standing {
    /// What to tell a receptionist who books on this state of knowledge.
    pub(super) fn warning(&self) -> Option<&'static str> {
        match self.freshness {
            Freshness::Fresh => None,
            Freshness::Stale | Freshness::Unknown => Some(
                "Google Calendar cannot be checked at the moment. The booking stands and is written to the calendar as \
                 soon as Google answers; a change that the owner made meanwhile may not be known yet.",
            ),
        }
    }
}
