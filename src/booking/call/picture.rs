//! What a call is told: pure, from how its slots stand now and what it was told before.
//!
//! What it was told is short enough to travel as the id of each event. So whoever comes back with the last one they
//! read, to whichever node, hears just what is different since: nothing that still matters is lost, and nothing has to be
//! stored. What came and went meanwhile is not told any more.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    availability::Reason,
    crypto::sha256,
    domain::{BookingId, Interval, ResourceId},
    store::offers::Offer,
};

/// A hold is said to end soon when this is left.
pub(super) const SOON: TimeDelta = TimeDelta::seconds(20);

/// By whom, or by what, a slot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// An event of the owner's, or a booking that the owner moved there.
    Owner,
    /// A hold or booking of another call.
    OtherCall,
    /// A booking that was made in no call.
    Booking,
    /// The hours or rules say no: they were changed, or the time came near.
    Rules,
}

impl By {
    const ALL: [Self; 4] = [Self::Owner, Self::OtherCall, Self::Booking, Self::Rules];

    /// The word in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::OtherCall => "other_call",
            Self::Booking => "booking",
            Self::Rules => "rules",
        }
    }
}

/// How an offered slot stands for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be had. What the call itself took counts as that.
    Free,
    /// It cannot.
    Taken(By, Reason),
    /// Nobody knows: what was told last holds.
    Unknown,
}

/// A hold of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStanding {
    /// It counts until then. An owner's event may lie over it all the same.
    Live(DateTime<Utc>, Option<By>),
    /// It ran out.
    Expired,
    /// It was given back.
    Released,
    /// It became a booking.
    Booked,
}

/// A hold, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Which.
    pub id: BookingId,
    /// What it holds.
    pub slot: Offer,
    /// How it stands.
    pub standing: HoldStanding,
}

/// How everything that a call was offered or holds stands at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// When.
    pub at: DateTime<Utc>,
    /// What it was offered lately.
    pub offers: Vec<(Offer, Standing)>,
    /// What it holds, and what it held when it was told last.
    pub holds: Vec<Hold>,
}

/// Something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A slot that was offered, or is held, is taken.
    Taken(Offer, Option<BookingId>, By, Reason),
    /// It can be had again.
    FreeAgain(Offer, Option<BookingId>),
    /// A hold ends soon.
    HoldExpiring(Offer, BookingId, DateTime<Utc>),
    /// A hold ran out.
    HoldExpired(Offer, BookingId),
    /// A hold was given back.
    HoldReleased(Offer, BookingId),
    /// A hold became a booking.
    HoldBooked(Offer, BookingId),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct HoldTold {
    soon: bool,
    by: Option<By>,
}

type Mark = [u8; 5];

/// What a call was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// How many events the client was given.
    events: u32,
    /// By whom each offer is taken.
    offers: BTreeMap<Mark, Option<By>>,
    holds: BTreeMap<BookingId, HoldTold>,
}

/// Stands for a slot. A call has few enough of them that two never share one.
fn mark(offer: &Offer) -> Mark {
    let mut text = offer.resource.to_string().into_bytes();
    text.extend(offer.interval.start().timestamp_micros().to_be_bytes());
    text.extend(offer.interval.end().timestamp_micros().to_be_bytes());
    let hash = sha256(&text);
    [hash[0], hash[1], hash[2], hash[3], hash[4]]
}

fn byte(by: Option<By>) -> u8 {
    by.and_then(|by| By::ALL.iter().position(|one| *one == by)).map_or(0, |place| u8::try_from(place + 1).unwrap_or(0))
}

fn from_byte(byte: u8) -> Result<Option<By>, ()> {
    match byte.checked_sub(1) {
        None => Ok(None),
        Some(place) => By::ALL.get(usize::from(place)).copied().map(Some).ok_or(()),
    }
}

/// The flag of a hold that ends soon, beside by whom it is taken.
const SOON_FLAG: u8 = 0x80;

