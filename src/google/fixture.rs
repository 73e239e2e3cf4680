//! A tiny HTTP server with canned answers, for the tests of this layer.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{HeaderMap, Request, Response, body::Frame, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinSet};
use url::Url;
use uuid::Uuid;

use super::{
    AccessToken, AccountKey, CallRecord, Endpoints, Google, Limits, OAuth, OAuthClient, TokenError, TokenSource,
    Transport, install_tls_provider,
};
use crate::domain::{AccountId, BusinessId};

pub(super) const ACCOUNT: AccountKey =
    AccountKey { business: BusinessId::new(Uuid::from_u128(1)), account: AccountId::new(Uuid::from_u128(2)) };

/// One answer.
#[derive(Clone)]
pub(super) struct Canned {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
    end: End,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Never,
    HangUp,
}

impl Canned {
    pub(super) fn new(status: u16, body: Bytes) -> Self {
        Self { status, headers: Vec::new(), body, end: End::Whole }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests read better")]
    pub(super) fn json(status: u16, body: Value) -> Self {
        Self::new(status, body.to_string().into()).with("content-type", "application/json; charset=UTF-8")
    }

    pub(super) async fn gzip(body: &Value) -> Self {
        let plain = body.to_string();
        let mut packed = Vec::new();
        let mut encoder = async_compression::tokio::bufread::GzipEncoder::new(plain.as_bytes());
        encoder.read_to_end(&mut packed).await.unwrap();
        Self::new(200, packed.into()).with("content-encoding", "gzip")
    }

    /// Says that a body follows, and sends only its beginning.
    pub(super) fn stalling() -> Self {
        Self { end: End::Never, ..Self::new(200, Bytes::from_static(b"{")) }
    }

    /// Reads the request and closes the connection.
    pub(super) fn hang_up() -> Self {
        Self { end: End::HangUp, ..Self::new(200, Bytes::new()) }
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn response(self) -> Option<Response<BoxBody<Bytes, Infallible>>> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = match self.end {
            End::Whole => Full::new(self.body).boxed(),
            End::Never => {
                let first = stream::iter([Ok(Frame::data(self.body))]);
                BodyExt::boxed(StreamBody::new(first.chain(stream::pending())))
            }
            End::HangUp => return None,
        };
        Some(response.body(body).unwrap())
    }
}

/// What a request looked like.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// The server. It ends with its value.
pub(super) struct Stand {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Stand {
    /// Gives the answers in order; the last one again and again.
    pub(super) async fn answering(answers: impl IntoIterator<Item = Canned>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = base_url(&listener);
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let notes = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, notes) = (Arc::clone(&answers), Arc::clone(&notes));
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&answers), Arc::clone(&notes)));
                    // A client that hangs up, or a canned hang-up, ends the connection with an error. Both are meant.
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, seen, _tasks: tasks }
    }

    /// The base URL of its calendar API.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Mutex<VecDeque<Canned>>>,
    notes: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, &'static str> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let target = head.uri.path_and_query().unwrap().to_string();
    notes.lock().unwrap().push(Seen { method: head.method.to_string(), target, headers: head.headers, body });
    let mut answers = answers.lock().unwrap();
    let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
    next.and_then(Canned::response).ok_or("hang up")
}

fn base_url(listener: &TcpListener) -> Url {
    format!("http://{}/calendar/v3", listener.local_addr().unwrap()).parse().unwrap()
}

/// An address at which nobody listens.
pub(super) async fn closed_port() -> Url {
    base_url(&TcpListener::bind("127.0.0.1:0").await.unwrap())
}

/// Every address of Google at the stand: `/auth`, `/token`, `/revoke`, `/userinfo` beside the calendar API.
pub(super) fn endpoints_at(api: &Url) -> Endpoints {
    let at = |path| api.join(path).unwrap();
    Endpoints {
        api_base_url: api.clone(),
        auth_url: at("/auth"),
        token_url: at("/token"),
        revoke_url: at("/revoke"),
        userinfo_url: at("/userinfo"),
    }
}

pub(super) fn transport_at(api: &Url, limits: Limits) -> Transport {
    install_tls_provider();
    Transport::new(&endpoints_at(api), limits, Arc::new(|_| ())).unwrap()
}

pub(super) fn google_at(api: &Url, limits: Limits) -> Google {
    Google::new(transport_at(api, limits), &endpoints_at(api), Arc::new(rejections().0))
}

pub(super) fn oauth_at(api: &Url, limits: Limits) -> OAuth {
    let client = OAuthClient { client_id: "id1".to_owned(), client_secret: "hush".into() };
    OAuth::new(transport_at(api, limits), &endpoints_at(api), &client)
}

/// A client whose calls are noted.
pub(super) fn observed(api: &Url) -> (Google, Arc<Mutex<Vec<CallRecord>>>) {
    let records: Arc<Mutex<Vec<CallRecord>>> = Arc::default();
    let sink = Arc::clone(&records);
    let observer = Arc::new(move |record| sink.lock().unwrap().push(record));
    let transport = Transport::new(&endpoints_at(api), Limits::default(), observer).unwrap();
    (Google::new(transport, &endpoints_at(api), Arc::new(rejections().0)), records)
}

/// Gives `token0`, `token1`, … and notes what was rejected each time.
pub(super) struct NumberedTokens(Arc<Mutex<Vec<Option<String>>>>);

pub(super) fn rejections() -> (NumberedTokens, Arc<Mutex<Vec<Option<String>>>>) {
    let rejected: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    (NumberedTokens(Arc::clone(&rejected)), rejected)
}

impl TokenSource for NumberedTokens {
    fn access_token<'a>(
        &'a self,
        _account: AccountKey,
        rejected: Option<&'a AccessToken>,
    ) -> BoxFuture<'a, Result<AccessToken, TokenError>> {
        let mut asked = self.0.lock().unwrap();
        asked.push(rejected.map(|token| token.expose().to_owned()));
        let token = AccessToken::new(format!("token{}", asked.len() - 1));
        async move { Ok(token) }.boxed()
    }
}
