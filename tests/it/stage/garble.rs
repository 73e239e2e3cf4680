//! Something between slotd and Google that spoils answers.

use std::net::{Ipv4Addr, TcpListener};

use axum::{Router, body::Body, extract::Request, http::Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::runtime::Handle;
use url::Url;

/// Passes every request on to `google` and replaces texts in its answers. Returns where it listens; it ends with the
/// test.
pub(crate) fn garble(google: &Url, replacements: Vec<(String, String)>) -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut own = google.clone();
    own.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let root = google.origin().ascii_serialization();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let pass = move |request| pass_on(client.clone(), root.clone(), replacements.clone(), request);
    let router = Router::new().fallback(pass);
    Handle::current().spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, router).await
    });
    own
}

async fn pass_on(
    client: Client<HttpConnector, Full<Bytes>>,
    root: String,
    replacements: Vec<(String, String)>,
    request: Request,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("{root}{}", parts.uri.path_and_query().unwrap()).parse().unwrap();
    // Compressed text cannot be searched, and the host is another.
    parts.headers.remove("accept-encoding");
    parts.headers.remove("host");
    let body = Full::new(body.collect().await.unwrap().to_bytes());
    let answer = client.request(Request::from_parts(parts, body)).await.unwrap();
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove("content-length");
    let mut text = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    for (from, to) in &replacements {
        text = text.replace(from, to);
    }
    Response::from_parts(parts, Body::from(text))
}
