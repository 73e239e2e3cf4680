//! The horizon moves with the days, without asking Google: what repeats is expanded further.

use super::{
    Mirrors,
    changes::{Slots, expand, longest_us, single},
    own::own_bookings,
};
use crate::{
    domain::{
        BusinessId, CalendarId, Event, Interval,
        sabotage::{Bug, sabotaged},
    },
    store::{self, Lane, calendars::Calendar, events::Generation, leases::Lease},
};

/// Calendars moved in one go.
const BATCH: usize = 100;
/// Rows read at once.
const ROWS: usize = 1_000;

impl Mirrors {
    /// Moves the horizon of every calendar that lags behind. Returns how many it moved. One that is being synced is left
    /// for the next time.
    pub async fn extend_horizon(&self) -> store::Result<usize> {
        let wanted = self.window(self.clock.now()).end();
        let mut moved = 0;
        loop {
            let due = store::work::<Vec<(BusinessId, CalendarId)>, store::Error, _>(move |tx| {
                Box::pin(async move { tx.short_mirrors(wanted, BATCH).await })
            });
            let calendars = self.store.read(due).await?;
            let before = moved;
            for (business, id) in calendars {
                moved += usize::from(self.extend(business, id).await?);
            }
            if moved == before {
                return Ok(moved);
            }
        }
    }

    async fn extend(&self, business: BusinessId, id: CalendarId) -> store::Result<bool> {
        let length = self.lease();
        let claim = store::work::<Option<(Lease, Calendar)>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let Some(lease) = tx.claim_calendar(business, id, length).await? else { return Ok(None) };
                Ok(tx.calendar(business, id).await?.map(|calendar| (lease, calendar)))
            })
        });
        let Some((lease, calendar)) = self.store.write(Lane::Background, claim).await? else { return Ok(false) };
        let window = self.window(self.clock.now());
        let added = calendar.mirror.coverage.and_then(|covered| Interval::new(covered.end(), window.end()));
        let Some(added) = added else {
            let release = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move { tx.release_calendar(&lease).await })
            });
            self.store.write(Lane::Background, release).await?;
            return Ok(false);
        };
        let longest = self.add_slots(&lease, &calendar, added).await?;
        let finish = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.coverage_rolled(&lease, window, longest).await?;
                tx.release_calendar(&lease).await
            })
        });
        self.store.write(Lane::Background, finish).await?;
        self.wake.notify_one();
        Ok(true)
    }

    /// Adds what the mirrored events make of `added`. Slots beyond the coverage are not looked at until it moves, so this
    /// may take many transactions. Returns the longest slot in microseconds.
    async fn add_slots(&self, lease: &Lease, calendar: &Calendar, added: Interval) -> store::Result<i64> {
        let served =
            Generation { business: calendar.business, calendar: calendar.id, number: calendar.mirror.generation };
        let mut longest = 0;
        for recurring in [true, false] {
            let mut after = String::new();
            loop {
                let from = after.clone();
                let read = store::work::<(Vec<Event>, bool), store::Error, _>(move |tx| {
                    Box::pin(async move {
                        if !recurring {
                            let rows = tx.single_events(served, &from, ROWS).await?;
                            let more = rows.len() == ROWS;
                            return Ok((rows, more));
                        }
                        tx.whole_series(served, &from, ROWS).await
                    })
                });
                let (rows, more) = self.store.read(read).await?;
                let Some(last) = rows.last().map(|row| row.series_id().to_owned()) else { break };
                let mut slots = Slots::default();
                if recurring && sabotaged(Bug::HorizonForgetsSeries) {
                    break;
                }
                if recurring {
                    for group in rows.chunk_by(|a, b| a.series_id() == b.series_id()) {
                        expand(group, calendar.time_zone, added, &mut slots);
                    }
                } else {
                    let ids = rows.iter().map(|event| event.id.clone());
                    // A booking's own event never makes a busy slot; its booking does.
                    let own = own_bookings(&self.store, calendar.business, ids).await?;
                    let theirs = rows.iter().filter(|event| !own.contains_key(&event.id));
                    slots.busy.extend(theirs.filter_map(|event| single(event, calendar.time_zone, added)));
                }
                longest = longest.max(longest_us(&slots.busy));
                self.add(lease, served, slots).await?;
                if !more {
                    break;
                }
                after = last;
            }
        }
        Ok(longest)
    }

    async fn add(&self, lease: &Lease, served: Generation, slots: Slots) -> store::Result<()> {
        if !slots.limited.is_empty() {
            let (lease, length, limited) = (*lease, self.lease(), slots.limited);
            let write = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.keep_lease(&lease, length, 0).await?;
                    for (id, why) in &limited {
                        tx.limit_series(served, id, Some(*why)).await?;
                    }
                    Ok(())
                })
            });
            self.store.write(Lane::Background, write).await?;
        }
        for chunk in slots.busy.chunks(self.rows_max() * 2) {
            let (chunk, lease, length) = (chunk.to_vec(), *lease, self.lease());
            let write = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.keep_lease(&lease, length, 0).await?;
                    tx.put_busy(served, &chunk).await
                })
            });
            self.store.write(Lane::Background, write).await?;
        }
        Ok(())
    }
}
