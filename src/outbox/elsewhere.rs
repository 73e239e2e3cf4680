//! An event that is gone from its calendar may have been moved to another one of the owner's.

use super::Outbox;
use crate::{
    domain::{BookingId, EventStatus, reconcile::Seen},
    google::{self, AccountKey},
    store::{calendars::Calendar, follow::seen},
};

impl Outbox {
    /// The calendar among `others` that shows a booking's event now, and what it shows.
    pub(super) async fn look_elsewhere(
        &self,
        account: AccountKey,
        others: &[Calendar],
        event_id: &str,
        booking: BookingId,
    ) -> Result<Option<(Calendar, Seen)>, google::Error> {
        let marked = booking.to_string();
        for calendar in others {
            match self.google.get_event(account, &calendar.google_id, event_id).await {
                Ok(item)
                    if item.event.status != EventStatus::Cancelled
                        && item.private_booking.as_deref() == Some(marked.as_str()) =>
                {
                    let seen = seen(&item.event, item.etag.as_deref(), calendar.time_zone);
                    return Ok(Some((calendar.clone(), seen)));
                }
                Ok(_)
                | Err(
                    google::Error::NotFound
                    | google::Error::AlreadyDeleted
                    | google::Error::Forbidden { .. }
                    | google::Error::BadRequest { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
