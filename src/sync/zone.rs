//! A calendar's zone changed: what has no zone of its own lies elsewhere now. Google need not be asked for it again.

use std::collections::BTreeMap;

use super::{
    Mirrors,
    incremental::ITEMS_MAX,
    own::own_bookings,
    pass::{Pass, PassError},
};
use crate::{
    domain::Event,
    store::{self},
};

/// Rows read at once.
const ROWS: usize = 1_000;

impl Mirrors {
    /// The mirrored events whose times depend on the calendar's zone, by series.
    ///
    /// # Errors
    ///
    /// [`PassError::TooMuch`] when they are more than one short transaction should move.
    pub(super) async fn floating(&self, pass: &Pass) -> Result<BTreeMap<String, Vec<Event>>, PassError> {
        let mut floating: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        let mut count = 0;
        for recurring in [true, false] {
            let mut after = String::new();
            loop {
                let (served, from) = (pass.served(), after.clone());
                let read = store::work::<(Vec<Event>, bool), store::Error, _>(move |tx| {
                    Box::pin(async move {
                        if recurring {
                            return tx.whole_series(served, &from, ROWS).await;
                        }
                        let rows = tx.single_events(served, &from, ROWS).await?;
                        let more = rows.len() == ROWS;
                        Ok((rows, more))
                    })
                });
                let (rows, more) = self.store.read(read).await?;
                let Some(last) = rows.last().map(|row| row.series_id().to_owned()) else { break };
                for group in rows.chunk_by(|a, b| a.series_id() == b.series_id()) {
                    if group.iter().any(Event::floats) {
                        count += group.len();
                        floating.insert(group[0].series_id().to_owned(), group.to_vec());
                    }
                }
                if count > ITEMS_MAX {
                    return Err(PassError::TooMuch);
                }
                if !more {
                    break;
                }
                after = last;
            }
        }
        // The owner made an all-day event of one of slotd's: its booking has to be followed, as in any full pass.
        let own = own_bookings(&self.store, pass.calendar.business, floating.keys().cloned()).await?;
        if own.is_empty() { Ok(floating) } else { Err(PassError::TooMuch) }
    }
}
