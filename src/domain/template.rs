//! The text of a booking's calendar event.

/// The values that a template may name.
#[derive(Clone, Copy, Default)]
pub struct Values<'a> {
    /// `{service}`.
    pub service: &'a str,
    /// `{name}` of the customer.
    pub name: &'a str,
    /// `{phone}`, E.164.
    pub phone: &'a str,
    /// `{notes}` of the receptionist.
    pub notes: &'a str,
    /// `{reference}` of the receptionist.
    pub reference: &'a str,
    /// `{link}` to the booking, where the installation has one.
    pub link: &'a str,
}

/// The title of an event unless the business wants another.
pub const TITLE: &str = "{service} - {name}";
/// The description of an event unless the business wants another. Lines whose values are all empty are left out.
pub const BODY: &str = "Phone: {phone}\n{notes}\nReference: {reference}\n{link}";
/// Longest title and longest description, in characters, that are written to a calendar.
pub const TITLE_MAX: usize = 1_024;
/// See [`TITLE_MAX`].
pub const BODY_MAX: usize = 8_000;

/// A placeholder that nobody fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` is not known: {{service}}, {{name}}, {{phone}}, {{notes}}, {{reference}} and {{link}} are")]
pub struct UnknownPlaceholder(String);

/// Checks that a template names only what can be filled in.
///
/// # Errors
///
/// The first placeholder that nobody fills.
pub fn check(template: &str) -> Result<(), UnknownPlaceholder> {
    render(template, &Values::default()).map(drop)
}

/// Fills a template in. A line that names values, all of them empty, is left out.
///
/// # Errors
///
/// The first placeholder that nobody fills.
pub fn render(template: &str, values: &Values<'_>) -> Result<String, UnknownPlaceholder> {
    let mut lines = Vec::new();
    for line in template.lines() {
        let (mut text, mut rest, mut named, mut filled) = (String::new(), line, false, false);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            let value = value(name, values).ok_or_else(|| UnknownPlaceholder(name.chars().take(40).collect()))?;
            (named, filled) = (true, filled || !value.is_empty());
            text.push_str(before);
            text.push_str(value);
            rest = after;
        }
        text.push_str(rest);
        if filled || !named {
            lines.push(text);
        }
    }
    Ok(lines.join("\n"))
}

/// Both texts of an event: the business's templates, filled in and cut to what a calendar takes. The usual title stands in
/// for one of which nothing is left.
#[must_use]
pub fn texts(title: &str, body: &str, values: &Values<'_>) -> (String, String) {
    // Templates are checked when they are saved; should one be wrong all the same, the usual text serves.
    let fill = |wanted: &str, usual: &str, max: usize| {
        let filled = render(wanted, values).or_else(|_| render(usual, values)).unwrap_or_default();
        filled.chars().take(max).collect::<String>()
    };
    let mut filled = fill(title, TITLE, TITLE_MAX);
    if filled.trim().is_empty() {
        filled = fill(TITLE, TITLE, TITLE_MAX);
    }
    (filled, fill(body, BODY, BODY_MAX))
}

/// The placeholders of the pattern of a link.
const OF_A_LINK: [&str; 2] = ["{business_id}", "{booking_id}"];

/// Fills the pattern of a link to a booking in. `None` when it has other placeholders, or not that of the booking.
#[must_use]
pub fn link(pattern: &str, business: &str, booking: &str) -> Option<String> {
    let [of_business, of_booking] = OF_A_LINK;
    let filled = pattern.replace(of_business, business).replace(of_booking, booking);
    (pattern.contains(of_booking) && !filled.contains(['{', '}'])).then_some(filled)
}

fn value<'a>(name: &str, values: &Values<'a>) -> Option<&'a str> {
    match name {
        "service" => Some(values.service),
        "name" => Some(values.name),
        "phone" => Some(values.phone),
        "notes" => Some(values.notes),
        "reference" => Some(values.reference),
        "link" => Some(values.link),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_values_are_left_out() {
        let values = Values { phone: "+493012345", notes: "Left side {entrance}", ..Values::default() };
        assert_eq!(render(BODY, &values).unwrap(), "Phone: +493012345\nLeft side {entrance}");
        let values = Values { reference: "R-7", phone: "+493012345", ..Values::default() };
        assert_eq!(render(BODY, &values).unwrap(), "Phone: +493012345\nReference: R-7");
    }

    #[test]
    fn a_link_stands_on_a_line_of_its_own_where_there_is_one() {
        let link = link("https://salon.example/{business_id}/b/{booking_id}", "7", "9").unwrap();
        let values = Values { phone: "+493012345", link: &link, ..Values::default() };
        assert_eq!(render(BODY, &values).unwrap(), "Phone: +493012345\nhttps://salon.example/7/b/9");
        for pattern in ["https://salon.example/", "https://salon.example/{booking_id}/{name}", "{booking_id}}"] {
            assert_eq!(super::link(pattern, "7", "9"), None, "{pattern}");
        }
    }

    #[test]
    fn texts_are_cut_and_a_title_is_never_empty() {
        let notes = "x".repeat(2_000);
        let values = Values { service: "Haircut", name: "Ada", notes: &notes, ..Values::default() };
        let (title, body) = texts("{reference}", &"{notes}\n".repeat(200), &values);
        assert_eq!((title.as_str(), body.chars().count()), ("Haircut - Ada", BODY_MAX));
        assert_eq!(texts("{notes}", "", &values).0.chars().count(), TITLE_MAX);
        assert_eq!(texts("{name} {nothing}", "{nothing}", &values).0, "Haircut - Ada");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let refused = check("{service} for {customer}").unwrap_err().to_string();
        assert!(refused.starts_with("`{customer}` is not known"), "{refused}");
        assert_eq!(check("100 % {of"), Ok(()));
    }
}
