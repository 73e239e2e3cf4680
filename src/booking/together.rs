//! What a booking takes: one resource, or one of each group for a service that needs several at once.
//!
//! The first of them leads: the event is written to its calendar, and the booking speaks in its zone. The booking has a
//! claim on each.

use chrono::{DateTime, Utc};

use super::{
    BookingError, Desk, Refusal,
    book::exclusive,
    freshness::{Standing, Terms},
    office::{Diary, Office, Order, around, find_alternatives, judge},
};
use crate::{
    availability::{Agenda, Course, Reason, combine},
    domain::{BookingId, BusinessId, ResourceId, ServiceId},
    store::{self, Tx, bookings::Booking, services::Service},
};

/// What stands in nobody's way, for it is given up or moved in the same transaction.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// These holds or this booking, locked.
    pub(super) bookings: Vec<BookingId>,
    /// Whom to take again where they can be had.
    pub(super) preferred: Vec<ResourceId>,
}

impl Own {
    /// A hold or booking that moves, and keeps whom it can.
    pub(super) async fn moving(tx: &mut Tx, office: &Office, booking: &Booking) -> Result<Self, BookingError> {
        Ok(Self { bookings: vec![booking.id], preferred: resources_of(tx, office, booking).await? })
    }
}

impl Order {
    /// Understands a wish for a service that needs several resources. `named` may be of any group.
    pub(super) fn together(service: &Service, named: Option<ResourceId>) -> Result<Self, BookingError> {
        let mut groups = service.needs.clone();
        if let Some(id) = named {
            let Some(group) = groups.iter_mut().find(|group| group.contains(&id)) else {
                let detail = "this service does not need this resource".to_owned();
                return Err(BookingError::Invalid { field: "resource", detail });
            };
            *group = vec![id];
        }
        let mut groups = groups.into_iter();
        Ok(Self {
            rules: service.rules,
            service: Some(service.id),
            candidates: groups.next().unwrap_or_default(),
            besides: groups.collect(),
            named,
        })
    }

    /// Everybody whom it may concern.
    pub(super) fn everybody(&self) -> Vec<ResourceId> {
        [self.candidates.clone(), self.besides.concat()].concat()
    }

    /// The groups of which one each is taken, the leading one first.
    fn groups(&self) -> impl Iterator<Item = &Vec<ResourceId>> {
        std::iter::once(&self.candidates).chain(&self.besides)
    }

    /// Lets the same one lead as before, unless another was named.
    pub(super) fn keep_lead(&mut self, lead: ResourceId) {
        let led_by_another = self.named.is_some_and(|named| self.candidates == [named]);
        if !led_by_another && self.candidates.contains(&lead) {
            self.candidates = vec![lead];
        }
    }

    /// Wants just these, the first of them leading.
    pub(super) fn take_only(&mut self, resources: &[ResourceId]) {
        if let Some((lead, others)) = resources.split_first() {
            self.candidates = vec![*lead];
            self.besides = others.iter().map(|other| vec![*other]).collect();
        }
    }

    /// Whether `resources`, the first of them leading, are what is wanted: one of each group and no other.
    pub(super) fn is_met_by(&self, resources: &[ResourceId]) -> bool {
        resources.len() == 1 + self.besides.len()
            && resources.first().is_some_and(|lead| self.candidates.contains(lead))
            && self.besides.iter().all(|group| resources[1..].iter().any(|one| group.contains(one)))
    }
}

impl Office {
    /// The resources of a booking, that of `lead` first and the others as its service names them.
    pub(super) fn in_order(
        &self,
        service: Option<ServiceId>,
        lead: ResourceId,
        mut resources: Vec<ResourceId>,
    ) -> Vec<ResourceId> {
        let service = service.and_then(|id| self.services.iter().find(|known| known.id == id));
        let place = |id: &ResourceId| {
            service.and_then(|service| service.needs.iter().position(|group| group.contains(id))).unwrap_or(usize::MAX)
        };
        resources.sort_by_key(|id| (*id != lead, place(id), *id));
        resources
    }

