//! One look at how everything stands that a call was offered or holds.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::picture::{By, Hold, HoldStanding, News, Picture, SOON, Standing, Told};
use crate::{
    availability::{Alternative, Purpose, Reason, Rules},
    booking::{
        BookingError,
        freshness::Terms,
        hold::slot_of,
        office::{Diary, Office, Order, What, Wish, find_alternatives},
        together::judge_together,
    },
    domain::{BookingId, BusinessId, Interval, ResourceId, booking, booking::State},
    store::{
        Tx,
        bookings::Booking,
        offers::{Offer, Remembered, Taker},
    },
};

/// Something to tell, and what can be offered instead.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    pub(super) news: News,
    pub(super) next_free: Vec<Alternative>,
}

/// What a look found.
pub(super) struct Seen {
    pub(super) picture: Picture,
    pub(super) office: Office,
    pub(super) tellings: Vec<Telling>,
    pub(super) told: Told,
    /// Whom it is about.
    pub(super) resources: BTreeSet<ResourceId>,
    /// When something may be different, though nobody changes anything.
    pub(super) next: Option<DateTime<Utc>>,
    /// The caller hung up.
    pub(super) hung_up: bool,
}

/// What is to be looked at.
pub(super) struct Question {
    pub(super) business: BusinessId,
    pub(super) call_id: String,
    pub(super) told: Told,
    /// Nothing is news: the picture is told as a whole.
    pub(super) show: bool,
    /// How long an offer counts.
    pub(super) offers_kept: TimeDelta,
    pub(super) fresh_for: TimeDelta,
}

/// A slot in this business's terms.
struct Known {
    offer: Offer,
    order: Order,
    bare: Interval,
    claim: Interval,
}

impl Known {
    /// `None` when it cannot be had any more at all: the service or the resource is not what it was.
    fn new(office: &Office, offer: Offer, rules: Option<Rules>) -> Option<Self> {
        let what = match offer.service {
            Some(service) => What::Service(service.to_string()),
            None => What::Lasting(offer.interval.duration()),
        };
        let wish = Wish { what, resource: Some(offer.resource.to_string()), call_id: None };
        let mut order = office.order(&wish).ok()?;
        order.rules = rules.unwrap_or(order.rules);
        let start = offer.interval.start();
        let bare = Interval::new(start, start.checked_add_signed(order.rules.duration)?)?;
        let claim = booking::claim(bare, order.rules.buffer_before, order.rules.buffer_after)?;
        Some(Self { offer, order, bare, claim })
    }
}

