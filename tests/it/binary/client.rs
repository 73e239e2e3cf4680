//! A small HTTP client, for the daemon's API and for the stand-in's.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::DEADLINE;

/// Talks to one server with one bearer token.
#[derive(Clone)]
pub(crate) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    /// `http://127.0.0.1:PORT`
    pub(crate) root: String,
    bearer: String,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) fn new(root: String, bearer: String) -> Self {
        Self { http: HyperClient::builder(TokioExecutor::new()).build_http(), root, bearer }
    }

    /// Sends a request; `None` when no whole answer came, as happens when the server is killed.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.root) };
        let mut request =
            Request::builder().method(method).uri(url).header("authorization", format!("Bearer {}", self.bearer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(body.map_or_else(String::new, Value::to_string))).unwrap();
        let answer = async {
            let (parts, body) = self.http.request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        tokio::time::timeout(DEADLINE, answer).await.unwrap()
    }

    /// The body of an answer that has to be a success.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, path, &[], body).await.unwrap();
        assert!((200..400).contains(&answer.status), "{path}: {} {:?}", answer.status, answer.body);
        answer.json()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }
}
