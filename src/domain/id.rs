//! Identifiers that cannot be mixed up.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// The UUID of a `K`. Two ids of different kinds do not compare, so a resource's id cannot stand where a calendar's is
/// meant.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

/// Marks what an [`Id`] names, and how messages call it.
pub trait Kind {
    /// The word of the vocabulary, lower case.
    const NAME: &'static str;
}

/// Marker types of the ids. They hold nothing.
pub mod kind {
    use super::Kind;

    /// A tenant.
    #[derive(Debug)]
    pub enum Business {}
    /// Who or what is booked.
    #[derive(Debug)]
    pub enum Resource {}
    /// What is booked.
    #[derive(Debug)]
    pub enum Service {}
    /// A connected Google account.
    #[derive(Debug)]
    pub enum Account {}
    /// A mirrored calendar (slotd's id, not Google's).
    #[derive(Debug)]
    pub enum Calendar {}
    /// A watch channel.
    #[derive(Debug)]
    pub enum Channel {}
    /// A booking or hold.
    #[derive(Debug)]
    pub enum Booking {}
    /// What a booking meets, or how its event differs.
    #[derive(Debug)]
    pub enum Conflict {}
    /// An API key.
    #[derive(Debug)]
    pub enum ApiKey {}
    /// Dates that are not like the week.
    #[derive(Debug)]
    pub enum Override {}
    /// A delivery owed to the outside.
    #[derive(Debug)]
    pub enum Delivery {}
    /// Where notices of a business go.
    #[derive(Debug)]
    pub enum Endpoint {}

    impl Kind for Business {
        const NAME: &'static str = "business";
    }
    impl Kind for Resource {
        const NAME: &'static str = "resource";
    }
    impl Kind for Service {
        const NAME: &'static str = "service";
    }
    impl Kind for Account {
        const NAME: &'static str = "account";
    }
    impl Kind for Calendar {
        const NAME: &'static str = "calendar";
    }
    impl Kind for Channel {
        const NAME: &'static str = "channel";
    }
    impl Kind for Booking {
        const NAME: &'static str = "booking";
    }
    impl Kind for Conflict {
        const NAME: &'static str = "conflict";
    }
    impl Kind for ApiKey {
        const NAME: &'static str = "API key";
    }
    impl Kind for Override {
        const NAME: &'static str = "override";
    }
    impl Kind for Delivery {
        const NAME: &'static str = "delivery";
    }
    impl Kind for Endpoint {
        const NAME: &'static str = "webhook endpoint";
    }
}

/// Names a tenant.
pub type BusinessId = Id<kind::Business>;
/// Names who or what is booked.
pub type ResourceId = Id<kind::Resource>;
/// Names what is booked.
pub type ServiceId = Id<kind::Service>;
/// Names a connected Google account.
pub type AccountId = Id<kind::Account>;
/// Names a mirrored calendar in slotd. Google's own id of it is a string.
pub type CalendarId = Id<kind::Calendar>;
/// Names a watch channel; also the channel id that Google is told.
pub type ChannelId = Id<kind::Channel>;
/// Names a booking, from its hold on.
pub type BookingId = Id<kind::Booking>;
/// Names a conflict of a booking.
pub type ConflictId = Id<kind::Conflict>;
/// Names an API key.
pub type ApiKeyId = Id<kind::ApiKey>;
/// Names dates that are not like the week.
pub type OverrideId = Id<kind::Override>;
/// Names a row of the outbox.
pub type DeliveryId = Id<kind::Delivery>;
/// Names where notices of a business go.
pub type EndpointId = Id<kind::Endpoint>;

impl<K> Id<K> {
    /// Takes a UUID for a `K`.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The bare UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a {kind}: a UUID such as 0192f5f4-7c1e-7000-8000-000000000000 is expected")]
pub struct NotAnId {
    text: String,
    kind: &'static str,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let shown = || text.chars().take(64).collect();
        // Only the hyphenated form, so that one id has one spelling in URLs, logs and rows.
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        uuid.map(Self::new).ok_or_else(|| NotAnId { text: shown(), kind: K::NAME })
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = BookingId::new(Uuid::from_u128(0x0192_f5f4_7c1e_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn another_text_is_refused_with_the_kind_named() {
        let refused = "lunch".parse::<ResourceId>().unwrap_err().to_string();
        assert!(refused.contains("`lunch` is not the id of a resource"), "{refused}");
        assert!("0192f5f47c1e70008000000000000001".parse::<ResourceId>().is_err(), "one spelling only");
    }
}
