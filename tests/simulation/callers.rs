//! What receptionists ask for.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use slotd::{
    booking::{
        Asked, Booked, BookingError, Change, CustomerChange, Desk, HoldChange, Key, NewBooking, NewHold, Reply, What,
        Wish,
    },
    crypto::sha256,
    domain::{BookingId, booking::Refused},
    store::bookings::Customer,
};

use crate::{
    harness::samples,
    oracle::{Span, Tables},
    template::{BUSINESS, CAPACITIES, SERVICES, resource, service},
};

/// A request, as it can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Hold { call: String, what: usize, chair: Option<usize>, start: DateTime<Utc>, minutes: i64 },
    Extend { hold: BookingId, minutes: i64 },
    Swap { hold: BookingId, start: DateTime<Utc> },
    Book { call: Option<String>, what: usize, chair: Option<usize>, start: DateTime<Utc>, tag: String },
    BookHold { hold: BookingId, call: Option<String>, tag: String },
    Move { booking: BookingId, start: DateTime<Utc>, chair: Option<usize> },
    Edit { booking: BookingId, name: String },
    Cancel { booking: BookingId },
    Release { hold: BookingId },
    HangUp { call: String },
}

/// What came of a request.
pub(crate) type Outcome = Result<Option<Reply>, BookingError>;

fn render(booked: &Booked) -> Vec<u8> {
    let booking = &booked.booking;
    format!(
        "{} {} {} {} {} {}",
        booking.id,
        booking.state.as_str(),
        booking.interval.start(),
        booking.interval.end(),
        booking.resource,
        booking.call_id.as_deref().unwrap_or("-"),
    )
    .into_bytes()
}

fn wish(what: usize, chair: Option<usize>, call: Option<&String>) -> Wish {
    Wish {
        what: What::Service(service(what).to_string()),
        resource: chair.map(|chair| resource(chair).to_string()),
        call_id: call.cloned(),
    }
}

fn customer(name: &str) -> Customer {
    let sample = samples::booking(&samples::resource(BUSINESS, 1), samples::between(0, 30));
    Customer { name: name.to_owned(), ..sample.customer.unwrap() }
}

impl Request {
    /// Makes it, under a key or without one.
    pub(crate) fn make(self, desk: Desk, key: Option<String>) -> BoxFuture<'static, Outcome> {
        let request_hash = sha256(format!("{self:?}").as_bytes());
        let key = key.map(|text| Key { text, request_hash });
        Box::pin(async move {
            match self {
                Self::Hold { call, what, chair, start, minutes } => {
                    let wish = wish(what, chair, Some(&call));
                    let new = NewHold { wish, start, ttl: TimeDelta::minutes(minutes), call_id: call };
                    desk.hold(BUSINESS, new, key, render).await.map(Some)
                }
                Self::Extend { hold, minutes } => {
                    let change = HoldChange { ttl: Some(TimeDelta::minutes(minutes)), ..HoldChange::default() };
                    desk.change_hold(BUSINESS, hold, change, key, render).await.map(Some)
                }
                Self::Swap { hold, start } => {
                    let slot = Change { start: Some(start), ..Change::default() };
                    desk.change_hold(BUSINESS, hold, HoldChange { slot, ttl: None }, key, render).await.map(Some)
                }
                Self::Book { call, what, chair, start, tag } => {
                    let asked = Asked::Time { wish: wish(what, chair, call.as_ref()), start };
                    let new = NewBooking { asked, customer: customer("Ada"), reference: Some(tag), call_id: call };
                    desk.book(BUSINESS, new, key, render).await.map(Some)
                }
                Self::BookHold { hold, call, tag } => {
                    let asked = Asked::Hold { id: hold, start: None, what: None, resource: None };
                    let new = NewBooking { asked, customer: customer("Ada"), reference: Some(tag), call_id: call };
                    desk.book(BUSINESS, new, key, render).await.map(Some)
                }
                Self::Move { booking, start, chair } => {
                    let resource = chair.map(|chair| resource(chair).to_string());
                    let change = Change { start: Some(start), resource, ..Change::default() };
                    desk.change(BUSINESS, booking, change, key, render).await.map(Some)
                }
                Self::Edit { booking, name } => {
                    let customer = CustomerChange { name: Some(name), ..CustomerChange::default() };
                    let change = Change { customer: Some(customer), ..Change::default() };
                    desk.change(BUSINESS, booking, change, key, render).await.map(Some)
                }
                Self::Cancel { booking } => desk.cancel(BUSINESS, booking, key, render).await.map(Some),
                Self::Release { hold } => desk.release(BUSINESS, hold).await.map(|()| None),
                Self::HangUp { call } => desk.release_call(BUSINESS, call).await.map(|()| None),
            }
        })
    }

    /// Another request that could have been meant for the same key by mistake.
    pub(crate) fn garbled(&self) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Book { tag, .. } | Self::BookHold { tag, .. } => tag.push_str(" garbled"),
            Self::Edit { name, .. } => name.push_str(" garbled"),
            Self::Hold { minutes, .. } | Self::Extend { minutes, .. } => *minutes += 1,
            Self::Swap { start, .. } | Self::Move { start, .. } => *start += TimeDelta::minutes(15),
            Self::Cancel { .. } | Self::Release { .. } | Self::HangUp { .. } => {}
        }
        other
    }

    /// Whether nobody it asks for had room. `None` when it asks for no time.
    pub(crate) fn is_taken(&self, tables: &Tables, now: i64) -> Option<bool> {
        let (what, chair, start) = match self {
            Self::Hold { what, chair, start, .. } | Self::Book { what, chair, start, .. } => {
                (Some(*what), *chair, *start)
            }
            Self::Swap { hold: id, start } | Self::Move { booking: id, start, chair: None } => {
                let known = tables.bookings.get(&id.to_string())?;
                return Some(tables.is_taken(
                    known.chair,
                    claim(known.service, known.span.1 - known.span.0, *start),
                    now,
                ));
            }
            Self::Move { booking, start, chair } => {
                let known = tables.bookings.get(&booking.to_string())?;
                let length = known.span.1 - known.span.0;
                return chair.map(|chair| tables.is_taken(chair, claim(known.service, length, *start), now));
            }
            _ => return None,
        };
        let length = what.map_or(0, |what| SERVICES[what].1 * 60_000_000);
        let mut chairs = (0..CAPACITIES.len()).filter(|known| chair.is_none_or(|chair| chair == *known));
        Some(chairs.all(|chair| tables.is_taken(chair, claim(what, length, start), now)))
    }
}

fn claim(what: Option<usize>, length: i64, start: DateTime<Utc>) -> Span {
    let (before, after) = what.map_or((0, 0), |what| (SERVICES[what].2, SERVICES[what].3));
    let start = start.timestamp_micros();
    (start - before * 60_000_000, start + length + after * 60_000_000)
}

/// What is wrong with an answer that says no. A caller may be told that there is no room, that it is too late, or that the
/// request makes no sense, and never that something broke.
pub(crate) fn check_no(error: &BookingError) -> Result<(), String> {
    match error {
        BookingError::Store(error) => Err(format!("a caller was told of a fault: {error}")),
        BookingError::Unknown(what) => Err(format!("a {what} that was acknowledged is not known")),
        BookingError::State(Refused::TooEarly) => Err("a caller was told that it is too early".to_owned()),
        BookingError::Refused(_)
        | BookingError::Invalid { .. }
        | BookingError::TooManyHolds
        | BookingError::TooManyTries { .. }
        | BookingError::State(_)
        | BookingError::KeyReused => Ok(()),
    }
}
