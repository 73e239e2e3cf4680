//! The envelope: what is sealed can only be opened with the same key and in the same place.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, Nonce},
};
use zeroize::Zeroizing;

use crate::domain::{BusinessId, Chance};

/// The one format that exists so far. It leads every envelope and is authenticated with it.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Bytes of every symmetric key here.
pub(super) const KEY_BYTES: usize = 32;

/// Key material, wiped when dropped.
pub(super) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Why an envelope was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// The bytes were cut, changed, moved here from another cell, or sealed with another key.
    #[error("the encrypted value is damaged or belongs elsewhere")]
    Damaged,
    /// A later slotd wrote this; update this node.
    #[error("the encrypted value has format {0}, which this version of slotd does not know")]
    Version(u8),
    /// The key file lacks the master key that wrapped this business's keys; put it back.
    #[error("the key file does not hold master key `{0}`")]
    UnknownMasterKey(String),
}

/// Where a sealed value lives. A value that is copied to any other place does not open there.
///
/// `table` and `column` are constants that outlive renames in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The tenant whose key sealed the value.
    pub business: BusinessId,
    /// The table, as it was first called.
    pub table: &'static str,
    /// The column, as it was first called.
    pub column: &'static str,
    /// The row's id.
    pub row: &'a str,
}

impl Cell<'_> {
    /// The authenticated context. Each part carries its length, so that no two cells share a spelling.
    fn context(&self) -> Vec<u8> {
        let mut context = vec![VERSION];
        for part in
            [self.business.uuid().as_bytes(), self.table.as_bytes(), self.column.as_bytes(), self.row.as_bytes()]
        {
            context.extend_from_slice(&(part.len() as u64).to_be_bytes());
            context.extend_from_slice(part);
        }
        context
    }
}

/// Seals the cells of one business.
#[derive(Clone)]
pub struct DataKey(pub(super) Secret);

impl DataKey {
    /// Encrypts `plain` for its place: version byte, 96 random bits of nonce, ciphertext, tag.
    #[must_use]
    pub fn seal(&self, cell: &Cell<'_>, plain: &[u8], chance: &dyn Chance) -> Vec<u8> {
        seal(&self.0, &cell.context(), plain, chance)
    }

    /// Decrypts what [`DataKey::seal`] made for the same `cell`.
    pub fn open(&self, cell: &Cell<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        open(&self.0, &cell.context(), sealed)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// `context` must differ between everything that one key seals.
pub(super) fn seal(key: &Secret, context: &[u8], plain: &[u8], chance: &dyn Chance) -> Vec<u8> {
    let mut nonce = Nonce::<Aes256Gcm>::default();
    chance.fill(&mut nonce);

    let mut body = Vec::with_capacity(plain.len() + TAG_BYTES);
    body.extend_from_slice(plain);
    cipher(key).encrypt_in_place(&nonce, context, &mut body).expect("far below the cipher's limit of 64 GiB");

    let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + body.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&body);
    sealed
}

pub(super) fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let (&version, rest) = sealed.split_first().ok_or(CryptoError::Damaged)?;
    if version != VERSION {
        return Err(CryptoError::Version(version));
    }
    let (nonce, body) = rest.split_at_checked(NONCE_BYTES).ok_or(CryptoError::Damaged)?;
    let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| CryptoError::Damaged)?;
    let mut plain = Zeroizing::new(body.to_vec());
    cipher(key).decrypt_in_place(&nonce, context, &mut *plain).map_err(|_| CryptoError::Damaged)?;
    Ok(plain)
}

fn cipher(key: &Secret) -> Aes256Gcm {
    Aes256Gcm::new_from_slice(&**key).expect("a key has 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::SeededChance;

    const CELL: Cell<'static> =
        Cell { business: BusinessId::new(Uuid::from_u128(7)), table: "account", column: "refresh_token", row: "r1" };

    fn key() -> DataKey {
        DataKey(Zeroizing::new([9; KEY_BYTES]))
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let chance = SeededChance::new(1);
        let (one, two) = (key().seal(&CELL, b"same", &*chance), key().seal(&CELL, b"same", &*chance));
        assert_ne!(one, two);
        assert_eq!(one.len(), 1 + NONCE_BYTES + 4 + TAG_BYTES);
    }

    #[test]
    fn a_value_does_not_open_in_any_other_cell() {
        let sealed = key().seal(&CELL, b"token", &*SeededChance::new(1));
        let elsewhere = [
            Cell { business: BusinessId::new(Uuid::from_u128(8)), ..CELL },
            Cell { table: "booking", ..CELL },
            Cell { column: "access_token", ..CELL },
            Cell { row: "r2", ..CELL },
            // The same letters, split differently.
            Cell { table: "accountrefresh", column: "_token", ..CELL },
            Cell { column: "refresh_tokenr", row: "1", ..CELL },
        ];
        for cell in elsewhere {
            assert_eq!(key().open(&cell, &sealed), Err(CryptoError::Damaged), "{cell:?}");
        }
        assert_eq!(DataKey(Zeroizing::new([8; KEY_BYTES])).open(&CELL, &sealed), Err(CryptoError::Damaged));
    }

    #[test]
    fn a_later_format_is_named() {
        assert_eq!(key().open(&CELL, &[2; 64]), Err(CryptoError::Version(2)));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key()), "DataKey(..)");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(plain: Vec<u8>, seed: u64) {
            let sealed = key().seal(&CELL, &plain, &*SeededChance::new(seed));
            prop_assert_eq!(&*key().open(&CELL, &sealed).unwrap(), &plain);
        }

        #[test]
        fn what_was_changed_does_not(plain: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let mut sealed = key().seal(&CELL, &plain, &*SeededChance::new(3));
            prop_assert!(key().open(&CELL, &sealed[..at.index(sealed.len())]).is_err(), "cut");
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(key().open(&CELL, &sealed).is_err(), "flipped");
        }

        #[test]
        fn foreign_bytes_do_not_open(bytes: Vec<u8>) {
            prop_assert!(key().open(&CELL, &bytes).is_err());
        }
    }
}
