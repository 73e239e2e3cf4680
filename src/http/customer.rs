//! Customers as receptionists send them.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::{
    booking::CustomerChange,
    domain::contact::{Email, Language, NoEmail, NoLanguage},
    store::bookings::Customer,
};

pub(super) const NAME_MAX: usize = 200;
const EMAIL_CHARS_MAX: usize = 254;
const LANGUAGE_CHARS_MAX: usize = 35;
const NOTES_MAX: usize = 2_000;

/// A customer, all of it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerInput {
    name: String,
    phone: String,
    email: Option<String>,
    language: Option<String>,
}

/// What is to change of a customer.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerPatch {
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    language: Option<String>,
}

// People's data never shows in `Debug`.
impl std::fmt::Debug for CustomerInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerInput(..)")
    }
}
impl std::fmt::Debug for CustomerPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerPatch(..)")
    }
}

impl CustomerInput {
    /// Checks it and makes its phone number E.164. `region` says how a number without country code is read.
    pub(super) fn read(self, notes: Option<String>, region: &str) -> Result<Customer, Problem> {
        Ok(Customer {
            name: name(self.name)?,
            phone: phone("/customer/phone", &self.phone, region)?,
            email: email(self.email)?,
            language: language(self.language)?,
            notes: text("/notes", notes, NOTES_MAX)?,
        })
    }
}

impl CustomerPatch {
    /// Checks the changes. An empty text takes away what need not be there.
    pub(super) fn read(self, notes: Option<String>, region: &str) -> Result<CustomerChange, Problem> {
        Ok(CustomerChange {
            name: self.name.map(name).transpose()?,
            phone: self.phone.map(|text| phone("/customer/phone", &text, region)).transpose()?,
            email: self.email.map(|text| email(Some(text))).transpose()?,
            language: self.language.map(|text| language(Some(text))).transpose()?,
            notes: notes.map(|notes| text("/notes", Some(notes), NOTES_MAX)).transpose()?,
        })
    }
}

/// A name, on one line.
fn name(name: String) -> Result<String, Problem> {
    let expected = |detail| Problem::invalid("/customer/name", detail);
    let name = text("/customer/name", Some(name), NAME_MAX)?.ok_or_else(|| expected("a name is expected"))?;
    if name.contains('\n') {
        return Err(expected("a name is expected, without line ends"));
    }
    Ok(name)
}

/// Reads the table of the world's phone numbers, which takes a moment, before a caller waits for it.
pub fn load_phone_numbers() {
    let _loaded = phonenumber::parse(None, "+49 30 12345678");
}

/// A number in E.164, such as +493012345678.
pub(super) fn phone(field: &'static str, text: &str, region: &str) -> Result<String, Problem> {
    let country = region.parse::<phonenumber::country::Id>().ok();
    // Longer than any number with its punctuation; the parser is not to be fed novels.
    let parsed = (text.len() <= 40).then(|| phonenumber::parse(country, text).ok()).flatten();
    let valid = parsed.filter(phonenumber::is_valid);
    let number = valid.map(|number| number.format().mode(phonenumber::Mode::E164).to_string());
    number.ok_or_else(|| {
        let detail = format!(
            "a phone number is expected: international, such as +49 30 12345678, or national as dialed in {region}"
        );
        Problem::invalid(field, detail)
    })
}

fn email(email: Option<String>) -> Result<Option<Email>, Problem> {
    let field = "/customer/email";
    let Some(email) = text(field, email, EMAIL_CHARS_MAX)? else { return Ok(None) };
    email.parse().map(Some).map_err(|expected: NoEmail| Problem::invalid(field, expected.to_string()))
}

fn language(language: Option<String>) -> Result<Option<Language>, Problem> {
    let field = "/customer/language";
    let Some(language) = text(field, language, LANGUAGE_CHARS_MAX)? else { return Ok(None) };
    language.parse().map(Some).map_err(|expected: NoLanguage| Problem::invalid(field, expected.to_string()))
}

/// A text of at most `max` characters, trimmed, without control characters but line ends. `None` when nothing is left.
pub(super) fn text(field: &'static str, value: Option<String>, max: usize) -> Result<Option<String>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let value = value.trim();
    if value.chars().count() > max {
        return Err(Problem::invalid(field, format!("at most {max} characters are expected")));
    }
    // Bidirectional controls could make a calendar show another text than was said.
    let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if value.chars().any(bad) {
        return Err(Problem::invalid(field, "control characters are not allowed"));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn national_and_international_numbers_become_one_form() {
        assert_eq!(phone("/phone", "030 123456", "DE").unwrap(), "+4930123456");
        assert_eq!(phone("/phone", "+49 (30) 123456", "US").unwrap(), "+4930123456");
        assert_eq!(phone("/phone", "(415) 555-2671", "US").unwrap(), "+14155552671");
        for text in ["", "12", "call me", "+00 1"] {
            assert!(phone("/phone", text, "DE").is_err(), "{text}");
        }
    }

    #[test]
    fn texts_are_trimmed_and_limited() {
        assert_eq!(text("/notes", Some("  hi\nthere ".into()), 20).unwrap().as_deref(), Some("hi\nthere"));
        assert_eq!(text("/notes", Some("   ".into()), 20).unwrap(), None);
        assert!(text("/notes", Some("a\u{202e}b".into()), 20).is_err());
        assert!(text("/notes", Some("x".repeat(21)), 20).is_err());
    }
}