impl Told {
    /// The id of an event after which this is what the call was told.
    #[must_use]
    pub fn id(&self) -> String {
        let mut bytes = Vec::with_capacity(1 + self.offers.len() * 6 + self.holds.len() * 17);
        bytes.push(u8::try_from(self.offers.len()).unwrap_or(u8::MAX));
        for (mark, by) in self.offers.iter().take(usize::from(u8::MAX)) {
            bytes.extend(mark);
            bytes.push(byte(*by));
        }
        for (id, hold) in &self.holds {
            bytes.extend(id.uuid().as_bytes());
            bytes.push(byte(hold.by) | if hold.soon { SOON_FLAG } else { 0 });
        }
        format!("{}.{}", self.events, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What somebody was told who read the event with this id. `None` when slotd gave no such id.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let (events, state) = id.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
        let (count, rest) = bytes.split_first()?;
        let (offers, holds) = rest.split_at_checked(usize::from(*count) * 6)?;
        if holds.len() % 17 != 0 {
            return None;
        }
        let offer = |row: &[u8]| Some((row[..5].try_into().ok()?, from_byte(row[5]).ok()?));
        let hold = |row: &[u8]| {
            let told = HoldTold { soon: row[16] & SOON_FLAG != 0, by: from_byte(row[16] & !SOON_FLAG).ok()? };
            Some((BookingId::new(Uuid::from_slice(&row[..16]).ok()?), told))
        };
        Some(Self {
            events: events.parse().ok()?,
            offers: offers.chunks_exact(6).map(offer).collect::<Option<_>>()?,
            holds: holds.chunks_exact(17).map(hold).collect::<Option<_>>()?,
        })
    }

    /// The holds that the call knows of.
    pub(super) fn holds(&self) -> impl Iterator<Item = BookingId> {
        self.holds.keys().copied()
    }

    /// Counts an event, so that each has another id.
    pub(super) fn count(&mut self) {
        self.events = self.events.wrapping_add(1);
    }

    /// The same, counted on from what was told before.
    pub(super) fn after(self, before: &Self) -> Self {
        Self { events: before.events, ..self }
    }

    /// The picture itself was told, as a whole.
    pub(super) fn show(&mut self, picture: &Picture) {
        let events = self.events;
        *self = Self { events, ..Self::default() };
        // Of what is told by itself afterwards, nothing is news now.
        for (offer, standing) in &picture.offers {
            let by = if let Standing::Taken(by, _) = standing { Some(*by) } else { None };
            self.offers.insert(mark(offer), by);
        }
        for hold in &picture.holds {
            if let HoldStanding::Live(until, by) = hold.standing {
                self.holds.insert(hold.id, HoldTold { soon: until - picture.at <= SOON, by });
            }
        }
    }

    /// What is different from what was told; from now on it is told.
    pub(super) fn news(&mut self, picture: &Picture) -> Vec<News> {
        let mut news = Vec::new();
        let mut holds = BTreeMap::new();
        for hold in &picture.holds {
            let before = self.holds.get(&hold.id).copied();
            match (hold.standing, before) {
                (HoldStanding::Live(until, by), before) => {
                    let before = before.unwrap_or_default();
                    match (before.by, by) {
                        (was, Some(by)) if was != Some(by) => {
                            news.push(News::Taken(hold.slot, Some(hold.id), by, Reason::Busy));
                        }
                        (Some(_), None) => news.push(News::FreeAgain(hold.slot, Some(hold.id))),
                        _ => {}
                    }
                    let soon = until - picture.at <= SOON;
                    if soon && !before.soon {
                        news.push(News::HoldExpiring(hold.slot, hold.id, until));
                    }
                    holds.insert(hold.id, HoldTold { soon, by });
                }
                // It came and went without being told.
                (_, None) => {}
                (HoldStanding::Expired, Some(_)) => news.push(News::HoldExpired(hold.slot, hold.id)),
                (HoldStanding::Released, Some(_)) => news.push(News::HoldReleased(hold.slot, hold.id)),
                (HoldStanding::Booked, Some(_)) => news.push(News::HoldBooked(hold.slot, hold.id)),
            }
        }
        self.holds = holds;

        let said: Vec<(ResourceId, Interval)> = news.iter().filter_map(News::of_hold).collect();
        let mut offers = BTreeMap::new();
        for (offer, standing) in &picture.offers {
            let mark = mark(offer);
            // What is offered for the first time was offered as free.
            let before = self.offers.get(&mark).copied().flatten();
            let by = match standing {
                Standing::Free => None,
                Standing::Taken(by, _) => Some(*by),
                Standing::Unknown => before,
            };
            offers.insert(mark, by);
            if said.contains(&(offer.resource, offer.interval)) {
                continue;
            }
            match (before, standing) {
                (was, Standing::Taken(by, reason)) if was != Some(*by) => {
                    news.push(News::Taken(*offer, None, *by, *reason));
                }
                (Some(_), Standing::Free) => news.push(News::FreeAgain(*offer, None)),
                _ => {}
            }
        }
        self.offers = offers;
        news
    }
}

impl News {
    /// The slot, when it was said of a hold that it is taken or free again: the offer of the same slot needs no event.
    fn of_hold(&self) -> Option<(ResourceId, Interval)> {
        match self {
            Self::Taken(offer, Some(_), ..) | Self::FreeAgain(offer, Some(_)) => Some((offer.resource, offer.interval)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn offer(number: u8) -> Offer {
        let start = at(i64::from(number) * 3_600);
        Offer {
            interval: Interval::new(start, start + TimeDelta::minutes(30)).unwrap(),
            resource: ResourceId::new(Uuid::from_u128(u128::from(number % 3))),
            service: None,
        }
    }

    fn booking(number: u8) -> BookingId {
        BookingId::new(Uuid::from_u128(u128::from(number)))
    }

    fn offers(standings: &[(u8, Standing)]) -> Picture {
        let offers = standings.iter().map(|(number, standing)| (offer(*number), *standing)).collect();
        Picture { at: at(0), offers, holds: Vec::new() }
    }

    fn hold(seconds: i64, standing: HoldStanding) -> Picture {
        let hold = Hold { id: booking(1), slot: offer(1), standing };
        Picture { at: at(seconds), offers: vec![(offer(1), Standing::Free)], holds: vec![hold] }
    }

    const OWNER: Standing = Standing::Taken(By::Owner, Reason::Busy);
    const OTHER: Standing = Standing::Taken(By::OtherCall, Reason::Buffer);

    #[test]
    fn a_slot_that_was_offered_is_told_when_it_is_taken_and_when_it_is_free_again() {
        let mut told = Told::default();
        assert_eq!(told.news(&offers(&[(1, Standing::Free), (2, Standing::Free)])), []);
        let taken = News::Taken(offer(2), None, By::OtherCall, Reason::Buffer);
        assert_eq!(told.news(&offers(&[(1, Standing::Free), (2, OTHER)])), [taken]);
        assert_eq!(told.news(&offers(&[(1, Standing::Free), (2, OTHER)])), [], "once");
        let now_the_owner = News::Taken(offer(2), None, By::Owner, Reason::Busy);
        assert_eq!(told.news(&offers(&[(1, Standing::Free), (2, OWNER)])), [now_the_owner]);
        assert_eq!(told.news(&offers(&[(1, Standing::Free), (2, Standing::Free)])), [News::FreeAgain(offer(2), None)]);
    }

    #[test]
    fn a_slot_that_was_taken_before_anybody_looked_is_told_as_well() {
        let mut told = Told::default();
        assert_eq!(told.news(&offers(&[(1, OWNER)])), [News::Taken(offer(1), None, By::Owner, Reason::Busy)]);
    }

    #[test]
    fn what_is_not_known_is_no_news() {
        let mut told = Told::default();
        told.news(&offers(&[(1, OWNER), (2, Standing::Free)]));
        assert_eq!(told.news(&offers(&[(1, Standing::Unknown), (2, Standing::Unknown)])), []);
        assert_eq!(told.news(&offers(&[(1, OWNER), (2, Standing::Free)])), [], "it is as it was");
    }

    #[test]
    fn a_hold_is_told_of_before_it_ends_and_when_it_does() {
        let mut told = Told::default();
        let live = |seconds| hold(seconds, HoldStanding::Live(at(120), None));
        assert_eq!(told.news(&live(0)), []);
        assert_eq!(told.news(&live(99)), []);
        assert_eq!(told.news(&live(100)), [News::HoldExpiring(offer(1), booking(1), at(120))]);
        assert_eq!(told.news(&live(101)), [], "once");
        // Extended, and soon to end again.
        assert_eq!(told.news(&hold(102, HoldStanding::Live(at(180), None))), []);
        let again = told.news(&hold(161, HoldStanding::Live(at(180), None)));
        assert_eq!(again, [News::HoldExpiring(offer(1), booking(1), at(180))]);
        assert_eq!(told.news(&hold(180, HoldStanding::Expired)), [News::HoldExpired(offer(1), booking(1))]);
        assert_eq!(told.news(&hold(181, HoldStanding::Expired)), [], "once");
    }

    #[test]
    fn a_held_slot_that_the_owner_takes_is_one_event_though_it_was_also_offered() {
        let mut told = Told::default();
        told.news(&hold(0, HoldStanding::Live(at(120), None)));
        let mut taken = hold(1, HoldStanding::Live(at(120), Some(By::Owner)));
        taken.offers[0].1 = OWNER;
        assert_eq!(told.news(&taken), [News::Taken(offer(1), Some(booking(1)), By::Owner, Reason::Busy)]);
        assert_eq!(told.news(&taken), []);
        let free = told.news(&hold(2, HoldStanding::Live(at(120), None)));
        assert_eq!(free, [News::FreeAgain(offer(1), Some(booking(1)))]);
    }

    #[test]
    fn ids_that_slotd_never_gave_are_not_understood() {
        for id in ["", "7", "x.AA", "7.", "7.!", "7.AQ", "7.AAA", "7.AQAAAAAACQ"] {
            assert_eq!(Told::parse(id), None, "{id}");
        }
        assert_eq!(Told::parse("7.AA"), Some(Told { events: 7, ..Told::default() }));
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![Just(Standing::Free), Just(OWNER), Just(OTHER), Just(Standing::Taken(By::Rules, Reason::Closed))]
    }

    fn hold_standing() -> impl Strategy<Value = HoldStanding> {
        let by = prop::option::of(Just(By::Owner));
        prop_oneof![
            4 => (1..100_i64, by).prop_map(|(until, by)| HoldStanding::Live(at(until), by)),
            1 => Just(HoldStanding::Expired),
            1 => Just(HoldStanding::Released),
            1 => Just(HoldStanding::Booked),
        ]
    }

    fn picture() -> impl Strategy<Value = Picture> {
        let offers = prop::collection::btree_map(0..50_u8, standing(), 0..50);
        let holds = prop::collection::btree_map(60..65_u8, hold_standing(), 0..5);
        (offers, holds).prop_map(|(offers, holds)| Picture {
            at: at(0),
            offers: offers.into_iter().map(|(number, standing)| (offer(number), standing)).collect(),
            holds: holds
                .into_iter()
                .map(|(number, standing)| Hold { id: booking(number), slot: offer(number), standing })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn an_id_says_all_that_was_told(pictures in prop::collection::vec(picture(), 1..4), next in picture()) {
            let mut told = Told::default();
            for picture in &pictures {
                told.news(picture);
                told.count();
            }
            let mut resumed = Told::parse(&told.id()).unwrap();
            prop_assert_eq!(&resumed, &told);
            prop_assert!(told.id().len() < 700);
            prop_assert_eq!(resumed.news(&next), told.news(&next));
        }

        #[test]
        fn whoever_follows_the_events_knows_the_picture(first in picture(), pictures in prop::collection::vec(picture(), 1..5)) {
            let mut told = Told::default();
            told.show(&first);
            let free = |picture: &Picture| -> Vec<(Offer, bool)> {
                picture.offers.iter().map(|(offer, standing)| (*offer, *standing == Standing::Free)).collect()
            };
            let mut known: BTreeMap<Offer, bool> = free(&first).into_iter().collect();
            for picture in &pictures {
                // What was offered just now was offered as free.
                for (offer, _) in &picture.offers {
                    known.entry(*offer).or_insert(true);
                }
                known.retain(|offer, _| picture.offers.iter().any(|(still, _)| still == offer));
                for news in told.news(picture) {
                    match news {
                        News::Taken(offer, ..) => _ = known.insert(offer, false),
                        News::FreeAgain(offer, _) => _ = known.insert(offer, true),
                        _ => {}
                    }
                }
                known.retain(|offer, _| picture.offers.iter().any(|(still, _)| still == offer));
                prop_assert_eq!(known.clone().into_iter().collect::<Vec<_>>(), {
                    let mut now = free(picture);
                    now.sort();
                    now
                });
            }
        }
    }
}
