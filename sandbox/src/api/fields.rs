//! Partial responses: the `fields` parameter, such as `items(id,start/dateTime),nextSyncToken`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::refusal::Refusal;

/// The parts of a response that a caller wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Wanted fields; an empty mask below a name means all of it.
    wanted: BTreeMap<String, Mask>,
}

/// How deep a mask may nest.
const DEPTH_MAX: usize = 10;

impl Mask {
    /// Reads a `fields` value.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = || Refusal::parameter("fields", format!("Invalid field selection {text}"));
        let mut rest = text;
        let mask = Self::list(&mut rest, 0).ok_or_else(wrong)?;
        if rest.is_empty() { Ok(mask) } else { Err(wrong()) }
    }

    fn list(rest: &mut &str, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut mask = Self::default();
        loop {
            mask.entry(rest, depth)?;
            match rest.strip_prefix(',') {
                Some(after) => *rest = after,
                None => return Some(mask),
            }
        }
    }

    fn entry(&mut self, rest: &mut &str, depth: usize) -> Option<()> {
        let end = rest.find([',', '(', ')', '/']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() || depth > DEPTH_MAX {
            return None;
        }
        *rest = after;
        let below = self.wanted.entry(name.to_owned()).or_default();
        if let Some(after) = rest.strip_prefix('/') {
            *rest = after;
            below.entry(rest, depth + 1)?;
        } else if let Some(after) = rest.strip_prefix('(') {
            *rest = after;
            let inner = Self::list(rest, depth + 1)?;
            below.wanted.extend(inner.wanted);
            *rest = rest.strip_prefix(')')?;
        }
        Some(())
    }

    /// Leaves out of `value` what is not wanted.
    pub(crate) fn apply(&self, value: &mut Value) {
        if self.wanted.is_empty() || self.wanted.contains_key("*") {
            return;
        }
        match value {
            Value::Array(entries) => entries.iter_mut().for_each(|entry| self.apply(entry)),
            Value::Object(fields) => fields.retain(|name, value| {
                let below = self.wanted.get(name);
                if let Some(below) = below {
                    below.apply(value);
                }
                below.is_some()
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_selections_keep_exactly_what_they_name() {
        let full = json!({
            "kind": "x", "nextSyncToken": "t",
            "items": [{ "id": "a", "start": { "dateTime": "d", "timeZone": "z" }, "summary": "s" }],
        });
        let table = [
            ("nextSyncToken", json!({ "nextSyncToken": "t" })),
            ("items(id,start/dateTime)", json!({ "items": [{ "id": "a", "start": { "dateTime": "d" } }] })),
            ("items/id,kind", json!({ "items": [{ "id": "a" }], "kind": "x" })),
            ("*", full.clone()),
        ];
        for (fields, wanted) in table {
            let mut value = full.clone();
            Mask::parse(fields).unwrap().apply(&mut value);
            assert_eq!(value, wanted, "{fields}");
        }
    }

    #[test]
    fn malformed_selections_are_refused() {
        for fields in ["", "items(", "items(id", "items)", "a,,b", "a/", &"a(".repeat(50)] {
            assert!(Mask::parse(fields).is_err(), "{fields}");
        }
    }
}
