//! Accepting connections.
//!
//! `axum::serve` has no limit for slow or many clients, so this loop stands in its place: HTTP/1 and HTTP/2 without
//! TLS, with deadlines for headers and limits for their size and for the number of connections.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::Http;

/// Most bytes of a request's line and headers.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Most requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// How often an idle HTTP/2 connection is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients are allowed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time to send a request's headers; also the longest idle time of an HTTP/1 connection.
    pub header_read_timeout: Duration,
    /// Most connections at once. Further ones wait in the system's queue.
    pub connections_max: usize,
}

/// Serves `router` on `listener` until `stop`, and then until the requests in hand are answered.
///
/// Handlers find the client's address as [`ConnectInfo<SocketAddr>`]. Dropping the future ends all connections.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let server = server(limits);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();

    loop {
        let room = connections.len() < limits.connections_max;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => report(&ended),
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, peer)) => {
                    let connection = server.serve_connection(io_of(stream), service(router.clone(), peer)).into_owned();
                    let watched = graceful.watch(connection);
                    connections.spawn(async move {
                        // Clients hang up, send nonsense and time out; that is theirs to know.
                        if let Err(error) = watched.await {
                            tracing::debug!(error, "connection ended early");
                        }
                    });
                }
                Err(error) => {
                    // A client that is gone already needs no pause, lack of descriptors does.
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        tracing::warn!(%error, "cannot accept connections");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
        }
    }

    drop(listener);
    graceful.shutdown().await;
    while let Some(ended) = connections.join_next().await {
        report(&ended);
    }
}

impl From<&Http> for Limits {
    fn from(settings: &Http) -> Self {
        Self {
            header_read_timeout: Duration::from_secs(settings.header_read_timeout_s.into()),
            connections_max: settings.connections_max,
        }
    }
}

fn server(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .max_header_list_size(u32::try_from(HEADER_BYTES_MAX).expect("small"))
        .max_concurrent_streams(STREAMS_MAX);
    server
}

fn io_of(stream: TcpStream) -> TokioIo<TcpStream> {
    // Answers are small and complete; waiting to fill a packet only delays them. It fails on closed sockets alone.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

fn service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Future<Output = Result<Response, Infallible>> + Send,
> + Clone
+ Send {
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    })
}

fn report(ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection's task panicked");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use http_body_util::{BodyExt, Empty};
    use hyper_util::client::legacy::Client;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
        task::JoinHandle,
        time::timeout,
    };

    use super::*;
    use crate::http::Json;

    const LONG: Duration = Duration::from_secs(30);
    const LIMITS: Limits = Limits { header_read_timeout: LONG, connections_max: 10 };

    struct Server {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start(router: Router, limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Server { address, stop, task }
    }

    fn greeting() -> Router {
        Router::new().route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
    }

    /// Writes `request` and reads until the server closes, in whatever way.
    async fn talk(stream: &mut TcpStream, request: &[u8]) -> String {
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
        if let Err(error) = read {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: slotd\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn it_answers_http_1_and_tells_handlers_the_address() {
        let server = start(greeting(), LIMITS).await;
        let answer = talk(&mut TcpStream::connect(server.address).await.unwrap(), REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn it_answers_http_2_without_tls() {
        let server = start(greeting(), LIMITS).await;
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Empty<&[u8]>>();
        let answer = client.get(format!("http://{}/", server.address).parse().unwrap()).await.unwrap();
        assert_eq!(answer.version(), hyper::Version::HTTP_2);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "127.0.0.1");
    }

    #[tokio::test]
    async fn a_client_that_dawdles_over_its_headers_is_cut_off() {
        let limits = Limits { header_read_timeout: Duration::from_millis(100), ..LIMITS };
        let server = start(greeting(), limits).await;
        let answer = talk(&mut TcpStream::connect(server.address).await.unwrap(), b"GET / HTTP/1.1\r\nhost:").await;
        assert!(!answer.contains("200"), "{answer}");
    }

    #[tokio::test]
    async fn too_many_or_too_large_headers_are_refused() {
        let server = start(greeting(), LIMITS).await;
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        let large = format!("x: {}\r\n", "y".repeat(HEADER_BYTES_MAX));
        for headers in [many, large] {
            let request = format!("GET / HTTP/1.1\r\n{headers}\r\n");
            let answer = talk(&mut TcpStream::connect(server.address).await.unwrap(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
    }

    #[tokio::test]
    async fn a_client_that_sends_too_much_still_reads_the_answer() {
        let echo = |Json(value): Json<serde_json::Value>| async move { value.to_string() };
        let server = start(Router::new().route("/", post(echo)), LIMITS).await;
        let body = "x".repeat(1 << 20);
        let head = "POST / HTTP/1.1\r\nhost: slotd\r\nconnection: close\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let answer = talk(&mut TcpStream::connect(server.address).await.unwrap(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("/problems/too-large"), "{answer}");
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_for_their_turn() {
        let server = start(greeting(), Limits { connections_max: 1, ..LIMITS }).await;
        let mut first = TcpStream::connect(server.address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: slotd\r\n\r\n").await.unwrap();
        first.read_u8().await.unwrap();

        let mut second = TcpStream::connect(server.address).await.unwrap();
        second.write_all(REQUEST).await.unwrap();
        assert!(timeout(Duration::from_millis(100), second.read_u8()).await.is_err(), "there was no room for it");
        drop(first);
        assert!(talk(&mut second, b"").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn stopping_lets_the_request_in_hand_finish_and_takes_no_other() {
        let (entered, inside) = oneshot::channel();
        let (release, released) = oneshot::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(Some((entered, released))));
        let slow = move || {
            let (entered, released) = gate.lock().unwrap().take().unwrap();
            async move {
                entered.send(()).unwrap();
                released.await.unwrap();
                "done"
            }
        };
        let server = start(Router::new().route("/", get(slow)).route("/quick", get(|| async {})), LIMITS).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: slotd\r\n\r\n").await.unwrap();
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /quick HTTP/1.1\r\nhost: slotd\r\n\r\n").await.unwrap();
        idle.read_u8().await.unwrap();
        inside.await.unwrap();

        server.stop.cancel();
        // An idle connection is closed, which ends the reading.
        talk(&mut idle, b"").await;
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
        release.send(()).unwrap();
        assert!(talk(&mut stream, b"").await.ends_with("done"));
        timeout(LONG, server.task).await.unwrap().unwrap();
    }
}
