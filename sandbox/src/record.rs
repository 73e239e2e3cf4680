//! Writes down every exchange with Google's methods, for those who judge them. Secrets are masked.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::api::{Aborted, BODY_MAX};
use crate::faults::Effect;

/// What stands in place of a secret.
const MASK: &str = "masked";
/// Fields and parameters that hold one.
const SECRETS: &[&str] = &[
    "access_token",
    "assertion",
    "client_secret",
    "code",
    "code_verifier",
    "id_token",
    "oauth_token",
    "refresh_token",
    "token",
];
/// Headers that matter to what is answered.
const HEADERS: &[header::HeaderName] = &[header::CONTENT_TYPE, header::IF_MATCH, header::IF_NONE_MATCH];

/// A file to which exchanges are added, one JSON object a line.
#[derive(Debug)]
pub(crate) struct Recorder(Mutex<File>);

impl Recorder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(File::options().create(true).append(true).open(path)?)))
    }

    /// Serves a request by `serve`, and writes down what came and what went.
    pub(crate) async fn run<F: Future<Output = Response>>(
        &self,
        method: &'static str,
        request: Request,
        serve: impl FnOnce(Request) -> F,
    ) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, BODY_MAX).await else {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        let mut exchange = json!({
            "method": method,
            "verb": parts.method.as_str(),
            "path": parts.uri.path(),
            "query": parts.uri.query().map(|query| masked(query.as_bytes())),
            "headers": headers(&parts.headers),
            "body": masked(&body),
        });
        let response = serve(Request::from_parts(parts, Body::from(body))).await;
        let aborted = response.extensions().get::<Aborted>().is_some();
        let effect = response.extensions().get::<Effect>().cloned();
        let (parts, body) = response.into_parts();
        let (answer, cut) = read(body).await;
        exchange["status"] = json!(if aborted { 0 } else { parts.status.as_u16() });
        exchange["answerHeaders"] = headers(&parts.headers);
        exchange["answer"] = masked(&answer);
        exchange["cut"] = json!(cut);
        exchange["fault"] = json!(effect);
        self.write(&exchange);
        let body = if cut {
            let broken = io::Error::from(io::ErrorKind::ConnectionReset);
            Body::from_stream(stream::iter([Ok(answer), Err(broken)]))
        } else {
            Body::from(answer)
        };
        Response::from_parts(parts, body)
    }

    fn write(&self, exchange: &Value) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that no reader sees half a line.
        if let Err(error) = file.write_all(format!("{exchange}\n").as_bytes()) {
            tracing::warn!(%error, "an exchange could not be recorded");
        }
    }
}

fn headers(given: &HeaderMap) -> Value {
    let text = |name: &header::HeaderName| given.get(name).and_then(|value| value.to_str().ok());
    HEADERS.iter().filter_map(|name| Some((name.to_string(), json!(text(name)?)))).collect()
}

/// The whole body, or what came of it before it broke.
async fn read(mut body: Body) -> (Bytes, bool) {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame: hyper::body::Frame<Bytes>| frame.into_data()) {
            Ok(Ok(data)) => whole.extend_from_slice(&data),
            // Trailers.
            Ok(Err(_)) => {}
            Err(_) => return (whole.freeze(), true),
        }
    }
    (whole.freeze(), false)
}

/// A body or query as text, without its secrets.
fn masked(bytes: &[u8]) -> Value {
    if let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(bytes) {
        for (name, value) in &mut fields {
            if SECRETS.contains(&name.as_str()) && value.is_string() {
                *value = json!(MASK);
            }
        }
        return json!(Value::Object(fields).to_string());
    }
    let text = String::from_utf8_lossy(bytes);
    if !SECRETS.iter().any(|name| text.contains(&format!("{name}="))) {
        return json!(text);
    }
    let pairs = form_urlencoded::parse(bytes);
    let pairs = pairs.map(|(name, value)| {
        let value = if SECRETS.contains(&&*name) { MASK.into() } else { value };
        (name, value)
    });
    json!(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_json_and_in_forms_and_nothing_else_is_changed() {
        let table = [
            (r#"{"access_token":"ya29.x","expires_in":3599}"#, r#"{"access_token":"masked","expires_in":3599}"#),
            ("grant_type=refresh_token&refresh_token=1%2F%2F0x", "grant_type=refresh_token&refresh_token=masked"),
            ("syncToken=a%3D&q=x+y", "syncToken=a%3D&q=x+y"),
            (r#"{"id":1.50,"big":12345678901234567890}"#, r#"{"big":12345678901234567890,"id":1.5}"#),
            ("{", "{"),
        ];
        for (given, wanted) in table {
            assert_eq!(masked(given.as_bytes()), wanted, "{given}");
        }
    }
}
