//! Page and sync tokens: opaque, and good only for the query that they were made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of a token that tie it to its query.
const SEAL_LEN: usize = 12;

/// Makes and opens tokens.
pub(crate) struct Sealer {
    key: [u8; 32],
}

impl Default for Sealer {
    fn default() -> Self {
        Self { key: rand::random() }
    }
}

impl Sealer {
    /// A token that holds `content` and opens only with the same `binding`.
    pub(crate) fn seal(&self, binding: &str, content: &impl Serialize) -> String {
        // Numbers and texts always become JSON.
        let content = serde_json::to_vec(content).unwrap_or_default();
        let mut token = self.mac(binding, &content).to_vec();
        token.extend(content);
        URL_SAFE.encode(token)
    }

    /// What a token holds, or `None` when it is garbage or belongs to another query.
    pub(crate) fn open<T: DeserializeOwned>(&self, binding: &str, token: &str) -> Option<T> {
        let token = URL_SAFE.decode(token).ok()?;
        let (mac, content) = token.split_at_checked(SEAL_LEN)?;
        let genuine: bool = self.mac(binding, content).ct_eq(mac).into();
        if genuine { serde_json::from_slice(content).ok() } else { None }
    }

    /// What a token says of itself, genuine or not.
    pub(crate) fn peek<T: DeserializeOwned>(token: &str) -> Option<T> {
        let token = URL_SAFE.decode(token).ok()?;
        let (_, content) = token.split_at_checked(SEAL_LEN)?;
        serde_json::from_slice(content).ok()
    }

    fn mac(&self, binding: &str, content: &[u8]) -> [u8; SEAL_LEN] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(binding.as_bytes());
        hash.update([0]);
        hash.update(content);
        let digest = hash.finalize();
        std::array::from_fn(|place| digest[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_query_and_unchanged() {
        let sealer = Sealer::default();
        let token = sealer.seal("anna/list", &(7_u64, "x"));
        assert_eq!(sealer.open::<(u64, String)>("anna/list", &token), Some((7, "x".to_owned())));
        assert_eq!(sealer.open::<(u64, String)>("anna/other", &token), None);
        assert_eq!(sealer.open::<(u64, String)>("anna/list", &format!("A{token}")), None);
        assert_eq!(sealer.open::<(u64, String)>("anna/list", ""), None);
    }
}
