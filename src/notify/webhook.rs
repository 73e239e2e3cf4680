//! Webhooks as of [Standard Webhooks](https://www.standardwebhooks.com): signed, with an id that stays the same for each
//! try.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::guard::is_public;

/// Of an answer's body so much is read, only so that the receiver can finish in order. The status alone counts.
const BODY_MAX: usize = 16 * 1024;
/// So long is waited for the body.
const BODY_WAIT: Duration = Duration::from_millis(500);
/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Longest time that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Why a webhook was not taken. Names neither the URL nor anything that the receiver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name of the host has no address")]
    Unresolved,
    /// It is inside the operator's network.
    #[error("the host is not on the public internet")]
    Forbidden,
    /// Nobody listens.
    #[error("no connection")]
    Unreachable,
    /// Its certificate is not good for it, or it does not speak TLS.
    #[error("no TLS connection: its certificate or its protocol is not accepted")]
    Insecure,
    /// The connection broke before there was an answer.
    #[error("the connection broke before the answer")]
    Broken,
    /// The answer did not come in time.
    #[error("no answer in time")]
    Late,
    /// It answered something other than 2xx. Redirects are not followed.
    #[error("answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The secret or the URL cannot be used.
    #[error("its settings cannot be used")]
    Unusable,
}

impl Failure {
    /// Whether the receiver said that it wants nothing any more.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Status { status: 410, .. })
    }

    /// When the receiver wants to be asked again.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The same for each try, so that the receiver knows what it has already.
    pub id: &'a str,
    /// When this try is made.
    pub at: DateTime<Utc>,
    /// JSON.
    pub body: &'a str,
}

/// Sends webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    tls: TlsConnector,
    allow_local: bool,
    deadline: Duration,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("allow_local", &self.allow_local).finish_non_exhaustive()
    }
}

impl Sender {
    /// Sends to the public internet, and with `allow_local` also inside the network. Each try takes at most `deadline`. TLS
    /// trusts what the machine trusts.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up at all.
    pub fn new(allow_local: bool, deadline: Duration) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        // Without any, only what needs no TLS can be reached.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), allow_local, deadline })
    }

    /// Whether a URL may lie inside the network.
    #[must_use]
    pub const fn allows_local(&self) -> bool {
        self.allow_local
    }

    /// Sends one message, once.
    ///
    /// # Errors
    ///
    /// When the answer is not 2xx, or there is none.
    pub async fn send(&self, url: &Url, secret: &SecretString, message: Message<'_>) -> Result<(), Failure> {
        timeout(self.deadline, self.try_send(url, secret, message)).await.unwrap_or(Err(Failure::Late))
    }

    async fn try_send(&self, url: &Url, secret: &SecretString, message: Message<'_>) -> Result<(), Failure> {
        let request = signed(url, secret, message)?;
        let stream = self.connect(url).await?;
        if url.scheme() != "https" {
            return exchange(stream, request, message.at).await;
        }
        let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| Failure::Unusable)?;
        let stream = self.tls.connect(name, stream).await.map_err(|_| Failure::Insecure)?;
        exchange(stream, request, message.at).await
    }

    /// Connects to an address that was looked at: a name that is looked up twice may have two meanings.
    async fn connect(&self, url: &Url) -> Result<TcpStream, Failure> {
        let port = url.port_or_known_default().ok_or(Failure::Unusable)?;
        let addresses: Vec<IpAddr> = match url.host().ok_or(Failure::Unusable)? {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|_| Failure::Unresolved)?;
                found.map(|address| address.ip()).collect()
            }
        };
        if addresses.is_empty() {
            return Err(Failure::Unresolved);
        }
        let mut failure = Failure::Forbidden;
        let allowed = addresses.into_iter().filter(|address| self.allow_local || is_public(*address));
        for address in allowed.take(ADDRESSES_MAX) {
            match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(_) => failure = Failure::Unreachable,
            }
        }
        Err(failure)
    }
}

fn signed(url: &Url, secret: &SecretString, message: Message<'_>) -> Result<Request<Full<Bytes>>, Failure> {
    let Message { id, at, body } = message;
    let signer = Webhook::new(secret.expose_secret()).map_err(|_| Failure::Unusable)?;
    let seconds = at.timestamp();
    let signature = signer.sign(id, seconds, body.as_bytes()).map_err(|_| Failure::Unusable)?;
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("slotd/", env!("CARGO_PKG_VERSION")))
        .header(HEADER_WEBHOOK_ID, id)
        .header(HEADER_WEBHOOK_TIMESTAMP, seconds)
        .header(HEADER_WEBHOOK_SIGNATURE, signature)
        .body(Full::from(body.to_owned()))
        .map_err(|_| Failure::Unusable)
}

/// One request and its answer on a connection of its own, which is closed afterwards.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    at: DateTime<Utc>,
) -> Result<(), Failure> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Broken)?;
    let ask = async {
        let answer = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let _ = timeout(BODY_WAIT, Limited::new(answer.into_body(), BODY_MAX).collect()).await;
        judge(status, &headers, at)
    };
    tokio::pin!(ask, connection);
    tokio::select! {
        answered = &mut ask => answered,
        // It may end as soon as the answer is there; then the answer is still to be read.
        _ = &mut connection => ask.await,
    }
}

fn judge(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let text = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    Err(Failure::Status { status: status.as_u16(), retry_after: text.and_then(|text| retry_after(text, now)) })
}

/// Seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_as_a_date() {
        assert_eq!(retry_after("120", NOW), Some(Duration::from_mins(2)));
        assert_eq!(retry_after("Mon, 01 Mar 2027 09:01:00 GMT", NOW), Some(Duration::from_mins(1)));
        assert_eq!(retry_after("Mon, 01 Mar 2027 08:00:00 GMT", NOW), Some(Duration::ZERO));
        assert_eq!(retry_after("4000000000", NOW), Some(RETRY_AFTER_MAX));
        assert_eq!(retry_after("soon", NOW), None);
    }

    #[test]
    fn only_2xx_is_a_yes() {
        let status = |status| StatusCode::from_u16(status).unwrap();
        for good in [200, 202, 204] {
            assert_eq!(judge(status(good), &HeaderMap::new(), NOW), Ok(()));
        }
        for bad in [301, 400, 404, 410, 429, 500, 503] {
            let failure = judge(status(bad), &HeaderMap::new(), NOW).unwrap_err();
            assert_eq!(failure.is_gone(), bad == 410, "{failure}");
        }
    }

    #[tokio::test]
    async fn an_address_inside_is_not_even_tried() {
        let sender = Sender::new(false, Duration::from_secs(5)).unwrap();
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let message = Message { id: "1", at: NOW, body: "{}" };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
            assert_eq!(sender.send(&url, &secret, message).await, Err(Failure::Forbidden), "{host}");
        }
        assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "nobody connected");
    }
}
