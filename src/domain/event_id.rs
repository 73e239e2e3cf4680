//! The ids of the Google events that slotd writes.

use data_encoding::{BASE32HEX_NOPAD, Encoding};
use sha2::{Digest, Sha256};

use super::BookingId;

/// Characters of a derived id: 20 bytes in base32hex.
const LENGTH: usize = 32;

/// The id of a booking's event: the same each time it is tried, so that a repeated insert cannot make a second event.
///
/// Google wants 5 to 1,024 of the characters `a`–`v` and `0`–`9` (base32hex of RFC 4648, lower case), and never takes an
/// id again that was deleted: `generation` rises whenever slotd itself removes the event or moves it to another calendar.
#[must_use]
pub fn derive(booking: BookingId, google_calendar_id: &str, generation: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(b"slotd event");
    hash.update(booking.uuid().as_bytes());
    hash.update(generation.to_be_bytes());
    hash.update(google_calendar_id.as_bytes());
    lower().encode(&hash.finalize()[..20])
}

/// Whether an id could be one of [`derive()`]'s. Ids that Google makes are shorter.
#[must_use]
pub fn has_shape(id: &str) -> bool {
    id.len() == LENGTH && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
}

fn lower() -> Encoding {
    let mut specification = BASE32HEX_NOPAD.specification();
    specification.symbols.make_ascii_lowercase();
    specification.encoding().expect("lower case is as good as upper case")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const BOOKING: BookingId = BookingId::new(Uuid::from_u128(0x0192_f5f4_7c1e_7000_8000_0000_0000_0001));

    #[test]
    fn an_id_is_the_same_in_every_version_of_slotd() {
        assert_eq!(derive(BOOKING, "anna@example.com", 0), "hehalmarpe3paqt0hb4p68b5t5ommkgk");
    }

    #[test]
    fn booking_calendar_and_generation_each_make_another_id() {
        let other = BookingId::new(Uuid::from_u128(2));
        let ids = [
            derive(BOOKING, "anna@example.com", 0),
            derive(BOOKING, "anna@example.com", 1),
            derive(BOOKING, "ben@example.com", 0),
            derive(other, "anna@example.com", 0),
        ];
        assert!(ids.iter().all(|id| has_shape(id)));
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }
}