    /// Those of `able` in the order in which they are taken: whom the booking had, then those whose mirror is not behind.
    pub(super) fn preferred(
        &self,
        mut able: Vec<ResourceId>,
        preferred: &[ResourceId],
        terms: &Terms,
        now: DateTime<Utc>,
    ) -> Vec<ResourceId> {
        // Stable: among equals the order of the judge is kept.
        able.sort_by_cached_key(|id| (!preferred.contains(id), self.course(*id, terms, now).1 != Course::Answer));
        able
    }

    /// Whom of `able` to tell of: all who can do it, or one of each group, where several are needed.
    pub(super) fn told(
        &self,
        order: &Order,
        able: Vec<Vec<ResourceId>>,
        terms: &Terms,
        now: DateTime<Utc>,
    ) -> Vec<ResourceId> {
        if order.besides.is_empty() {
            return able.concat();
        }
        able.into_iter().filter_map(|group| self.preferred(group, &[], terms, now).first().copied()).collect()
    }

    /// What is known of each group that `order` needs.
    pub(super) fn agendas_together<'a>(
        &'a self,
        order: &Order,
        diary: &'a Diary,
        terms: &Terms,
        now: DateTime<Utc>,
    ) -> Vec<Vec<Agenda<'a>>> {
        order.groups().map(|group| self.agendas(group, diary, terms, now)).collect()
    }
}

