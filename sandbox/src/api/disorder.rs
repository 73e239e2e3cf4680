//! What faults do to the pages of a list of events.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::asked::{Asked, Last, Order, PagePoint};
use crate::faults::Effect;
use crate::model::Record;

/// Where the page after this one begins, and its number.
#[derive(Clone, Debug)]
pub(super) struct NextPage {
    pub(super) number: u32,
    pub(super) last: Last,
}

/// Whether the pass is one in no order, as its first page was struck.
pub(super) fn is_shuffled(asked: &Asked) -> bool {
    let begun = match &asked.page {
        Some(PagePoint { last, .. }) => matches!(last, Last::Sorted(..)),
        None => asked.effect() == Some(&Effect::Shuffle),
    };
    asked.order == Order::Revision && begun
}

/// An event's place in a pass in no order: the same for all pages of the pass.
pub(super) fn shuffled(upto: u64, record: &Record) -> Last {
    let hash = Sha256::new().chain_update(upto.to_be_bytes()).chain_update(record.id.as_bytes()).finalize();
    let place = hash.iter().take(8).fold(0_i64, |place, byte| (place << 8) | i64::from(*byte));
    Last::Sorted(place, record.id.clone())
}

/// The page as the fault that has struck the call leaves it. `key` tells an event's place in the pass.
pub(super) fn disturbed(
    asked: &Asked,
    upto: u64,
    mut records: Vec<Arc<Record>>,
    next: Option<NextPage>,
    key: impl Fn(&Record) -> Last,
) -> (Vec<Arc<Record>>, Option<NextPage>) {
    let first = || match (is_shuffled(asked), asked.order) {
        (false, Order::Revision) => Last::Revision(upto + 1),
        _ => Last::Sorted(i64::MIN, String::new()),
    };
    let start = || asked.page.as_ref().map_or_else(first, |page| page.last.clone());
    let number = asked.page_number();
    match asked.effect() {
        Some(Effect::EmptyPage) => (Vec::new(), Some(NextPage { number: number + 1, last: start() })),
        Some(Effect::RepeatPage) => (records, Some(NextPage { number, last: start() })),
        Some(Effect::PageLoop) => (records, Some(NextPage { number: 1, last: first() })),
        Some(Effect::Overlap { events }) => {
            // One event at least is not repeated, so that the pass gets on.
            let kept = records.len().saturating_sub(*events).max(1);
            let last = records.get(kept - 1).map(|record| key(record));
            let next = next.map(|next| NextPage { last: last.unwrap_or(next.last), ..next });
            (records, next)
        }
        Some(Effect::Shuffle) if !is_shuffled(asked) && !asked.has_named_order() => {
            records.sort_by_cached_key(|record| shuffled(upto, record).clone());
            (records, next)
        }
        _ => (records, next),
    }
}
