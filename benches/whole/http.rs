//! A small HTTP client.

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// Calls one server with one bearer token. Clones share connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    root: String,
    token: String,
}

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new(root: impl Into<String>, token: impl Into<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, root: root.into(), token: token.into() }
    }

    /// Sends a request to a path below the root, or to a full URL.
    pub(crate) async fn send(
        &self,
        method: Method,
        to: &str,
        headers: &[(header::HeaderName, &str)],
        body: Option<&Value>,
    ) -> Result<Answer> {
        let url = if to.starts_with("http") { to.to_owned() } else { format!("{}{to}", self.root) };
        let mut request =
            Request::builder().method(method).uri(url).header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(serde_json::to_vec(body)?.into()))?,
            None => request.body(Full::default())?,
        };
        let response = self.client.request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }

    /// Sends a request that must succeed, and reads its JSON answer.
    pub(crate) async fn call(&self, method: Method, to: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(method.clone(), to, &[], body).await?;
        if !answer.status.is_success() {
            bail!("{method} {to} was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body)? })
    }

    pub(crate) async fn get(&self, to: &str) -> Result<Value> {
        self.call(Method::GET, to, None).await
    }

    pub(crate) async fn post(&self, to: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, to, Some(body)).await
    }
}

/// Text as a part of a path or query.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
