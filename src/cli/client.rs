//! A small HTTP client for commands that talk to a daemon as its users do.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Method, Request, StatusCode, header};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// Largest answer that is read, in bytes.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Talks to a daemon over plain HTTP.
#[derive(Clone)]
pub(super) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    root: String,
    key: String,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    /// Talks to the daemon at `root` with `key`.
    pub(super) fn new(root: String, key: String) -> Self {
        Self { http: HyperClient::builder(TokioExecutor::new()).build_http(), root, key }
    }

    /// Sends a request to a full URL.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(header::HeaderName, String)],
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::new(Bytes::from(serde_json::to_vec(body)?))
            }
            None => Full::default(),
        };
        let response = self.http.request(request.body(body)?).await.context("the daemon does not answer")?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Calls the API and reads its JSON answer.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.ask(method.clone(), path, body).await?;
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if !answer.status.is_success() && answer.status != StatusCode::SEE_OTHER {
            bail!("{method} {path} was answered {}: {}", answer.status, value["detail"].as_str().unwrap_or_default());
        }
        Ok(value)
    }

    /// Calls the API with the key.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let bearer = (header::AUTHORIZATION, format!("Bearer {}", self.key));
        self.send(method, &format!("{}/api/v1{path}", self.root), &[bearer], body).await
    }
}
