//! What is read of days and weeks: dates that are not like others, days on which a service is full, and who has how much to
//! do.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    BookingError,
    office::{Diary, Office, Order},
};
use crate::{
    availability::{DateOverride, capped_days, weeks_of, whole_days},
    domain::{BookingId, BusinessId, Interval, ResourceId},
    store::Tx,
};

/// How long ago dates end that are still read: the mirror reaches back 35 days, and nothing is asked about before.
const READ_BACK: TimeDelta = TimeDelta::days(40);

/// Dates on which a business or somebody of it is not open as in other weeks.
#[derive(Debug, Default)]
pub struct Overrides {
    shared: Vec<DateOverride>,
    own: HashMap<ResourceId, Vec<DateOverride>>,
}

impl Overrides {
    /// Reads those of a business.
    pub(super) async fn read(tx: &mut Tx, business: BusinessId) -> Result<Self, BookingError> {
        let mut read = Self::default();
        // In the order of their dates, and no two of one list meet.
        for row in tx.overrides(business, (tx.now() - READ_BACK).date_naive()).await? {
            match row.resource {
                Some(resource) => read.own.entry(resource).or_default().push(row.dates),
                None => read.shared.push(row.dates),
            }
        }
        Ok(read)
    }

    /// Those of the whole business.
    pub(super) fn shared(&self) -> &[DateOverride] {
        &self.shared
    }

    /// Those of one resource.
    pub(super) fn own(&self, resource: ResourceId) -> &[DateOverride] {
        self.own.get(&resource).map_or(&[], Vec::as_slice)
    }
}

impl Diary {
    /// Reads on which days of `window` the service of `order` has reached its cap. `except` do not count.
    pub(super) async fn count(
        &mut self,
        tx: &mut Tx,
        office: &Office,
        order: &Order,
        window: Interval,
        except: &[BookingId],
    ) -> Result<(), BookingError> {
        let (Some(service), Some(cap)) = (order.service, order.rules.daily_cap) else { return Ok(()) };
        let zone = office.business.time_zone;
        let booked = tx.starts_of_service(office.business.id, service, whole_days(window, zone)).await?;
        let starts: Vec<DateTime<Utc>> =
            booked.into_iter().filter(|(id, _)| !except.contains(id)).map(|(_, start)| start).collect();
        self.capped = capped_days(&starts, cap, zone);
        Ok(())
    }

    /// Reads what `resources` have to do in the weeks of `window`, where there is a choice between several.
    pub(super) async fn weigh(
        &mut self,
        tx: &mut Tx,
        office: &Office,
        resources: &[ResourceId],
        window: Interval,
    ) -> Result<(), BookingError> {
        if resources.len() < 2 {
            return Ok(());
        }
        for week in weeks_of(window, office.business.time_zone) {
            for (resource, load) in tx.week_load(office.business.id, week, tx.now()).await? {
                self.loads.entry(resource).or_default().push(load);
            }
        }
        Ok(())
    }
}
