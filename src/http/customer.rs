//! Customers as receptionists send them.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::store::bookings::Customer;

const NAME_MAX: usize = 200;
const EMAIL_MAX: usize = 254;
const NOTES_MAX: usize = 2_000;

/// A customer, all of it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerInput {
    name: String,
    phone: String,
    email: Option<String>,
}

/// What is to change of a customer.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomerPatch {
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
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
            phone: phone(&self.phone, region)?,
            email: email(self.email)?,
            notes: text("/notes", notes, NOTES_MAX)?,
        })
    }
}

impl CustomerPatch {
    /// `known` with the changes.
    pub(super) fn apply(
        self,
        known: Option<Customer>,
        notes: Option<String>,
        region: &str,
    ) -> Result<Customer, Problem> {
        let known = known.unwrap_or(Customer { name: String::new(), phone: String::new(), email: None, notes: None });
        Ok(Customer {
            name: self.name.map_or(Ok(known.name), name)?,
            phone: self.phone.map_or(Ok(known.phone), |text| phone(&text, region))?,
            email: self.email.map_or(Ok(known.email), |text| email(Some(text)))?,
            notes: notes.map_or(Ok(known.notes), |notes| text("/notes", Some(notes), NOTES_MAX))?,
        })
    }
}

fn name(name: String) -> Result<String, Problem> {
    text("/customer/name", Some(name), NAME_MAX)?
        .ok_or_else(|| Problem::invalid("/customer/name", "a name is expected"))
}

/// Reads the table of the world's phone numbers, which takes a moment, before a caller waits for it.
pub fn load_phone_numbers() {
    let _loaded = phonenumber::parse(None, "+49 30 12345678");
}

/// A number in E.164, such as +493012345678.
fn phone(text: &str, region: &str) -> Result<String, Problem> {
    let country = region.parse::<phonenumber::country::Id>().ok();
    // Longer than any number with its punctuation; the parser is not to be fed novels.
    let parsed = (text.len() <= 40).then(|| phonenumber::parse(country, text).ok()).flatten();
    let valid = parsed.filter(phonenumber::is_valid);
    let number = valid.map(|number| number.format().mode(phonenumber::Mode::E164).to_string());
    number.ok_or_else(|| {
        let detail = format!(
            "a phone number is expected: international, such as +49 30 12345678, or national as dialed in {region}"
        );
        Problem::invalid("/customer/phone", detail)
    })
}

fn email(email: Option<String>) -> Result<Option<String>, Problem> {
    let Some(email) = text("/customer/email", email, EMAIL_MAX)? else { return Ok(None) };
    if email_address::EmailAddress::is_valid(&email) {
        return Ok(Some(email));
    }
    Err(Problem::invalid("/customer/email", "an e-mail address is expected, such as anna@example.com"))
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
        assert_eq!(phone("030 123456", "DE").unwrap(), "+4930123456");
        assert_eq!(phone("+49 (30) 123456", "US").unwrap(), "+4930123456");
        assert_eq!(phone("(415) 555-2671", "US").unwrap(), "+14155552671");
        for text in ["", "12", "call me", "+00 1"] {
            assert!(phone(text, "DE").is_err(), "{text}");
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
