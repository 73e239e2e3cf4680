//! Finding a caller's bookings, and not those of somebody else.
//!
//! A phone number or a reference is no proof: many know them. So a second fact is asked for, and wrong tries are counted
//! in the transaction that looks, where they hold for every node and outlast a restart. A number that nobody has and a
//! fact that does not fit lead to the same answer, by the same steps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Booked, BookingError, Desk, Office, change::told};
use crate::{
    domain::{BusinessId, id::ApiKeyId, names::is_last_name, tries::Tries},
    store::{
        self, Lane, Tx,
        bookings::Booking,
        search::{Sought, Which},
    },
};

/// How far the time that a caller says may lie from the start of the booking.
pub const START_TOLERANCE: TimeDelta = TimeDelta::minutes(15);
/// Wrong tries in an hour about one phone number or reference.
pub const TRIES_ABOUT_ONE: i64 = 5;
/// Wrong tries in an hour with one key.
pub const TRIES_OF_KEY: i64 = 50;
/// Wrong tries in an hour in all of a business.
pub const TRIES_IN_ALL: i64 = 100;

/// What a caller said besides. All that is given must fit.
#[derive(Clone, Default)]
pub struct Facts {
    /// The last name.
    pub last_name: Option<String>,
    /// When the booking starts, more or less.
    pub start: Option<DateTime<Utc>>,
}

// People's data never shows in `Debug`.
impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Facts(..)")
    }
}

impl Facts {
    /// Whether nothing was said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last_name.is_none() && self.start.is_none()
    }

    fn fit(&self, booking: &Booking) -> bool {
        let name = booking.customer.as_ref().map_or("", |customer| customer.name.as_str());
        let named = self.last_name.as_deref().map(|said| is_last_name(said, name));
        let timed = self.start.map(|said| (said - booking.interval.start()).abs() <= START_TOLERANCE);
        named.unwrap_or(true) && timed.unwrap_or(true)
    }
}

/// A search.
#[derive(Debug, Clone)]
pub struct Search {
    /// By what.
    pub sought: Sought,
    /// What else was said.
    pub facts: Facts,
    /// Among which bookings.
    pub which: Which,
    /// With which key.
    pub key: ApiKeyId,
}

impl Desk {
    /// The bookings that are sought, in the order of their starts; none when a fact does not fit.
    ///
    /// # Errors
    ///
    /// [`BookingError::TooManyTries`] after too many that found nothing.
    pub async fn search(&self, business: BusinessId, search: Search) -> Result<Vec<Booked>, BookingError> {
        // A call id is the receptionist's own, and nobody on the phone knows it.
        let counted = !matches!(search.sought, Sought::Call(_));
        let work = store::work::<Vec<Booked>, BookingError, _>(move |tx| {
            let search = search.clone();
            Box::pin(async move {
                let office = Office::read(tx, business).await?;
                let counts = if counted { Counts::lock(tx, business, &search).await? } else { Counts::default() };
                let mut found = tx.sought_bookings(business, &search.sought, search.which).await?;
                found.retain(|booking| search.facts.fit(booking));
                counts.settle(tx, business, !found.is_empty()).await?;
                let mut bookings = Vec::with_capacity(found.len());
                for booking in found {
                    bookings.push(told(tx, &office, booking, None).await?);
                }
                Ok(bookings)
            })
        });
        let outcome = if counted { self.store.write(Lane::Caller, work).await } else { self.store.read(work).await };
        self.metrics.searches(match &outcome {
            Ok(found) if found.is_empty() => "nothing",
            Ok(_) => "found",
            Err(BookingError::TooManyTries { .. }) => "limited",
            Err(_) => "failed",
        });
        outcome
    }
}

/// The counts of tries that a search adds to.
#[derive(Default)]
struct Counts(Vec<(String, Tries)>);

impl Counts {
    /// Locks them, always in the same order, and finds out whether one is full.
    async fn lock(tx: &mut Tx, business: BusinessId, search: &Search) -> Result<Self, BookingError> {
        let about = tx.subject_of_tries(business, &search.sought).await?;
        let subjects =
            [(about, TRIES_ABOUT_ONE), ("all".to_owned(), TRIES_IN_ALL), (format!("key {}", search.key), TRIES_OF_KEY)];
        let (now, mut counts, mut longest) = (tx.now(), Vec::new(), None);
        for (subject, most) in subjects {
            let tries = tx.lock_tries(business, &subject).await?;
            longest = longest.max(tries.wait(most, now));
            counts.push((subject, tries));
        }
        match longest {
            Some(wait) => {
                let retry_after = wait.to_std().unwrap_or(Duration::from_secs(1));
                Err(BookingError::TooManyTries { retry_after })
            }
            None => Ok(Self(counts)),
        }
    }

    /// Counts a search that found nothing; forgets the tries about the one that was found.
    async fn settle(self, tx: &mut Tx, business: BusinessId, found: bool) -> Result<(), BookingError> {
        let now = tx.now();
        for (place, (subject, tries)) in self.0.into_iter().enumerate() {
            match (found, place) {
                (true, 0) => tx.forgive_tries(business, &subject).await?,
                (true, _) => tx.keep_tries(business, &subject, tries.at(now)).await?,
                (false, _) => tx.keep_tries(business, &subject, tries.wrong(now)).await?,
            }
        }
        Ok(())
    }
}
