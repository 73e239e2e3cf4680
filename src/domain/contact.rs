//! How a customer is reached: an e-mail address and a language, checked when they come in.

use std::{fmt, ops::Deref, str::FromStr};

use email_address::{EmailAddress, Options};
use oxilangtag::LanguageTag;
use serde::{Deserialize, Serialize};

/// Longest address, in bytes (RFC 5321).
const EMAIL_MAX: usize = 254;
/// Longest tag of a language that is read.
const LANGUAGE_MAX: usize = 35;

/// An e-mail address that a message can be sent to. Personal: `Debug` does not show it.
///
/// What was stored is not checked again when it is read: an address that was good once must not make a booking unreadable.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

/// A text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an e-mail address is expected, such as anna@example.com")]
pub struct NoEmail;

impl FromStr for Email {
    type Err = NoEmail;

    fn from_str(text: &str) -> Result<Self, NoEmail> {
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        let parsed = (text.len() <= EMAIL_MAX).then(|| EmailAddress::parse_with_options(text, options).ok()).flatten();
        parsed.map(|address| Self(address.to_string())).ok_or(NoEmail)
    }
}

impl Email {
    /// Whether both are one mailbox, as far as Google's calendar tells them apart.
    #[must_use]
    pub fn is_same(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl Deref for Email {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

/// The language that somebody speaks, as a BCP 47 tag in its usual case, such as `de` or `pt-BR`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Language(String);

/// A text is no tag of a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a language is expected as a BCP 47 tag, such as en, de or pt-BR")]
pub struct NoLanguage;

impl FromStr for Language {
    type Err = NoLanguage;

    fn from_str(text: &str) -> Result<Self, NoLanguage> {
        let parsed = (text.len() <= LANGUAGE_MAX).then(|| LanguageTag::parse_and_normalize(text).ok()).flatten();
        // Longer words are reserved, and what people write there is the name of a language.
        let known = parsed.filter(|tag| tag.primary_language().len() <= 3 && tag.primary_language() != "und");
        known.map(|tag| Self(tag.to_string())).ok_or(NoLanguage)
    }
}

impl Deref for Language {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["anna@example.com", "anna.maria+salon@mail.example.co.uk", "jörg@müller.example"] {
            assert_eq!(&*good.parse::<Email>().unwrap(), good);
        }
        let long = format!("anna@{}.example", "x".repeat(250));
        for bad in [
            "",
            "anna",
            "anna@",
            "@example.com",
            "anna@localhost",
            "a b@example.com",
            "Anna <anna@example.com>",
            "anna@[127.0.0.1]",
            "a@b@example.com",
            "anna@example..com",
            &long,
        ] {
            assert_eq!(bad.parse::<Email>(), Err(NoEmail), "{bad}");
        }
        assert!(!format!("{:?}", "anna@example.com".parse::<Email>()).contains("anna"));
    }

    #[test]
    fn languages_take_their_usual_form() {
        for (text, tag) in [("de", "de"), ("DE-at", "de-AT"), ("pt-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW")] {
            assert_eq!(&*text.parse::<Language>().unwrap(), tag);
        }
        for bad in ["", "german", "d", "und", "de-", "de-AT-x", "pt_BR", "x-mine", "12", "de\u{0}"] {
            assert!(bad.parse::<Language>().is_err(), "{bad}");
        }
    }
}
