//! What faults do to the pages of a list.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Call;
use crate::faults::Effect;
use crate::model::{Place, Record};

/// The number of the page after this one, and the place in the pass that it begins after.
#[derive(Clone, Debug)]
pub(super) struct NextPage<P> {
    pub(super) number: u32,
    pub(super) last: P,
}

/// An event's place in a pass in no order: the same for all pages of the pass.
pub(super) fn shuffled(upto: u64, record: &Record) -> Place {
    let hash = Sha256::new().chain_update(upto.to_be_bytes()).chain_update(record.id.as_bytes()).finalize();
    let place = hash.iter().take(8).fold(0_i64, |place, byte| (place << 8) | i64::from(*byte));
    (place, record.id.clone())
}

/// The page as the fault that has struck the call leaves it: its items, and where the next one begins. The pass begins
/// at `first`, the page after `start`; `key` tells an item's place in the pass.
pub(super) fn disturbed<T, P: Serialize>(
    call: &Call,
    first: P,
    start: Option<P>,
    mut items: Vec<T>,
    next: Option<NextPage<P>>,
    key: impl Fn(&T) -> P,
) -> (Vec<T>, Option<NextPage<P>>) {
    match call.effect {
        Some(Effect::EmptyPage) => (Vec::new(), Some(NextPage { number: call.page + 1, last: start.unwrap_or(first) })),
        Some(Effect::RepeatPage) => (items, Some(NextPage { number: call.page, last: start.unwrap_or(first) })),
        Some(Effect::PageLoop) => (items, Some(NextPage { number: 1, last: first })),
        Some(Effect::Overlap { items: again }) => {
            // One item at least is not repeated, so that the pass gets on.
            let kept = items.len().saturating_sub(again).max(1);
            let last = items.get(kept - 1).map(key);
            let next = next.map(|next| NextPage { last: last.unwrap_or(next.last), ..next });
            (items, next)
        }
        Some(Effect::Shuffle) if !call.query.has("orderBy") => {
            items.sort_by_cached_key(|item| Sha256::digest(serde_json::to_vec(&key(item)).unwrap_or_default()));
            (items, next)
        }
        _ => (items, next),
    }
}
