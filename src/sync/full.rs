//! A first sync, or a new one when the token is no longer good.
//!
//! Rows are staged beside the served ones in short transactions, under the fence of this pass as their generation. One
//! short transaction at the end switches to them together with the token, so no reader ever sees an empty or half mirror.

use std::collections::{BTreeMap, HashSet};

use super::{
    Mirrors,
    changes::{Slots, expand, is_tombstone, longest_us, single},
    incremental::mirrored,
    own::{OwnEvent, own_slots, split_own},
    pass::{Heading, PAGES_MAX, Pass, PassError, Report, Silence, tell_limited},
};
use crate::{
    domain::{
        Event, EventKind,
        sabotage::{Bug, sabotaged},
    },
    google::EventsQuery,
    store::{
        self, Lane,
        events::{BusySlot, Generation, MirroredEvent},
        limited::Limited,
    },
};

/// Rows of recurring events that are read at once to be expanded.
const RECURRING_ROWS: usize = 1_000;
/// Events that are put in order before they are written. Google's order scatters them over the whole table, and each
/// would touch pages of its own.
const SORTED_ROWS: usize = 20_000;

/// What a full pass has seen so far.
#[derive(Default)]
struct Seen {
    items: usize,
    odd: i64,
    /// Series that are not mirrored in full.
    limited: i64,
    longest_us: i64,
    /// Ids of slotd's own events.
    listed: HashSet<String>,
    /// Those that may differ from their bookings.
    own: Vec<OwnEvent>,
}

