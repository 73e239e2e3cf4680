//! What is to change of a customer.

use crate::{
    domain::contact::{Email, Language},
    store::bookings::Customer,
};

/// Other details of a customer. What is absent stays; `Some(None)` takes it away.
#[derive(Clone, Default)]
pub struct CustomerChange {
    /// Another name.
    pub name: Option<String>,
    /// Another number, E.164.
    pub phone: Option<String>,
    /// Another address.
    pub email: Option<Option<Email>>,
    /// Another language.
    pub language: Option<Option<Language>>,
    /// Other notes.
    pub notes: Option<Option<String>>,
}

// People's data never shows in `Debug`.
impl std::fmt::Debug for CustomerChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerChange(..)")
    }
}

impl CustomerChange {
    /// Makes the change. Done to what is locked, so that two changes at once leave both.
    pub(super) fn apply(self, customer: &mut Customer) {
        let Self { name, phone, email, language, notes } = self;
        customer.name = name.unwrap_or_else(|| std::mem::take(&mut customer.name));
        customer.phone = phone.unwrap_or_else(|| std::mem::take(&mut customer.phone));
        customer.email = email.unwrap_or_else(|| customer.email.take());
        customer.language = language.unwrap_or_else(|| customer.language.take());
        customer.notes = notes.unwrap_or_else(|| customer.notes.take());
    }
}
