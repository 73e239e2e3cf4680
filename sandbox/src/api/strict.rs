//! Refuses requests that the discovery document does not know: unknown or mistyped parameters and fields.
//!
//! Google itself overlooks some of these. A client that is tested here should not rest on that.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::Value;

use super::Query;
use crate::refusal::Refusal;

/// What the document says, extracted by `clients/discovery.py`.
static TABLE: LazyLock<Table> =
    LazyLock::new(|| serde_json::from_str(include_str!("methods.json")).expect("the table is compiled in"));

#[derive(Deserialize)]
struct Table {
    /// Parameters of every method.
    parameters: BTreeMap<String, Schema>,
    methods: BTreeMap<String, Described>,
    schemas: BTreeMap<String, Schema>,
}

#[derive(Deserialize)]
struct Described {
    parameters: BTreeMap<String, Schema>,
    /// The schema of its body.
    request: Option<String>,
    #[cfg(test)]
    #[serde(rename = "httpMethod")]
    verb: String,
    #[cfg(test)]
    path: String,
    #[cfg(test)]
    scopes: Vec<String>,
}

/// A parameter, or a part of a body.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Schema {
    #[serde(rename = "type", default)]
    kind: String,
    format: Option<String>,
    #[serde(rename = "enum", default)]
    values: Vec<String>,
    #[serde(default)]
    location: String,
    #[serde(default)]
    repeated: bool,
    #[serde(default)]
    required: bool,
    minimum: Option<String>,
    maximum: Option<String>,
    #[serde(rename = "$ref")]
    named: Option<String>,
    items: Option<Box<Schema>>,
    #[serde(default)]
    properties: BTreeMap<String, Schema>,
    additional_properties: Option<Box<Schema>>,
}

/// Checks a request of the Calendar API; methods of other APIs are not in the document.
pub(super) fn check(method: &str, query: &Query, body: &[u8]) -> Result<(), Refusal> {
    let Some(described) = TABLE.methods.get(method) else { return Ok(()) };
    check_query(described, query)?;
    match (&described.request, serde_json::from_slice::<Value>(body)) {
        // What is no JSON is refused by the method.
        (Some(name), Ok(body)) => TABLE.schemas.get(name).map_or(Ok(()), |schema| schema.check_part(&body, "")),
        _ => Ok(()),
    }
}

fn check_query(described: &Described, query: &Query) -> Result<(), Refusal> {
    let in_query = |schema: &Schema| schema.location == "query";
    for (name, value) in query.pairs() {
        let known =
            described.parameters.get(name).filter(|schema| in_query(schema)).or_else(|| TABLE.parameters.get(name));
        let schema = known.ok_or_else(|| Refusal::parameter(name, format!("Unknown parameter: {name}")))?;
        if !schema.repeated && query.all(name).count() > 1 {
            return Err(Refusal::parameter(name, format!("Parameter {name} is given more than once.")));
        }
        schema.check_parameter(name, value)?;
    }
    let missing = |(name, schema): &(&String, &Schema)| in_query(schema) && schema.required && !query.has(name);
    match described.parameters.iter().find(missing) {
        Some((name, _)) => Err(Refusal::required(format!("Required parameter: {name}")).at("parameter", name.clone())),
        None => Ok(()),
    }
}

impl Schema {
    fn check_parameter(&self, name: &str, value: &str) -> Result<(), Refusal> {
        let wrong = || Refusal::parameter(name, format!("Invalid value for {name}: '{value}'."));
        let fits = match self.kind.as_str() {
            "boolean" => matches!(value, "true" | "false"),
            "integer" => {
                let bound = |bound: &Option<String>| bound.as_ref().and_then(|bound| bound.parse::<i32>().ok());
                value.parse::<i32>().is_ok_and(|number| {
                    bound(&self.minimum).is_none_or(|least| number >= least)
                        && bound(&self.maximum).is_none_or(|most| number <= most)
                })
            }
            _ if self.format.as_deref() == Some("date-time") => {
                if DateTime::parse_from_rfc3339(value).is_err() {
                    return Err(Refusal::bad_request("Bad Request").at("parameter", name.to_owned()));
                }
                true
            }
            _ => self.values.is_empty() || self.values.iter().any(|known| known == value),
        };
        if fits { Ok(()) } else { Err(wrong()) }
    }

