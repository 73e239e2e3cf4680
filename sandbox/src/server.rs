//! Accepts connections and serves them until the stand-in is stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tower_http::compression::CompressionLayer;
use url::{Host, Url};

use crate::api::{self, Aborted};
use crate::control;
use crate::refusal::Refusal;
use crate::state::AppState;

/// How long a client may take to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connections get to end when the stand-in is stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the port, on this machine only.
pub(crate) async fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    if !bind.ip().is_loopback() {
        let text = format!("the stand-in for Google listens on loopback addresses only, not on {bind}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    TcpListener::bind(bind).await
}

fn router(state: &AppState) -> Router {
    Router::new()
        .merge(api::routes(state))
        .merge(control::routes(state.clone()))
        .merge(crate::owner::routes(state.clone()))
        .merge(crate::page::routes(state.clone()))
        .route("/", get(|| async { Redirect::temporary("/page/") }))
        .fallback(|| async { Refusal::not_found().into_response() })
        .layer(CompressionLayer::new().gzip(true))
        .layer(middleware::from_fn(check_host))
}

/// Answers one request in this process. `None` where the connection would have been reset.
pub(crate) async fn answer(
    router: &Router,
    request: axum::http::Request<String>,
) -> Option<axum::http::Response<Bytes>> {
    let service = TowerToHyperService::new(router.clone());
    let response: Response = match service.call(request.map(Body::from)).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    if head.extensions.get::<Aborted>().is_some() {
        return None;
    }
    let body = to_bytes(body, usize::MAX).await.ok()?;
    Some(axum::http::Response::from_parts(head, body))
}

/// Refuses requests that name another host than this machine: a web page could otherwise read the calendars by pointing
/// its own name to a loopback address.
async fn check_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let url = host.and_then(|host| Url::parse(&format!("http://{host}")).ok());
    if url.is_some_and(|url| is_loopback(&url)) {
        next.run(request).await
    } else {
        StatusCode::MISDIRECTED_REQUEST.into_response()
    }
}

/// Whether a URL leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Serves until the state's token is cancelled.
pub(crate) async fn serve(state: AppState, listener: TcpListener) {
    let router = router(&state);
    loop {
        tokio::select! {
            () = state.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    state.tasks.spawn(connection(state.clone(), router.clone(), stream));
                }
                // Out of file descriptors, most likely: wait for some to come back.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// A connection, and a second handle on it to change its options by.
fn twinned(stream: TcpStream) -> io::Result<(TcpStream, Arc<std::net::TcpStream>)> {
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, Arc::new(twin)))
}

async fn connection(state: AppState, router: Router, stream: TcpStream) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let Ok((stream, twin)) = twinned(stream) else { return };
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = service.call(request);
        let twin = Arc::clone(&twin);
        async move {
            let response: Response = match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.extensions().get::<Aborted>().is_some() {
                // An error makes hyper close the connection without an answer, and without lingering that is a reset.
                let _ = SockRef::from(&*twin).set_linger(Some(Duration::ZERO));
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            } else {
                Ok(response)
            }
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Clients that hang up are no concern of the stand-in.
        _ = connection.as_mut() => {}
        () = state.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(STOP_TIMEOUT, connection).await;
        }
    }
}
