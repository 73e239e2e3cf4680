//! Writes down every exchange with Google's methods, for those who judge them. Secrets are masked.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Frame, SizeHint};
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
        self: Arc<Self>,
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
        exchange["status"] = json!(if aborted { 0 } else { parts.status.as_u16() });
        exchange["answerHeaders"] = headers(&parts.headers);
        exchange["fault"] = json!(effect);
        let mut passed = Passed { recorder: self, body, answer: BytesMut::new(), exchange: Some(exchange) };
        if passed.body.is_end_stream() {
            passed.end(false);
        }
        Response::from_parts(parts, Body::new(passed))
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

/// An answer on its way. What has passed is written down when it has passed whole, or breaks off.
struct Passed {
    recorder: Arc<Recorder>,
    body: Body,
    answer: BytesMut,
    /// `None` once it is written.
    exchange: Option<Value>,
}

impl Passed {
    fn end(&mut self, cut: bool) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange["answer"] = masked(&self.answer);
            exchange["cut"] = json!(cut);
            self.recorder.write(&exchange);
        }
    }
}

impl hyper::body::Body for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.answer.extend_from_slice(data);
                }
                // Before the client has the last of it, so that nobody looks for it too early.
                if self.body.is_end_stream() {
                    self.end(false);
                }
            }
            Some(Err(_)) => self.end(true),
            None => self.end(false),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        self.end(true);
    }
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
