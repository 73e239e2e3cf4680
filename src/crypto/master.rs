//! The operator's keys, which wrap the keys of every business.
//!
//! The key file is TOML:
//!
//! ```toml
//! active = "2026-11"
//!
//! [keys]
//! "2026-11" = "q83vEjRWeJC...  (base64 of 32 random bytes)"
//! "2025-04" = "..."            # decrypts only
//! ```
//!
//! To rotate: add the new key on every node, make it `active`, wrap the businesses' keys anew, remove the old one.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::cell::{KEY_BYTES, Secret};
use crate::domain::Chance;

/// Longest id of a key, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Largest key file, in bytes: hundreds of keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Where systemd puts the files of `LoadCredential=`. It guards them by access list, which shows as group bits.
const CREDENTIALS: &str = "/run/credentials/";

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{0}: mode is {mode:04o}, but only the owner may read a key file: chmod 600 {0}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its text is not a key file. The message never shows key material.
    #[error("not a key file: {0}")]
    Text(String),
}

/// The master keys by id. One is active and wraps; all unwrap.
#[derive(Clone)]
pub struct MasterKeys {
    active: String,
    keys: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    active: String,
    keys: BTreeMap<String, String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.keys.values_mut().for_each(Zeroize::zeroize);
    }
}

impl MasterKeys {
    /// One new key, active, called `id`.
    pub fn generate(id: &str, chance: &dyn Chance) -> Result<Self, KeyFileError> {
        check_id(id)?;
        let mut key = Secret::default();
        chance.fill(&mut *key);
        Ok(Self { active: id.to_owned(), keys: BTreeMap::from([(id.to_owned(), key)]) })
    }

    /// Adds one new key called `id`, which only decrypts until the operator makes it active.
    pub fn add(&mut self, id: &str, chance: &dyn Chance) -> Result<(), KeyFileError> {
        check_id(id)?;
        if self.keys.contains_key(id) {
            return Err(KeyFileError::Text(format!("there is a key `{id}` already")));
        }
        let mut key = Secret::default();
        chance.fill(&mut *key);
        self.keys.insert(id.to_owned(), key);
        Ok(())
    }

    /// Reads a key file that nobody but its owner may read.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::File { path: path.to_owned(), source };
        let file = fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 && !path.starts_with(CREDENTIALS) {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(KeyFileError::Text(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = Zeroizing::new(io::read_to_string(file).map_err(failed)?);
        Self::parse(&text)
    }

    /// Reads the text of a key file.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        // TOML's own message quotes the line, and with it the key.
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            KeyFileError::Text(format!("line {line}: expected `active = \"ID\"` and `[keys]` with `ID = \"BASE64\"`"))
        })?;

        let mut keys = BTreeMap::new();
        for (id, encoded) in &file.keys {
            check_id(id)?;
            let mut key = Secret::default();
            let decoded = Zeroizing::new(BASE64_STANDARD.decode(encoded).unwrap_or_default());
            if decoded.len() != KEY_BYTES {
                return Err(KeyFileError::Text(format!("key `{id}` is not the base64 of {KEY_BYTES} bytes")));
            }
            key.copy_from_slice(&decoded);
            keys.insert(id.clone(), key);
        }
        if !keys.contains_key(&file.active) {
            return Err(KeyFileError::Text(format!("the active key `{}` is not among the keys", file.active)));
        }
        Ok(Self { active: file.active.clone(), keys })
    }

    /// The text of a key file with these keys. It is secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!("active = \"{}\"\n\n[keys]\n", self.active));
        for (id, key) in &self.keys {
            let encoded = Zeroizing::new(BASE64_STANDARD.encode(**key));
            text.push_str(&Zeroizing::new(format!("\"{id}\" = \"{}\"\n", *encoded)));
        }
        text
    }

    /// Writes a new key file, readable by its owner alone. A file that exists is never replaced: its keys may be the
    /// only way to read a database.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyFileError> {
        let failed = |source| KeyFileError::File { path: path.to_owned(), source };
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(self.to_text().as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    /// The id of the key that wraps.
    #[must_use]
    pub fn active_id(&self) -> &str {
        &self.active
    }

    pub(super) fn active(&self) -> (&str, &Secret) {
        (&self.active, &self.keys[&self.active])
    }

    pub(super) fn get(&self, id: &str) -> Option<&Secret> {
        self.keys.get(id)
    }
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&String> = self.keys.keys().collect();
        f.debug_struct("MasterKeys").field("active", &self.active).field("ids", &ids).finish_non_exhaustive()
    }
}

fn check_id(id: &str) -> Result<(), KeyFileError> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if id.is_empty() || id.len() > ID_BYTES_MAX || !plain {
        return Err(KeyFileError::Text(format!(
            "the id of a key has 1 to {ID_BYTES_MAX} letters, digits, dots, hyphens or underscores"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        crypto::BusinessKeys,
        domain::{BusinessId, clock::SeededChance},
    };

    const BUSINESS: BusinessId = BusinessId::new(uuid::Uuid::from_u128(1));

    #[test]
    fn a_rotated_file_still_unwraps_what_the_old_key_wrapped() {
        let chance = SeededChance::new(1);
        let mut masters = MasterKeys::generate("old", &*chance).unwrap();
        let wrapped = BusinessKeys::generate(&*chance).wrap(&masters, BUSINESS, &*chance);

        masters.add("new", &*chance).unwrap();
        assert_eq!(masters.active_id(), "old", "a new key decrypts only");
        let text = masters.to_text().replace("active = \"old\"", "active = \"new\"");
        let rotated = MasterKeys::parse(&text).unwrap();
        let keys = BusinessKeys::unwrap(&wrapped, &rotated, BUSINESS).unwrap();
        let wrapped = keys.wrap(&rotated, BUSINESS, &*chance);
        assert_eq!(BusinessKeys::master_key_id(&wrapped), Ok("new"));
    }

    #[test]
    fn a_written_file_reads_back_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slotd.keys");
        let masters = MasterKeys::generate("one", &*SeededChance::new(1)).unwrap();
        masters.write_new(&path).unwrap();
        assert_eq!(MasterKeys::read(&path).unwrap().to_text(), masters.to_text());
        assert!(masters.write_new(&path).is_err());
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slotd.keys");
        MasterKeys::generate("one", &*SeededChance::new(1)).unwrap().write_new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = MasterKeys::read(&path).unwrap_err().to_string();
        assert!(refused.contains("mode is 0640") && refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn broken_files_are_refused_without_showing_keys() {
        let good = MasterKeys::generate("one", &*SeededChance::new(1)).unwrap().to_text();
        let key = good.rsplit('"').nth(1).unwrap();
        let cases = [
            (good.replace("active = \"one\"", "active = \"two\""), "the active key `two`"),
            (good.replace(&key[..4], ""), "key `one` is not the base64 of 32 bytes"),
            (good.replace("\"one\" = ", "\"o ne\" = "), "the id of a key"),
            (good.replace("\"one\" = \"", "\"one\" = "), "line 4: expected"),
            (good.replace("[keys]", "[key]"), "expected"),
        ];
        for (text, expected) in cases {
            let refused = MasterKeys::parse(&text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
            assert!(!refused.contains(&key[4..12]), "{refused}");
        }
    }

    #[test]
    fn debug_shows_ids_and_no_keys() {
        let shown = format!("{:?}", MasterKeys::generate("one", &*SeededChance::new(1)).unwrap());
        assert_eq!(shown, r#"MasterKeys { active: "one", ids: ["one"], .. }"#);
    }
}
