//! One pool of connections with limits, and the note that is taken of each call.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::io::AsyncReadExt;
use url::Url;

use super::Endpoints;

/// What a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the TCP connection.
    pub connect: Duration,
    /// For a whole call: token, connection, request, answer and, after a 401, all of it again.
    pub request: Duration,
    /// Largest body that is read, counted both before and after decompression.
    pub body_max_bytes: usize,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(20),
            body_max_bytes: 10 * 1024 * 1024,
            idle: Duration::from_mins(1),
        }
    }
}

/// The names of calls in a [`CallRecord`].
pub const METHODS: [&str; 14] = [
    "calendarList.list",
    "calendarList.get",
    "events.list",
    "events.get",
    "events.insert",
    "events.patch",
    "events.delete",
    "events.watch",
    "channels.stop",
    "oauth.exchange",
    "oauth.refresh",
    "oauth.revoke",
    "oauth.userinfo",
    "oauth.delegate",
];

/// How a call went, for metrics. Says nothing about whose call it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRecord {
    /// One of [`METHODS`].
    pub method: &'static str,
    /// One of [`OUTCOMES`](super::OUTCOMES).
    pub outcome: &'static str,
    /// From the caller's question to the decoded answer.
    pub elapsed: Duration,
}

/// Is told of each call after it. Must not block.
pub type Observer = Arc<dyn Fn(CallRecord) + Send + Sync>;

/// The machine has no list of trusted certificate authorities, so Google could not be told from an impostor.
#[derive(Debug, thiserror::Error)]
#[error("no trusted root certificates were found (on Debian they come with the package ca-certificates)")]
pub struct NoRootCertificates(#[source] io::Error);

/// Somebody in this process who answers in Google's place, so that a simulation decides what becomes of each call, and when.
pub trait InProcess: Send + Sync + 'static {
    /// Answers a request. `None` breaks the connection, whether or not the request was carried out.
    fn answer(&self, request: Request<String>) -> BoxFuture<'_, Option<Response<Bytes>>>;
}

/// The shared connections to Google. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    client: HyperClient,
    in_process: Option<Arc<dyn InProcess>>,
    limits: Limits,
    observer: Observer,
}

// Bodies are text, and yup-oauth2 wants `String`, so one pool serves both.
pub(super) type HyperClient = Client<Connector, String>;
pub(super) type Connector = HttpsConnector<HttpConnector>;

/// An answer, whatever its status, with the whole body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    #[error("no connection")]
    Unreachable,
    #[error("the connection broke")]
    Broken,
    #[error("no answer in time")]
    Late,
    #[error("the answer is over the size limit")]
    TooLarge,
    #[error("the answer's encoding cannot be read")]
    Garbled,
    #[error("answered with status {status}")]
    Unwell { status: u16, retry_after: Option<Duration> },
}

impl Transport {
    /// Connections for the given addresses. TLS trusts what the machine trusts.
    pub fn new(endpoints: &Endpoints, limits: Limits, observer: Observer) -> Result<Self, NoRootCertificates> {
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoRootCertificates(io::Error::other(error)))?;
        let tls = if endpoints.need_tls() {
            use hyper_rustls::ConfigBuilderExt;
            tls.with_native_roots().map_err(NoRootCertificates)?
        } else {
            // A stand-in on loopback must also run where no certificates are installed.
            tls.with_root_certificates(RootCertStore::empty())
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle)
            .pool_max_idle_per_host(32)
            // Finds a dead HTTP/2 connection before every call on it runs into its deadline.
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(connector);
        Ok(Self { client, in_process: None, limits, observer })
    }

    /// The same, with calls of the calendar API answered in this process and not over the network.
    #[must_use]
    pub fn answered_by(self, in_process: Arc<dyn InProcess>) -> Self {
        Self { in_process: Some(in_process), ..self }
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn client(&self) -> HyperClient {
        self.client.clone()
    }

    pub(super) fn note(&self, method: &'static str, outcome: &'static str, started: tokio::time::Instant) {
        (self.observer)(CallRecord { method, outcome, elapsed: started.elapsed() });
    }

    /// Sends a request and reads the whole answer. `sent` is set from the moment on in which Google may have the
    /// request. There is no deadline here: callers put one around all their steps.
    pub(super) async fn exchange(&self, mut request: Request<String>, sent: &AtomicBool) -> Result<Answer, Lost> {
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("gzip"));
        // Google compresses only for clients that also say so in their name.
        let agent = concat!("slotd/", env!("CARGO_PKG_VERSION"), " (gzip)");
        headers.insert(header::USER_AGENT, header::HeaderValue::from_static(agent));

        sent.store(true, Ordering::Relaxed);
        if let Some(in_process) = &self.in_process {
            let (head, body) = in_process.answer(request).await.ok_or(Lost::Broken)?.into_parts();
            return Ok(Answer { status: head.status, headers: head.headers, body: body.into() });
        }
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                sent.store(false, Ordering::Relaxed);
                return Lost::Unreachable;
            }
            Lost::Broken
        })?;
        self.read(response).await
    }

    /// What time it is by whoever answers at `url`, whatever the answer. `None` when nobody answers in time, or without a
    /// date.
    pub async fn server_time(&self, url: &Url) -> Option<DateTime<Utc>> {
        let request = Request::get(url.as_str()).body(String::new()).ok()?;
        let sent = AtomicBool::new(false);
        let asked = tokio::time::timeout(self.limits.request, self.exchange(request, &sent));
        let answer = asked.await.ok()?.ok()?;
        let date = answer.headers.get(header::DATE)?.to_str().ok()?;
        DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, Lost> {
        let max = self.limits.body_max_bytes;
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, max).collect().await.map_err(|error| match error.downcast::<LengthLimitError>() {
                Ok(_) => Lost::TooLarge,
                Err(_) => Lost::Broken,
            })?;
        let body = body.to_bytes();
        let encoding = head.headers.get(header::CONTENT_ENCODING).map_or(&b"identity"[..], |value| value.as_bytes());
        let body = match encoding {
            b"gzip" => decompress(&body, max).await?,
            b"identity" => body.into(),
            _ => return Err(Lost::Garbled),
        };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

async fn decompress(packed: &[u8], max: usize) -> Result<Vec<u8>, Lost> {
    if packed.is_empty() {
        return Ok(Vec::new());
    }
    let mut plain = Vec::new();
    let cap = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    GzipDecoder::new(packed).take(cap).read_to_end(&mut plain).await.map_err(|_| Lost::Garbled)?;
    if plain.len() > max { Err(Lost::TooLarge) } else { Ok(plain) }
}
