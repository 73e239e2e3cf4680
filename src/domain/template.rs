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
}

/// The title of an event unless the business wants another.
pub const TITLE: &str = "{service} - {name}";
/// The description of an event unless the business wants another. Lines whose values are all empty are left out.
pub const BODY: &str = "Phone: {phone}\n{notes}\nReference: {reference}";

/// A placeholder that nobody fills.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` is not known: {{service}}, {{name}}, {{phone}}, {{notes}} and {{reference}} are")]
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

fn value<'a>(name: &str, values: &Values<'a>) -> Option<&'a str> {
    match name {
        "service" => Some(values.service),
        "name" => Some(values.name),
        "phone" => Some(values.phone),
        "notes" => Some(values.notes),
        "reference" => Some(values.reference),
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
    fn an_unknown_placeholder_is_named() {
        let refused = check("{service} for {customer}").unwrap_err().to_string();
        assert!(refused.starts_with("`{customer}` is not known"), "{refused}");
        assert_eq!(check("100 % {of"), Ok(()));
    }
}
