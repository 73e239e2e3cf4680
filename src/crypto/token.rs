//! Bearer tokens of 256 random bits. Only their hashes are stored.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::Chance;

const SCHEME: &str = "slotd_";
const PREFIX_CHARS: usize = 8;
/// Base64 of 32 bytes without padding.
const SECRET_CHARS: usize = 43;

/// An API key as its holder knows it: `slotd_<prefix>_<secret>`.
///
/// The prefix finds the row and may be shown; the hash of the whole is compared with the stored one. No slow hash is
/// needed, because nobody can guess 256 random bits.
#[derive(Clone)]
pub struct ApiToken(Zeroizing<String>);

/// A text that cannot be one of our API keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: one looks like slotd_xxxxxxxx_ followed by {SECRET_CHARS} characters")]
pub struct NotAToken;

impl ApiToken {
    /// A new token.
    #[must_use]
    pub fn generate(chance: &dyn Chance) -> Self {
        let mut prefix = [0; 5];
        chance.fill(&mut prefix);
        let prefix = BASE32_NOPAD.encode(&prefix).to_ascii_lowercase();
        let secret = Zeroizing::new(random_token(chance));
        Self(Zeroizing::new(format!("{SCHEME}{prefix}_{}", *secret)))
    }

    /// Takes a token from a request. Whether it is a valid one only its stored hash can tell.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let (prefix, secret) = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_at_checked(PREFIX_CHARS))
            .and_then(|(prefix, rest)| Some((prefix, rest.strip_prefix('_')?)))
            .ok_or(NotAToken)?;
        let well_formed = prefix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && secret.len() == SECRET_CHARS
            && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if well_formed { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(NotAToken) }
    }

    /// The eight characters that name the key. They are not secret.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[SCHEME.len()..SCHEME.len() + PREFIX_CHARS]
    }

    /// What is stored of it: SHA-256 of the whole token. Compare with [`equal`].
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }

    /// The token itself, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiToken({SCHEME}{}_..)", self.prefix())
    }
}

/// 256 random bits in the alphabet of URLs, for links, states and channel tokens.
#[must_use]
pub fn random_token(chance: &dyn Chance) -> String {
    let mut bytes = Zeroizing::new([0; 32]);
    chance.fill(&mut *bytes);
    BASE64_URL_SAFE_NO_PAD.encode(*bytes)
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Whether two secrets or hashes are equal, in a time that tells nothing about where they differ.
#[must_use]
pub fn equal(one: &[u8], two: &[u8]) -> bool {
    one.ct_eq(two).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SeededChance;

    #[test]
    fn a_token_reads_back_and_keeps_its_hash() {
        let chance = SeededChance::new(1);
        for _ in 0..200 {
            let token = ApiToken::generate(&*chance);
            let parsed = ApiToken::parse(token.reveal()).unwrap();
            assert_eq!(parsed.prefix(), token.prefix());
            assert!(equal(&parsed.hash(), &token.hash()));
        }
    }

    #[test]
    fn tokens_differ_and_so_do_their_hashes() {
        let chance = SeededChance::new(1);
        let (one, two) = (ApiToken::generate(&*chance), ApiToken::generate(&*chance));
        assert_ne!(one.prefix(), two.prefix());
        assert!(!equal(&one.hash(), &two.hash()));
        assert!(!equal(&one.hash(), &two.hash()[..31]));
    }

    #[test]
    fn other_texts_are_refused() {
        let good = ApiToken::generate(&*SeededChance::new(1)).reveal().to_owned();
        let long = format!("{good}x");
        let accented = good.replacen(&good[6..8], "é", 1);
        let cases = ["", "slotd_", "slotd_abc", &good[1..], &good[..good.len() - 1], &long, &accented];
        for text in cases {
            assert!(ApiToken::parse(text).is_err(), "{text}");
        }
        assert!(ApiToken::parse(&good.replace("slotd_", "sk_")).is_err());
    }

    #[test]
    fn debug_shows_the_prefix_and_no_secret() {
        let token = ApiToken::generate(&*SeededChance::new(1));
        assert_eq!(format!("{token:?}"), format!("ApiToken(slotd_{}_..)", token.prefix()));
    }

    #[test]
    fn random_tokens_have_256_bits() {
        assert_eq!(random_token(&*SeededChance::new(1)).len(), SECRET_CHARS);
    }
}
