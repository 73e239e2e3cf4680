//! What changed since the last pass, applied in one short transaction together with the token.

use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;

use super::{
    Mirrors,
    changes::{Groups, Slots, expand, is_tombstone, longest_us, missing_masters},
    own::{OwnEvent, own_slots, split_own},
    pass::{Heading, PAGES_MAX, Pass, PassError, Report, tell_limited},
};
use crate::{
    domain::{
        Event, EventKind, EventStatus,
        sabotage::{Bug, sabotaged},
    },
    google::{self, AccountKey, EventsQuery, Google, Item},
    store::{
        self, Lane,
        events::{BusySlot, MirroredEvent},
    },
};

/// Most items that one transaction applies. More are staged like a first sync.
pub(super) const ITEMS_MAX: usize = 2_500;
/// Most exceptions that are asked for one by one. With more in doubt, everything is read anew.
const DOUBTFUL_MAX: usize = 50;
/// Most busy slots that one transaction replaces.
const SLOTS_MAX: usize = 5_000;

impl Mirrors {
    pub(super) async fn incremental(&self, pass: &Pass, token: &str) -> Result<Report, PassError> {
        let (items, heading, token) = self.changed_items(pass, token).await?;
        let zone = heading.zone.filter(|_| !sabotaged(Bug::ZoneIgnored)).unwrap_or(pass.calendar.time_zone);
        let zone_changed = zone != pass.calendar.time_zone;
        let count = items.len();
        let odd = items.iter().filter(|item| item.odd.is_some()).count();
        let silence = self.silence(pass, count);
        let mut finished = self.finished(pass, heading, token, count, silence);
        finished.changed |= zone_changed;
        finished.odd_events = pass.calendar.mirror.odd_events + i64::try_from(odd).unwrap_or_default();
        self.metrics.odd_events(u64::try_from(odd).unwrap_or_default());

        if count == 0 && !zone_changed {
            let lease = pass.lease;
            let finish = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move { tx.finish_pass(&lease, &finished).await })
            });
            self.store.write(Lane::Background, finish).await?;
            self.settled(pass);
            return Ok(Report { kind: "incremental", items: 0, dead_channel: false });
        }

        let (own, theirs) = split_own(&self.store, pass.calendar.business, items).await?;
        let mirrored: Vec<MirroredEvent> = theirs.into_iter().filter(is_wanted).map(mirrored).collect();
        // Every all-day event lies elsewhere when the zone has changed, and every series without a zone of its own.
        let floating = if zone_changed { self.floating(pass).await? } else { BTreeMap::new() };
        let (groups, masters) = self.groups(pass, &mirrored, floating, zone).await?;
        let mut slots = Slots::default();
        for rows in groups.series.values() {
            expand(rows, zone, finished.coverage, &mut slots);
        }
        if slots.busy.len() > SLOTS_MAX {
            return Err(PassError::TooMuch);
        }
        self.follow_owner(pass, &own).await?;

        let (lease, served, length) = (pass.lease, pass.served(), self.lease());
        let resource = pass.calendar.resource;
        let gone = |id: &String| groups.deleted.contains(id) || groups.dropped.contains(id);
        let kept: Vec<MirroredEvent> =
            mirrored.into_iter().chain(masters).filter(|event| !gone(&event.event.id)).collect();
        let own_ids: Vec<String> = own.iter().map(|own| own.event.id.clone()).collect();
        let own_rows: Vec<MirroredEvent> = own.iter().map(OwnEvent::row).collect();
        if sabotaged(Bug::TokenBeforeRows) {
            let finished = finished.clone();
            let early = store::work::<(), store::Error, _>(move |tx| {
                Box::pin(async move { tx.finish_pass(&lease, &finished).await })
            });
            self.store.write(Lane::Background, early).await?;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let apply = store::work::<(i64, bool), store::Error, _>(move |tx| {
            Box::pin(async move {
                tx.keep_lease(&lease, length, 0).await?;
                slots.busy.extend(own_slots(tx, &own, zone, finished.coverage).await?);
                finished.longest_us = longest_us(&slots.busy);
                // No booking is checked against the old slots and committed after the new ones.
                tx.lock_resources(lease.business, resource.as_slice()).await?;
                for id in &groups.deleted {
                    tx.delete_event(served, id).await?;
                    tx.delete_series(served, id).await?;
                }
                for id in &groups.dropped {
                    tx.delete_event(served, id).await?;
                }
                tx.put_events(served, &kept).await?;
                tx.put_events(served, &own_rows).await?;
                let mut of_series: BTreeMap<String, Vec<BusySlot>> = BTreeMap::new();
                for slot in slots.busy {
                    of_series.entry(slot.series_id.clone()).or_default().push(slot);
                }
                // One moved instance of a long series costs its own two slots, not the series'.
                for id in groups.series.keys().chain(&own_ids) {
                    tx.replace_slots(served, id, &of_series.remove(id).unwrap_or_default()).await?;
                    tx.limit_series(served, id, slots.limited.get(id).copied()).await?;
                }
                tx.finish_pass(&lease, &finished).await?;
                let mut meets = false;
                if let Some(resource) = resource {
                    meets = tx.note_conflicts(lease.business, resource).await?;
                }
                Ok((tx.count_limited(served).await?, meets))
            })
        });
        let (limited, meets) = self.store.write(Lane::Background, apply).await?;
        if meets {
            self.settle_conflicts().await;
        }
        tell_limited(pass, limited);
        self.settled(pass);
        Ok(Report { kind: "incremental", items: count, dead_channel: silence.dead })
    }

    async fn changed_items(&self, pass: &Pass, token: &str) -> Result<(Vec<Item>, Heading, String), PassError> {
        let (mut items, mut heading, mut page_token) = (Vec::new(), Heading::default(), None::<String>);
        for _ in 0..PAGES_MAX {
            if page_token.is_some() {
                self.keep(pass).await?;
            }
            let query = EventsQuery {
                sync_token: Some(token),
                page_token: page_token.as_deref(),
                max_results: u16::try_from(self.config.page_size).unwrap_or(2_500),
                ..EventsQuery::default()
            };
            let google = if page_token.is_some() { &pass.google_again } else { &pass.google };
            let mut page = google.list_events(pass.account(), &pass.calendar.google_id, &query).await?;
            heading.read(&page);
            let last = page_token.is_some() && page.next_page_token.is_none();
            if !(last && sabotaged(Bug::LastPageForgotten)) {
                items.append(&mut page.items);
            }
            if items.len() > ITEMS_MAX {
                return Err(PassError::TooMuch);
            }
            match (page.next_page_token, page.next_sync_token) {
                (Some(next), _) if page_token.as_ref() == Some(&next) => return Err(PassError::Endless),
                (Some(next), _) => page_token = Some(next),
                (None, Some(token)) => return Ok((latest(items), heading, token)),
                (None, None) => return Err(PassError::NoToken),
            }
        }
        Err(PassError::Endless)
    }

    /// What is known of every series that `changed` touches, and of the `floating` ones, with the changes applied; and
    /// masters that had to be asked for.
    async fn groups(
        &self,
        pass: &Pass,
        changed: &[MirroredEvent],
        floating: BTreeMap<String, Vec<Event>>,
        zone: Tz,
    ) -> Result<(Groups, Vec<MirroredEvent>), PassError> {
        let events: Vec<Event> = changed.iter().map(|event| event.event.clone()).collect();
        let touched: BTreeSet<String> =
            events.iter().filter(|event| !is_tombstone(event)).map(|event| event.series_id().to_owned()).collect();
        let served = pass.served();
        let read = store::work::<BTreeMap<String, Vec<Event>>, store::Error, _>(move |tx| {
            Box::pin(async move {
                let mut stored = BTreeMap::new();
                for id in touched {
                    let rows = tx.series(served, &id).await?;
                    stored.insert(id, rows);
                }
                Ok(stored)
            })
        });
        let mut stored = floating;
        stored.extend(self.store.read(read).await?);
        let mut groups = Groups::apply(stored, &events, zone);
        let mut masters = Vec::new();
        for id in missing_masters(&groups.series) {
            if let Some(master) = self.fetch_master(pass, &id).await? {
                groups.series.entry(id).or_default().push(master.event.clone());
                masters.push(master);
            }
        }
        let confirmed = self.confirm_exceptions(pass, changed, &events, &mut groups).await?;
        masters.extend(confirmed);
        Ok((groups, masters))
    }

    /// Asks for each exception in doubt whether it still is one. Google answers with a plain instance, which is as old as
    /// its master, or with nothing where there is none.
    async fn confirm_exceptions(
        &self,
        pass: &Pass,
        changed: &[MirroredEvent],
        events: &[Event],
        groups: &mut Groups,
    ) -> Result<Vec<MirroredEvent>, PassError> {
        let doubtful = groups.doubtful(events);
        if doubtful.len() > DOUBTFUL_MAX {
            return Err(PassError::TooMuch);
        }
        let mut confirmed = Vec::new();
        for id in doubtful {
            let found = match self.fetch_event(pass, &id).await {
                // No word on whether it is there.
                Err(PassError::Google(google::Error::Forbidden { .. } | google::Error::BadRequest { .. })) => continue,
                found => found?,
            };
            let instance = found.filter(|item| {
                let master = changed.iter().find(|master| master.event.id == item.event.series_id());
                matches!(item.event.kind, EventKind::Exception { .. })
                    && master.is_none_or(|master| master.etag.is_none() || master.etag != item.etag)
            });
            groups.settle(&id, instance.as_ref().map(|item| &item.event));
            confirmed.extend(instance.map(mirrored));
        }
        Ok(confirmed)
    }

    /// The master that an exception names and that no page held. `None` when Google says that it is gone, or not to be
    /// seen: somebody may be invited to one instance only.
    pub(super) async fn fetch_master(&self, pass: &Pass, id: &str) -> Result<Option<MirroredEvent>, PassError> {
        match self.fetch_event(pass, id).await {
            Err(PassError::Google(google::Error::Forbidden { .. } | google::Error::BadRequest { .. })) => Ok(None),
            found => Ok(found?.filter(|item| !is_tombstone(&item.event)).map(mirrored)),
        }
    }

    /// `None` when there is no such event.
    async fn fetch_event(&self, pass: &Pass, id: &str) -> Result<Option<Item>, PassError> {
        self.keep(pass).await?;
        match pass.google_again.get_event(pass.account(), &pass.calendar.google_id, id).await {
            Ok(item) => Ok(Some(item)),
            Err(google::Error::NotFound | google::Error::AlreadyDeleted) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// As [`Mirrors::fetch_master`], for whoever has no lease of the calendar.
pub(super) async fn ask_master(
    google: &Google,
    account: AccountKey,
    calendar: &str,
    id: &str,
) -> Result<Option<Item>, google::Error> {
    match google.get_event(account, calendar, id).await {
        Ok(item) if !is_tombstone(&item.event) => Ok(Some(item)),
        Ok(_)
        | Err(
            google::Error::NotFound
            | google::Error::AlreadyDeleted
            | google::Error::Forbidden { .. }
            | google::Error::BadRequest { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last word on each event, in the order of first mention: a page may repeat what an earlier one said.
fn latest(items: Vec<Item>) -> Vec<Item> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Item> = Vec::with_capacity(items.len());
    for item in items {
        if let Some(&place) = places.get(&item.event.id) {
            kept[place] = item;
        } else {
            places.insert(item.event.id.clone(), kept.len());
            kept.push(item);
        }
    }
    kept
}

/// Whether an item is to be mirrored, which it always is, but for a deliberate bug.
fn is_wanted(item: &Item) -> bool {
    let exception = matches!(item.event.kind, EventKind::Exception { .. });
    let cancelled = item.event.status == EventStatus::Cancelled;
    !(exception && sabotaged(Bug::ExceptionsDropped)
        || exception && cancelled && sabotaged(Bug::HolesIgnored)
        || is_tombstone(&item.event) && sabotaged(Bug::TombstonesIgnored))
}

/// The row of an event.
pub(super) fn mirrored(item: Item) -> MirroredEvent {
    MirroredEvent { event: item.event, etag: item.etag, title: item.title }
}