impl Mirrors {
    pub(super) async fn full(&self, pass: &Pass) -> Result<Report, PassError> {
        let staged = pass.generation(pass.lease.fence);
        let (mut heading, mut seen) = (Heading::default(), Seen::default());
        let lease = pass.lease;
        let begin =
            store::work::<(), store::Error, _>(move |tx| Box::pin(async move { tx.count_from_zero(&lease).await }));
        self.store.write(Lane::Background, begin).await?;
        // What full passes staged that came to no end.
        self.purge(staged).await?;
        let token = self.stage_pages(pass, staged, &mut heading, &mut seen).await?;
        let zone = heading.zone.unwrap_or(pass.calendar.time_zone);
        self.stage_series(pass, staged, zone, &mut seen).await?;
        self.recheck_absent(pass, std::mem::take(&mut seen.listed)).await?;
        self.follow_owner(pass, &seen.own).await?;
        self.stage_own(pass, staged, zone, &mut seen).await?;

        let mut finished = self.finished(pass, heading, token, seen.items, Silence::default());
        finished.generation = staged.number;
        finished.coverage = pass.window;
        finished.longest_us = seen.longest_us;
        finished.whole = true;
        finished.changed = true;
        finished.odd_events = seen.odd;
        self.metrics.odd_events(u64::try_from(seen.odd).unwrap_or_default());
        let (resource, length) = (pass.calendar.resource, self.lease());
        let switch = store::work::<bool, store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.keep_lease(&lease, length, 0).await?;
                // No booking is checked against the old slots and committed after the new ones.
                tx.lock_resources(lease.business, resource.as_slice()).await?;
                tx.finish_pass(&lease, &finished).await?;
                match resource {
                    Some(resource) => tx.note_conflicts(lease.business, resource).await,
                    None => Ok(false),
                }
            })
        });
        if self.store.write(Lane::Background, switch).await? {
            self.settle_conflicts().await;
        }
        tell_limited(pass, seen.limited);
        self.settled(pass);
        self.purge(staged).await?;
        Ok(Report { kind: "full", items: seen.items, dead_channel: false })
    }

    async fn stage_pages(
        &self,
        pass: &Pass,
        staged: Generation,
        heading: &mut Heading,
        seen: &mut Seen,
    ) -> Result<String, PassError> {
        let (mut page_token, mut rows) = (None::<String>, Vec::new());
        for _ in 0..PAGES_MAX {
            if page_token.is_some() {
                self.keep(pass).await?;
            }
            let query = EventsQuery {
                page_token: page_token.as_deref(),
                max_results: u16::try_from(self.config.page_size).unwrap_or(2_500),
                ..EventsQuery::default()
            };
            let google = if page_token.is_some() { &pass.google_again } else { &pass.google };
            let page = google.list_events(pass.account(), &pass.calendar.google_id, &query).await?;
            let zone_before = heading.zone;
            heading.read(&page);
            if zone_before.is_some() && zone_before != heading.zone {
                // What was staged of all-day events lies elsewhere now.
                return Err(PassError::ZoneMoved);
            }
            let zone = heading.zone.unwrap_or(pass.calendar.time_zone);
            seen.items += page.items.len();
            seen.odd += i64::try_from(page.items.iter().filter(|item| item.odd.is_some()).count() + page.without_id)
                .unwrap_or_default();

            let (own, theirs) = split_own(&self.store, pass.calendar.business, page.items).await?;
            let own_rows: Vec<MirroredEvent> = own.iter().map(OwnEvent::row).collect();
            seen.listed.extend(own.iter().map(|own| own.event.id.clone()));
            seen.own.extend(own.into_iter().filter(|own| !own.is_echo(zone)));
            self.stage(pass, staged, own_rows, Vec::new(), seen).await?;
            if sabotaged(Bug::ServedTooEarly) && pass.calendar.mirror.sync_token.is_some() {
                self.serve_early(pass, staged).await?;
            }

            // Tombstones of single events and masters are of no use in a fresh state.
            let kept = theirs.into_iter().filter(|item| !is_tombstone(&item.event));
            rows.extend(kept.map(mirrored));
            if rows.len() >= SORTED_ROWS || page.next_page_token.is_none() {
                self.stage_sorted(pass, staged, std::mem::take(&mut rows), zone, seen).await?;
            }

            match (page.next_page_token, page.next_sync_token) {
                (Some(next), _) if page_token.as_ref() == Some(&next) => return Err(PassError::Endless),
                (Some(next), _) => page_token = Some(next),
                (None, Some(token)) => return Ok(token),
                (None, None) => return Err(PassError::NoToken),
            }
        }
        Err(PassError::Endless)
    }

    /// A deliberate bug: switches to rows that are not complete.
    async fn serve_early(&self, pass: &Pass, staged: Generation) -> Result<(), PassError> {
        let token = pass.calendar.mirror.sync_token.clone().unwrap_or_default();
        let (lease, length) = (pass.lease, self.lease());
        let mut finished = self.finished(pass, Heading::default(), token, 0, Silence::default());
        finished.generation = staged.number;
        let switch = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.finish_pass(&lease, &finished).await?;
                tx.keep_lease(&lease, length, 0).await
            })
        });
        Ok(self.store.write(Lane::Background, switch).await?)
    }

    /// Writes events in the order of the table, and the busy slots of those that happen once.
    async fn stage_sorted(
        &self,
        pass: &Pass,
        staged: Generation,
        mut rows: Vec<MirroredEvent>,
        zone: chrono_tz::Tz,
        seen: &mut Seen,
    ) -> Result<(), PassError> {
        // Stable: of an event that changed while the pages were read, the later state comes last, and stays.
        rows.sort_by(|a, b| a.event.id.cmp(&b.event.id));
        rows.dedup_by(|later, earlier| {
            let same = later.event.id == earlier.event.id;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let mut rest = rows.into_iter();
        loop {
            let rows: Vec<MirroredEvent> = rest.by_ref().take(self.rows_max()).collect();
            if rows.is_empty() {
                return Ok(());
            }
            let once = rows.iter().filter(|row| row.event.kind == EventKind::Single);
            let busy = once.filter_map(|row| single(&row.event, zone, pass.window)).collect();
            self.stage(pass, staged, rows, busy, seen).await?;
        }
    }

    /// Writes staged rows, and shows the lease that somebody still works on it.
    async fn stage(
        &self,
        pass: &Pass,
        staged: Generation,
        rows: Vec<MirroredEvent>,
        busy: Vec<BusySlot>,
        seen: &mut Seen,
    ) -> Result<(), PassError> {
        if rows.is_empty() && busy.is_empty() {
            return Ok(());
        }
        seen.longest_us = seen.longest_us.max(longest_us(&busy));
        let (lease, length) = (pass.lease, self.lease());
        let write = store::work::<(), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.keep_lease(&lease, length, rows.len()).await?;
                tx.put_events(staged, &rows).await?;
                tx.put_busy(staged, &busy).await
            })
        });
        Ok(self.store.write(Lane::Background, write).await?)
    }

    /// Expands every staged series, a few at a time: masters and exceptions may have come on different pages.
    async fn stage_series(
        &self,
        pass: &Pass,
        staged: Generation,
        zone: chrono_tz::Tz,
        seen: &mut Seen,
    ) -> Result<(), PassError> {
        let mut after = String::new();
        loop {
            let from = after.clone();
            let read = store::work::<(Vec<Event>, bool), store::Error, _>(move |tx| {
                Box::pin(async move { tx.whole_series(staged, &from, RECURRING_ROWS).await })
            });
            let (rows, more) = self.store.read(read).await?;
            let Some(last) = rows.last().map(|row| row.series_id().to_owned()) else { return Ok(()) };
            let (mut slots, mut masters) = (Slots::default(), Vec::new());
            for group in rows.chunk_by(|a, b| a.series_id() == b.series_id()) {
                let master = group.iter().any(|event| matches!(event.kind, EventKind::Master { .. }));
                match if master { None } else { self.fetch_master(pass, group[0].series_id()).await? } {
                    None => expand(group, zone, pass.window, &mut slots),
                    Some(master) => {
                        let whole: Vec<Event> = group.iter().cloned().chain([master.event.clone()]).collect();
                        expand(&whole, zone, pass.window, &mut slots);
                        masters.push(master);
                    }
                }
            }
            seen.limited += self.stage_limited(pass, staged, slots.limited).await?;
            self.stage(pass, staged, masters, Vec::new(), seen).await?;
            let mut busy = slots.busy;
            while !busy.is_empty() {
                let rest = busy.split_off(busy.len().min(self.rows_max() * 2));
                self.stage(pass, staged, Vec::new(), busy, seen).await?;
                busy = rest;
            }
            if !more {
                return Ok(());
            }
            after = last;
        }
    }

    /// Notes which staged series are not mirrored in full. Returns how many they are.
    async fn stage_limited(
        &self,
        pass: &Pass,
        staged: Generation,
        limited: BTreeMap<String, Limited>,
    ) -> Result<i64, PassError> {
        let count = i64::try_from(limited.len()).unwrap_or(i64::MAX);
        if count > 0 {
            let (lease, length) = (pass.lease, self.lease());
            let write = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.keep_lease(&lease, length, 0).await?;
                    for (id, why) in &limited {
                        tx.limit_series(staged, id, Some(*why)).await?;
                    }
                    Ok(())
                })
            });
            self.store.write(Lane::Background, write).await?;
        }
        Ok(count)
    }

    /// Writes the busy slots of slotd's own events, as their bookings are now.
    async fn stage_own(
        &self,
        pass: &Pass,
        staged: Generation,
        zone: chrono_tz::Tz,
        seen: &mut Seen,
    ) -> Result<(), PassError> {
        let mut rest = std::mem::take(&mut seen.own);
        while !rest.is_empty() {
            let own: Vec<OwnEvent> = rest.drain(..rest.len().min(self.rows_max())).collect();
            let (lease, length, window) = (pass.lease, self.lease(), pass.window);
            let write = store::work::<i64, store::Error, _>(move |tx| {
                Box::pin(async move {
                    tx.keep_lease(&lease, length, 0).await?;
                    let busy = own_slots(tx, &own, zone, window).await?;
                    tx.put_busy(staged, &busy).await?;
                    Ok(longest_us(&busy))
                })
            });
            seen.longest_us = seen.longest_us.max(self.store.write(Lane::Background, write).await?);
        }
        Ok(())
    }

    /// Removes the rows of earlier generations that are not served, in short transactions.
    async fn purge(&self, keep: Generation) -> Result<(), PassError> {
        let limit = self.rows_max();
        loop {
            let purge = store::work::<u64, store::Error, _>(move |tx| {
                Box::pin(async move { tx.purge_generations(keep, limit).await })
            });
            if self.store.write(Lane::Background, purge).await? == 0 {
                return Ok(());
            }
        }
    }
}
