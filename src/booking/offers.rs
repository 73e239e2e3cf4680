//! Remembers what calls were offered, beside the answers: no question waits for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{BookingError, Desk};
use crate::{
    availability::{Alternative, Slot},
    domain::{BusinessId, ServiceId},
    store::{self, Lane, offers::Offer},
};

/// Calls whose offers may wait to be written. The offers of further ones are not remembered until there is room.
const WAITING_MAX: usize = 10_000;
/// Calls whose offers are written in one transaction.
const AT_ONCE: usize = 20;

type Waiting = BTreeMap<(BusinessId, String), Vec<Offer>>;

/// Offers that wait to be written.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers {
    waiting: Arc<Mutex<Waiting>>,
    wake: Arc<Notify>,
}

impl Offers {
    fn add(&self, business: BusinessId, call_id: &str, offers: impl Iterator<Item = Offer>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (business, call_id.to_owned());
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&key) {
            return;
        }
        let known = waiting.entry(key).or_default();
        known.extend(offers);
        // Of those the latest count, and of one answer the first.
        let surplus = known.len().saturating_sub(store::offers::OFFERS_OF_CALL_MAX);
        known.drain(..surplus);
        drop(waiting);
        self.wake.notify_one();
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = match waiting.keys().nth(AT_ONCE).cloned() {
            Some(next) => waiting.split_off(&next),
            None => Waiting::new(),
        };
        std::mem::replace(&mut waiting, rest)
    }
}

impl Desk {
    /// Notes that a call was told of `slots`, so that it hears what becomes of them.
    pub(super) fn note_offers(
        &self,
        business: BusinessId,
        call_id: Option<&str>,
        service: Option<ServiceId>,
        slots: impl IntoIterator<Item = Slot>,
    ) {
        let Some(call_id) = call_id else { return };
        let offer = |slot: Slot| Offer { interval: slot.interval, resource: slot.resource, service };
        let mut slots = slots.into_iter().take(store::offers::OFFERS_OF_CALL_MAX).map(offer).peekable();
        if slots.peek().is_some() {
            self.offers.add(business, call_id, slots);
        }
    }

    /// The same for what a refusal offers instead.
    pub(super) fn note_refusal<T>(&self, business: BusinessId, call_id: Option<&str>, of: &Result<T, BookingError>) {
        if let Err(BookingError::Refused(refusal)) = of {
            self.note_alternatives(business, call_id, refusal.service, &refusal.alternatives);
        }
    }

    /// The same for what is offered instead of something.
    pub(super) fn note_alternatives(
        &self,
        business: BusinessId,
        call_id: Option<&str>,
        service: Option<ServiceId>,
        alternatives: &[Alternative],
    ) {
        self.note_offers(business, call_id, service, alternatives.iter().map(|one| one.slot));
    }

    /// Writes down what calls were offered until `stop` is cancelled.
    pub async fn keep_offers(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.offers.wake.notified() => {}
            }
            loop {
                let waiting = self.offers.take();
                if waiting.is_empty() {
                    break;
                }
                let write = store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move {
                        for ((business, call_id), offers) in waiting {
                            tx.touch_call(business, &call_id, None).await?;
                            tx.remember_offers(business, &call_id, &offers).await?;
                        }
                        Ok(())
                    })
                });
                if let Err(error) = self.store.write(Lane::Background, write).await {
                    tracing::warn!(%error, "cannot remember what calls were offered");
                }
            }
        }
    }
}