/// Who of each group can do it, or why it cannot be had.
pub(super) fn judge_together(
    groups: &[Vec<Agenda<'_>>],
    order: &Order,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Vec<ResourceId>>, Reason> {
    combine(groups.iter().map(|group| judge(group, &order.rules, start, now)))
}

/// Chooses what is taken, the lead first, and locks it, so that what was checked stays true until the transaction ends.
///
/// All who could be taken are locked at once in the order of their ids, together with what `own` claims: it is given up
/// here, and claims are touched under the locks of their resources only.
pub(super) async fn settle(
    tx: &mut Tx,
    office: &Office,
    order: &Order,
    start: DateTime<Utc>,
    own: &Own,
    terms: &Terms,
) -> Result<Vec<ResourceId>, BookingError> {
    let (business, now) = (office.business.id, tx.now());
    let window = around(start, &order.rules)?;
    let reason = match foresee(tx, office, order, start, &own.bookings, terms).await? {
        Err(reason) => reason,
        Ok(able) => {
            let mut order = order.clone();
            if let (Some(service), Some(_)) = (order.service, order.rules.daily_cap) {
                order.rules.daily_cap = tx.lock_service(business, service).await?;
            }
            let (anybody, mut locked) = (able.concat(), able.concat());
            for booking in &own.bookings {
                locked.extend(tx.claimed_resources(business, *booking).await?);
            }
            tx.lock_resources(business, &locked).await?;
            // In statements of their own, after the locks: the snapshot of a lock's statement may be older.
            let mut diary = Diary::read(tx, business, &anybody, window, &own.bookings).await?;
            diary.count(tx, office, &order, window, &own.bookings).await?;
            diary.weigh(tx, office, &anybody, window).await?;
            let judge = |group: Vec<ResourceId>| {
                let able = judge(&office.agendas(&group, &diary, terms, now), &order.rules, start, now)?;
                office.preferred(able, &own.preferred, terms, now).first().copied().ok_or(Reason::Busy)
            };
            match combine(able.into_iter().map(judge)) {
                Ok(taken) => {
                    for resource in &taken {
                        tx.expire_claims(business, *resource, now).await?;
                    }
                    return Ok(taken);
                }
                Err(reason) => reason,
            }
        }
    };
    let wanted = Wanted { order: order.clone(), start, except: own.bookings.clone(), terms: *terms };
    Err(BookingError::Refused(refusal(office, reason, wanted, now)))
}

/// Who of each group could do it, as it looks without a lock; or why it cannot be had. The claims of `except` are left out.
pub(super) async fn foresee(
    tx: &mut Tx,
    office: &Office,
    order: &Order,
    start: DateTime<Utc>,
    except: &[BookingId],
    terms: &Terms,
) -> Result<Result<Vec<Vec<ResourceId>>, Reason>, BookingError> {
    let (now, window, everybody) = (tx.now(), around(start, &order.rules)?, order.everybody());
    let mut diary = Diary::read(tx, office.business.id, &everybody, window, except).await?;
    diary.count(tx, office, order, window, except).await?;
    Ok(judge_together(&office.agendas_together(order, &diary, terms, now), order, start, now))
}

/// What was asked for and cannot be had: what is looked for nearby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) order: Order,
    pub(super) start: DateTime<Utc>,
    /// Bookings that do not stand in its way.
    pub(super) except: Vec<BookingId>,
    pub(super) terms: Terms,
}

/// The refusal of what is wanted, before anything else was looked for: that is for a transaction that keeps nobody waiting.
pub(super) fn refusal(office: &Office, reason: Reason, wanted: Wanted, now: DateTime<Utc>) -> Box<Refusal> {
    let everybody = wanted.order.everybody();
    let reason = if reason == Reason::Closed && everybody.is_empty() { Reason::Busy } else { reason };
    Box::new(Refusal {
        reason,
        alternatives: Vec::new(),
        service: wanted.order.service,
        standing: Standing::of(office.blocking(&everybody), now, wanted.terms.fresh_for),
        voice: office.voice(wanted.order.named),
        now,
        wanted: Some(wanted),
    })
}

impl Desk {
    /// Looks, where `outcome` is a refusal, for what can be had instead.
    ///
    /// In a transaction of its own, which only reads: a search over weeks would keep everybody waiting who books.
    pub(super) async fn with_alternatives<T>(
        &self,
        business: BusinessId,
        outcome: Result<T, BookingError>,
    ) -> Result<T, BookingError> {
        let refusal = match outcome {
            Err(BookingError::Refused(refusal)) if refusal.wanted.is_some() => refusal,
            other => return other,
        };
        let read = store::work::<Box<Refusal>, BookingError, _>(move |tx| {
            Box::pin(async move {
                let office = Office::read(tx, business).await?;
                refusal.with_alternatives(tx, &office).await
            })
        });
        Err(BookingError::Refused(self.store.read(read).await?))
    }
}

impl Refusal {
    /// Looks for what can be had instead, if nobody has yet.
    pub(super) async fn with_alternatives(
        mut self: Box<Self>,
        tx: &mut Tx,
        office: &Office,
    ) -> Result<Box<Self>, BookingError> {
        if let Some(Wanted { order, start, except, terms }) = self.wanted.take() {
            self.alternatives = find_alternatives(tx, office, &order, start, &except, &terms).await?;
            self.now = tx.now();
        }
        Ok(self)
    }
}

/// Claims everything that a booking takes, in the order of ids.
pub(super) async fn claim(
    tx: &mut Tx,
    office: &Office,
    booking: &Booking,
    taken: &[ResourceId],
) -> Result<(), BookingError> {
    let mut taken = taken.to_vec();
    taken.sort_unstable();
    for resource in taken {
        tx.insert_claim(booking, resource, exclusive(office, resource), false).await?;
    }
    Ok(())
}

/// The resources that a booking claims or claimed, the lead first.
pub(super) async fn resources_of(
    tx: &mut Tx,
    office: &Office,
    booking: &Booking,
) -> Result<Vec<ResourceId>, BookingError> {
    let claimed = tx.claimed_resources(booking.business, booking.id).await?;
    Ok(office.in_order(booking.service, booking.resource, claimed))
}