    /// Checks one part of a body; `path` names it. `null` stands for what is missing, or is to be deleted.
    fn check_part(&self, value: &Value, path: &str) -> Result<(), Refusal> {
        if let Some(schema) = self.named.as_ref().and_then(|name| TABLE.schemas.get(name)) {
            return schema.check_part(value, path);
        }
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let fits = match (self.kind.as_str(), value) {
            (_, Value::Null) | ("any", _) | ("boolean", Value::Bool(_)) => true,
            ("string", Value::String(text)) => {
                let listed = self.values.is_empty() || self.values.contains(text);
                listed && (self.format.as_deref() != Some("int64") || text.parse::<i64>().is_ok())
            }
            ("integer", Value::Number(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            ("array", Value::Array(entries)) => {
                for entry in entries {
                    self.items.as_ref().map_or(Ok(()), |items| items.check_part(entry, path))?;
                }
                true
            }
            ("object", Value::Object(fields)) => {
                for (name, value) in fields {
                    let schema = self.properties.get(name).or(self.additional_properties.as_deref());
                    let unknown = || Refusal::invalid(format!("Unknown name: {}", below(name)));
                    schema.ok_or_else(unknown)?.check_part(value, &below(name))?;
                }
                true
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(Refusal::invalid(format!("Invalid value for: {path}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::METHODS;
    use serde_json::json;

    fn query(method: &str, text: &str) -> Result<(), Refusal> {
        check(method, &Query::parse(text.as_bytes()), b"")
    }

    #[test]
    fn the_methods_are_those_of_the_document_with_its_verbs_paths_and_scopes() {
        let served: Vec<_> = METHODS.iter().filter(|method| method.id.starts_with("calendar.")).collect();
        assert_eq!(served.len(), TABLE.methods.len());
        for method in served {
            let described = &TABLE.methods[method.id];
            assert_eq!(method.verb.as_str(), described.verb, "{}", method.id);
            let path = described.path.replace("{calendarId}", "{calendar}").replace("{eventId}", "{event}");
            assert_eq!(method.path, format!("/calendar/v3/{path}"));
            let mut scopes: Vec<_> =
                method.scopes.unwrap().iter().map(|scope| format!("{}{scope}", crate::api::SCOPE_PREFIX)).collect();
            scopes.sort();
            assert_eq!(scopes, described.scopes, "{}", method.id);
        }
    }

    #[test]
    fn parameters_have_the_type_that_the_document_gives_them() {
        let list = "calendar.events.list";
        for fine in [
            "maxResults=2500&singleEvents=false&timeMin=2027-01-01T00:00:00%2B01:00&orderBy=updated&prettyPrint=true",
            "eventTypes=default&eventTypes=focusTime&privateExtendedProperty=a%3Db&q=&fields=items(id)&quotaUser=x",
        ] {
            assert_eq!(query(list, fine), Ok(()), "{fine}");
        }
        for (wrong, reason) in [
            ("maxResult=5", "invalidParameter"),
            ("calendarId=primary", "invalidParameter"),
            ("maxResults=0", "invalidParameter"),
            ("maxResults=99999999999", "invalidParameter"),
            ("singleEvents=1", "invalidParameter"),
            ("timeMin=2027-01-01T00:00:00", "badRequest"),
            ("orderBy=start", "invalidParameter"),
            ("eventTypes=default,focusTime", "invalidParameter"),
            ("q=a&q=b", "invalidParameter"),
            ("alt=media", "invalidParameter"),
        ] {
            assert_eq!(query(list, wrong).unwrap_err().reason, reason, "{wrong}");
        }
        assert_eq!(query("calendar.events.quickAdd", "").unwrap_err().reason, "required");
        assert_eq!(query("calendar.events.insert", "conferenceDataVersion=2").unwrap_err().reason, "invalidParameter");
        assert_eq!(query("oauth2.token", "anything=goes"), Ok(()));
    }

    #[test]
    fn bodies_have_the_fields_and_types_that_the_document_gives_them() {
        let body = |method: &str, body: Value| check(method, &Query::default(), body.to_string().as_bytes());
        let fine = json!({
            "summary": null, "etag": "\"1\"", "reminders": { "useDefault": false, "overrides": [{ "minutes": 10 }] },
            "extendedProperties": { "private": { "any": "x", "gone": null } }, "transparency": "opaque",
        });
        assert_eq!(body("calendar.events.patch", fine), Ok(()));
        for wrong in [
            json!({ "summery": "x" }),
            json!({ "start": { "datetime": "2027-01-01T00:00:00Z" } }),
            json!({ "summary": 5 }),
            json!({ "sequence": "1" }),
            json!({ "sequence": 1.5 }),
            json!({ "attendees": { "email": "x" } }),
            json!({ "attendees": [{ "responseStatus": "maybe" }] }),
            json!({ "transparency": "glass" }),
            json!({ "extendedProperties": { "private": { "number": 1 } } }),
            json!([]),
        ] {
            assert_eq!(body("calendar.events.patch", wrong.clone()).unwrap_err().status, 400, "{wrong}");
        }
        assert!(body("calendar.events.watch", json!({ "expiration": 1_800_000_000_000_u64 })).is_err());
        assert!(
            body("calendar.events.watch", json!({ "expiration": "1800000000000", "params": { "ttl": 1 } })).is_err()
        );
        assert_eq!(body("calendar.events.watch", json!({ "params": { "ttl": "60" } })), Ok(()));
    }
}
