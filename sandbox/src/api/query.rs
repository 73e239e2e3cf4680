//! Query parameters and forms.

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use crate::refusal::Refusal;

/// Decoded `name=value` pairs in their order; names may repeat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Refusal::parameter(name, format!("Invalid boolean value: '{other}'."))),
        }
    }

    /// A number of at least 1, no more than `most` when there is a value above it.
    pub(crate) fn count(&self, name: &'static str, most: usize) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) if number >= 1 => Ok(Some(usize::try_from(number).unwrap_or(most).min(most))),
            _ => Err(Refusal::parameter(
                name,
                format!("Invalid value '{text}'. Values must be within the range: [1, {most}]"),
            )),
        }
    }

    /// An RFC 3339 time, whose offset is mandatory.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<DateTime<Utc>>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| Refusal::new(400, "global", "badRequest", "Bad Request").at("parameter", name))?;
        Ok(Some(time.with_timezone(&Utc)))
    }

    /// The pairs whose names are not in `left_out` and that are not among `defaults`, sorted: two queries with the same
    /// shape ask for the same thing.
    pub(crate) fn shape(&self, left_out: &[&str], defaults: &[(&str, &str)]) -> String {
        let matters = |(name, value): &(&str, &str)| !left_out.contains(name) && !defaults.contains(&(*name, *value));
        let mut pairs: Vec<_> = self.pairs().filter(matters).collect();
        pairs.sort_unstable();
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}
