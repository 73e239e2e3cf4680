//! The keys of one business, and how they are kept.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    cell::{CryptoError, DataKey, KEY_BYTES, Secret, open, seal},
    master::MasterKeys,
};
use crate::domain::{BusinessId, Chance};

/// Leads the authenticated context of wrapped keys, which no cell's context can begin with.
const CONTEXT: &[u8] = b"slotd business keys 1";

/// Turns a phone number into the value under which it is found.
#[derive(Clone)]
pub struct IndexKey(Secret);

impl IndexKey {
    /// HMAC-SHA256 of `text`, which the caller has brought into one spelling (E.164 for a phone number).
    #[must_use]
    pub fn index(&self, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("any length of key will do");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexKey(..)")
    }
}

/// Both keys of one business.
#[derive(Debug, Clone)]
pub struct BusinessKeys {
    /// Seals its cells.
    pub data: DataKey,
    /// Finds its customers by phone. It never rotates, because the index would have to be made anew.
    pub index: IndexKey,
}

impl BusinessKeys {
    /// New keys for a new business.
    #[must_use]
    pub fn generate(chance: &dyn Chance) -> Self {
        let (mut data, mut index) = (Secret::default(), Secret::default());
        chance.fill(&mut *data);
        chance.fill(&mut *index);
        Self { data: DataKey(data), index: IndexKey(index) }
    }

    /// The keys, encrypted with the active master key, for the row of `business`.
    ///
    /// One byte of length, the master key's id, and the envelope.
    #[must_use]
    pub fn wrap(&self, keys: &MasterKeys, business: BusinessId, chance: &dyn Chance) -> Vec<u8> {
        let (id, master) = keys.active();
        let both = Zeroizing::new([*self.data.0, *self.index.0].concat());

        let mut wrapped = vec![u8::try_from(id.len()).expect("ids are checked to be short")];
        wrapped.extend_from_slice(id.as_bytes());
        wrapped.extend_from_slice(&seal(master, &context(id, business), &both, chance));
        wrapped
    }

    /// Decrypts what [`BusinessKeys::wrap`] made for the same `business`, with whichever master key it names.
    pub fn unwrap(wrapped: &[u8], keys: &MasterKeys, business: BusinessId) -> Result<Self, CryptoError> {
        let (id, sealed) = split(wrapped)?;
        let master = keys.get(id).ok_or_else(|| CryptoError::UnknownMasterKey(id.chars().take(64).collect()))?;
        let both = open(master, &context(id, business), sealed)?;
        let (data, index) = both.split_at_checked(KEY_BYTES).ok_or(CryptoError::Damaged)?;
        Ok(Self { data: DataKey(secret(data)?), index: IndexKey(secret(index)?) })
    }

    /// The id of the master key that wrapped these keys; rotation wraps anew where it is not the active one.
    pub fn master_key_id(wrapped: &[u8]) -> Result<&str, CryptoError> {
        split(wrapped).map(|(id, _)| id)
    }
}

fn split(wrapped: &[u8]) -> Result<(&str, &[u8]), CryptoError> {
    let (&length, rest) = wrapped.split_first().ok_or(CryptoError::Damaged)?;
    let (id, sealed) = rest.split_at_checked(length.into()).ok_or(CryptoError::Damaged)?;
    let id = std::str::from_utf8(id).map_err(|_| CryptoError::Damaged)?;
    Ok((id, sealed))
}

/// The id comes last and is the only part without a fixed length.
fn context(id: &str, business: BusinessId) -> Vec<u8> {
    [CONTEXT, business.uuid().as_bytes(), id.as_bytes()].concat()
}

fn secret(bytes: &[u8]) -> Result<Secret, CryptoError> {
    let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| CryptoError::Damaged)?;
    Ok(Zeroizing::new(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{crypto::Cell, domain::clock::SeededChance};

    const BUSINESS: BusinessId = BusinessId::new(Uuid::from_u128(1));

    #[test]
    fn wrapped_keys_open_the_same_cells_and_find_the_same_phones() {
        let chance = SeededChance::new(1);
        let masters = MasterKeys::generate("one", &*chance).unwrap();
        let keys = BusinessKeys::generate(&*chance);
        let cell = Cell { business: BUSINESS, table: "booking", column: "phone", row: "b1" };
        let sealed = keys.data.seal(&cell, b"+4915112345678", &*chance);

        let wrapped = keys.wrap(&masters, BUSINESS, &*chance);
        let again = BusinessKeys::unwrap(&wrapped, &masters, BUSINESS).unwrap();
        assert_eq!(**again.data.open(&cell, &sealed).unwrap(), *b"+4915112345678");
        assert_eq!(again.index.index("+4915112345678"), keys.index.index("+4915112345678"));
        assert_ne!(again.index.index("+4915112345678"), keys.index.index("+4915112345679"));
        assert_eq!(BusinessKeys::master_key_id(&wrapped), Ok("one"));
    }

    #[test]
    fn the_phone_index_is_plain_hmac_sha256() {
        // RFC 4231, test case 2, needs the key "Jefe"; HMAC pads keys with zeros, so ours is the same key.
        let mut key = Secret::default();
        key[..4].copy_from_slice(b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let found = IndexKey(key).index("what do ya want for nothing?");
        assert_eq!(data_encoding::HEXLOWER.encode(&found), expected);
    }

    #[test]
    fn keys_of_one_business_do_not_serve_another() {
        let chance = SeededChance::new(1);
        let masters = MasterKeys::generate("one", &*chance).unwrap();
        let wrapped = BusinessKeys::generate(&*chance).wrap(&masters, BUSINESS, &*chance);
        let other = BusinessId::new(Uuid::from_u128(2));
        assert_eq!(BusinessKeys::unwrap(&wrapped, &masters, other).unwrap_err(), CryptoError::Damaged);
    }

    #[test]
    fn a_missing_master_key_is_named() {
        let chance = SeededChance::new(1);
        let wrapped =
            BusinessKeys::generate(&*chance).wrap(&MasterKeys::generate("old", &*chance).unwrap(), BUSINESS, &*chance);
        let refused = BusinessKeys::unwrap(&wrapped, &MasterKeys::generate("new", &*chance).unwrap(), BUSINESS);
        assert_eq!(refused.unwrap_err(), CryptoError::UnknownMasterKey("old".to_owned()));
    }

    proptest! {
        #[test]
        fn changed_or_cut_keys_do_not_open(at: prop::sample::Index, bit in 0..8_u8) {
            let chance = SeededChance::new(1);
            let masters = MasterKeys::generate("one", &*chance).unwrap();
            let mut wrapped = BusinessKeys::generate(&*chance).wrap(&masters, BUSINESS, &*chance);
            let at = at.index(wrapped.len());
            prop_assert!(BusinessKeys::unwrap(&wrapped[..at], &masters, BUSINESS).is_err());
            wrapped[at] ^= 1 << bit;
            prop_assert!(BusinessKeys::unwrap(&wrapped, &masters, BUSINESS).is_err());
        }
    }
}