/// Reads how a call's slots stand, and finds what it has to be told.
pub(super) async fn look(tx: &mut Tx, question: Question) -> Result<Seen, BookingError> {
    let Question { business, call_id, mut told, show, offers_kept, fresh_for } = question;
    let (now, office) = (tx.now(), Office::read(tx, business).await?);
    let hung_up = tx.call(business, &call_id).await?.is_some_and(|call| call.ended_at.is_some());
    let remembered = tx.offers_of_call(business, &call_id, now - offers_kept).await?;
    let holds = holds(tx, business, &call_id, &told).await?;

    let offered: Vec<(Remembered, Option<Known>)> =
        remembered.iter().map(|one| (*one, Known::new(&office, one.offer, None))).collect();
    let held: Vec<(&Booking, Option<Known>)> =
        holds.iter().map(|hold| (hold, Known::new(&office, slot_of(hold), Some(rules_of(hold))))).collect();
    let known =
        || offered.iter().filter_map(|(_, known)| known.as_ref()).chain(held.iter().filter_map(|(_, k)| k.as_ref()));
    let resources: BTreeSet<ResourceId> = known().flat_map(|known| known.order.everybody()).collect();

    let around =
        known().map(|known| (known.claim.start().min(known.bare.start()), known.claim.end().max(known.bare.end())));
    let hull = around.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    let (diary, takers, mine) = match hull.and_then(|(from, to)| Interval::new(from, to)) {
        Some(window) => {
            let takers = tx.takers(business, window, now).await?;
            let mine: Vec<BookingId> =
                takers.iter().filter(|one| one.call_id.as_ref() == Some(&call_id)).map(|one| one.booking).collect();
            let whom: Vec<ResourceId> = resources.iter().copied().collect();
            (Diary::read(tx, business, &whom, window, &mine).await?, takers, mine)
        }
        None => (Diary::default(), Vec::new(), Vec::new()),
    };
    let terms = Terms { purpose: Purpose::Question, since: None, fresh_for, looked: true };
    let eyes = Eyes { office: &office, diary: &diary, takers: &takers, mine: &mine, terms: &terms, now };

    let picture = Picture {
        at: now,
        offers: offered.iter().map(|(one, known)| (one.offer, eyes.offer(known.as_ref()))).collect(),
        holds: held.iter().map(|(hold, known)| eyes.hold(hold, known.as_ref())).collect(),
    };
    let next = eyes.next(&offered, &picture, offers_kept);
    let news = if show {
        told.show(&picture);
        Vec::new()
    } else {
        told.news(&picture)
    };
    let mut tellings = Vec::with_capacity(news.len());
    for news in news {
        let next_free = match news {
            News::Taken(offer, ..) => match known().find(|known| known.offer == offer) {
                Some(known) => {
                    find_alternatives(tx, &office, &known.order, offer.interval.start(), &mine, &terms).await?
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        tellings.push(Telling { news, next_free });
    }
    drop(offered);
    Ok(Seen { picture, office, tellings, told, resources, next, hung_up })
}

/// The holds that a call has, and those that it knows of.
async fn holds(tx: &mut Tx, business: BusinessId, call_id: &str, told: &Told) -> Result<Vec<Booking>, BookingError> {
    let mut ids: BTreeSet<BookingId> = told.holds().collect();
    ids.extend(tx.holds_of_call(business, call_id).await?);
    let mut holds = Vec::with_capacity(ids.len());
    for id in ids {
        // An id of an event may name anything; only what is the call's is told.
        if let Some(hold) = tx.booking(business, id).await?.filter(|hold| hold.call_id.as_deref() == Some(call_id)) {
            holds.push(hold);
        }
    }
    Ok(holds)
}

/// What a hold occupies is stored with it, whatever became of its service.
fn rules_of(hold: &Booking) -> Rules {
    Rules {
        buffer_before: hold.buffer_before,
        buffer_after: hold.buffer_after,
        ..Rules::lasting(hold.interval.duration())
    }
}

/// What the slots of a call are judged by.
struct Eyes<'a> {
    office: &'a Office,
    diary: &'a Diary,
    takers: &'a [Taker],
    mine: &'a [BookingId],
    terms: &'a Terms,
    now: DateTime<Utc>,
}

impl Eyes<'_> {
    fn offer(&self, known: Option<&Known>) -> Standing {
        let Some(known) = known else { return Standing::Taken(By::Rules, Reason::Closed) };
        let groups = self.office.agendas_together(&known.order, self.diary, self.terms, self.now);
        match judge_together(&groups, &known.order, known.bare.start(), self.now) {
            Ok(_) => Standing::Free,
            Err(reason) if reason.is_unknown() => Standing::Unknown,
            Err(reason @ (Reason::Busy | Reason::Buffer)) => Standing::Taken(self.taker(known), reason),
            Err(reason) => Standing::Taken(By::Rules, reason),
        }
    }

    /// Who is in the way of a slot that is taken.
    fn taker(&self, known: &Known) -> By {
        // The lead comes first, then those who are needed besides.
        let everybody = known.order.everybody();
        if everybody.iter().any(|resource| self.diary.is_busy(*resource, known.claim)) {
            return By::Owner;
        }
        let others = self.takers.iter().filter(|taker| {
            everybody.contains(&taker.resource)
                && taker.interval.overlaps(known.claim)
                && !self.mine.contains(&taker.booking)
        });
        let of = |taker: &Taker| match &taker.call_id {
            _ if taker.forced => By::Owner,
            Some(_) => By::OtherCall,
            None => By::Booking,
        };
        others.map(of).next().unwrap_or(By::Booking)
    }

    fn hold(&self, hold: &Booking, known: Option<&Known>) -> Hold {
        let standing = match hold.state {
            State::Held { until } if self.now < until => {
                // The claim is the call's own. Only the owner can lay something over it.
                let busy = known.is_some_and(|known| {
                    self.diary.is_busy(known.offer.resource, known.claim)
                        || self.takers.iter().any(|taker| {
                            taker.forced
                                && taker.resource == known.offer.resource
                                && taker.interval.overlaps(known.claim)
                                && !self.mine.contains(&taker.booking)
                        })
                });
                HoldStanding::Live(until, busy.then_some(By::Owner))
            }
            State::Held { .. } | State::Expired { .. } => HoldStanding::Expired,
            State::Released { .. } => HoldStanding::Released,
            State::Confirmed { .. } | State::Completed { .. } | State::Cancelled { .. } => HoldStanding::Booked,
        };
        Hold { id: hold.id, slot: slot_of(hold), standing }
    }

    /// The first instant at which the picture is another, if nobody changes anything until then.
    fn next(
        &self,
        offered: &[(Remembered, Option<Known>)],
        picture: &Picture,
        offers_kept: TimeDelta,
    ) -> Option<DateTime<Utc>> {
        let live = picture.holds.iter().filter_map(|hold| match hold.standing {
            HoldStanding::Live(until, _) => Some(until),
            _ => None,
        });
        let live: Vec<DateTime<Utc>> = live.collect();
        let instants = live.iter().copied().chain(live.iter().map(|until| *until - SOON));
        let instants = instants.chain(self.takers.iter().filter_map(|taker| taker.expires_at));
        let instants = instants.chain(offered.iter().map(|(one, _)| one.at + offers_kept));
        // A microsecond too late for the notice is when it is past.
        let notice = offered
            .iter()
            .filter_map(|(_, known)| known.as_ref())
            .map(|known| known.bare.start() - known.order.rules.minimum_notice + TimeDelta::microseconds(1));
        instants.chain(notice).filter(|at| *at > self.now).min()
    }
}
