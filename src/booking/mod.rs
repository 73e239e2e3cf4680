//! The front desk: answers "is it free?", takes bookings, moves and cancels them.
//!
//! Questions are answered from the tables on one consistent state. A booking checks the same tables again under the
//! lock of its resource, in the transaction that writes it, with a constraint of the database behind the check.

mod ask;
mod book;
mod call;
mod change;
mod customer;
mod days;
mod error;
mod explain;
mod freshness;
mod hold;
mod look;
mod offers;
mod office;
mod remember;
mod search;
mod together;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::Notify;

pub use ask::{Answer, Busy, BusyAnswer, Gap, SlotsAnswer, SlotsQuestion};
pub use book::{Asked, Booked, NewBooking};
pub use call::{
    By, CallEvent, CallWatch, Ending, Hold, HoldStanding, Message, News, OVER, Picture, Standing as OfferStanding,
    Told, Voices,
};
pub use change::Change;
pub use customer::CustomerChange;
pub use error::{BookingError, Refusal};
pub use explain::{Cause, CauseKind, ExplainQuestion, Explanation, ResourceExplained, Verdict};
pub use freshness::{Doubt, Freshness, Standing};
pub use hold::{HOLD_LIFE_MAX, HOLDS_OF_CALL_MAX, HoldChange, NewHold};
pub use office::{Office, What, Wish};
pub use remember::{Key, Reply};
pub use search::{Facts, START_TOLERANCE, Search, TRIES_ABOUT_ONE, TRIES_IN_ALL, TRIES_OF_KEY};

use look::Wishes;
use offers::Offers;

use crate::{config, domain::SharedClock, store::Store, telemetry::Metrics};

/// Takes bookings. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    store: Store,
    clock: SharedClock,
    metrics: Metrics,
    /// Wakes the outbox of this node.
    outbox: Arc<Notify>,
    /// Wakes the mirrors of this node.
    mirrors: Arc<Notify>,
    /// Is told of each pass that ends on this node.
    passes: Arc<Notify>,
    /// Looks at Google that callers of this node wait for.
    wishes: Wishes,
    /// What calls were offered, on its way into the table.
    offers: Offers,
    limits: Limits,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What the desk goes by.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The longest that a caller waits for a fresh look at Google.
    verify_deadline: Duration,
    /// A booking asks for a fresh look when the last one is older.
    verify_after: TimeDelta,
    /// An unwatched calendar is fresh for this long.
    fresh_for: TimeDelta,
    /// How long a call is told what becomes of a slot that it was offered.
    offers_kept: TimeDelta,
}

/// What [`Desk`] stands on.
pub struct Foundation {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: SharedClock,
    /// Where to count.
    pub metrics: Metrics,
    /// Wakes the outbox of this node.
    pub outbox: Arc<Notify>,
    /// Wakes the mirrors of this node.
    pub mirrors: Arc<Notify>,
    /// Is told of each pass that ends on this node.
    pub passes: Arc<Notify>,
    /// The `[booking]` section.
    pub booking: config::Booking,
    /// The `[calls]` section.
    pub calls: config::Calls,
    /// The `[sync]` section.
    pub sync: config::Sync,
}

impl Desk {
    /// A desk over the store.
    #[must_use]
    pub fn new(foundation: Foundation) -> Self {
        let Foundation { store, clock, metrics, outbox, mirrors, passes, booking, calls, sync } = foundation;
        let limits = Limits {
            verify_deadline: Duration::from_millis(booking.verify_deadline_ms.into()),
            verify_after: TimeDelta::seconds(booking.verify_after_s.into()),
            fresh_for: TimeDelta::seconds(2 * i64::from(sync.poll_unwatched_s)),
            offers_kept: TimeDelta::seconds(calls.offers_kept_s.into()),
        };
        Self {
            store,
            clock,
            metrics,
            outbox,
            mirrors,
            passes,
            wishes: Wishes::default(),
            offers: Offers::default(),
            limits,
        }
    }

    /// Wakes the outbox of this node, for something is owed.
    pub fn wake_outbox(&self) {
        self.outbox.notify_one();
    }
}
