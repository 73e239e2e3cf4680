//! A small HTTP client, for the daemon and for the stand-in.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

use super::events::Events;

/// How long any answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Calls one server with one bearer token.
#[derive(Clone)]
pub(crate) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    root: String,
    bearer: String,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Client {
    /// `root` is everything before the paths.
    pub(crate) fn new(root: String, bearer: &str) -> Self {
        Self { http: HyperClient::builder(TokioExecutor::new()).build_http(), root, bearer: bearer.to_owned() }
    }

    /// The same server with another token.
    pub(crate) fn with_bearer(&self, bearer: &str) -> Self {
        Self { bearer: bearer.to_owned(), ..self.clone() }
    }

    /// Sends one request to a path, or to a full URL.
    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.root) };
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.bearer));
        }
        let request = request.body(Full::new(body)).unwrap();
        let response = timeout(ANSWER_MAX, self.http.request(request)).await.expect("an answer in time").unwrap();
        let (parts, body) = response.into_parts();
        let bytes = timeout(ANSWER_MAX, body.collect()).await.expect("a body in time").unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// Opens a stream of events; `last` is the id of the last one that was read.
    pub(crate) async fn events(&self, path: &str, last: Option<&str>) -> Events {
        let mut request = Request::get(format!("{}{path}", self.root))
            .header("authorization", format!("Bearer {}", self.bearer))
            .header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let response = timeout(ANSWER_MAX, self.http.request(request)).await.expect("an answer in time").unwrap();
        Events::new(response)
    }

    /// Sends a JSON body.
    pub(crate) async fn json(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers: Vec<(&str, &str)> =
            headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send(method, path, &headers, body.to_string().into()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, &[], body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::PATCH, path, &[], body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }
}

impl Answer {
    /// The body as JSON; null when it is something else.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    /// The body of an answer that has to be a success.
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// One header; empty when it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, kind and field of a problem document.
    pub(crate) fn problem(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{body}");
        assert_eq!(body["status"], self.status, "{body}");
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("type").trim_start_matches("/problems/").to_owned(), text("field"))
    }
}
