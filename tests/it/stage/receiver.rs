//! Receivers of notices on loopback: a webhook endpoint and a mail relay, which answer as they are told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::{HeaderMap, header::HeaderName};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::eventually;

/// How a receiver answers one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// With a status and further header lines.
    Status(u16, &'static str),
    /// It takes the message, and the connection breaks before its answer.
    HangUp,
    /// Never.
    Silence,
    /// With a status, and a body that never ends.
    SlowBody(u16),
}

/// One message, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.headers["webhook-id"].to_str().unwrap().to_owned()
    }

    /// Whether the verifier of Standard Webhooks takes it.
    pub(crate) fn is_signed(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(self.body.as_bytes(), &self.headers).is_ok()
    }
}

#[derive(Default)]
struct Seen {
    got: Vec<Got>,
    /// For the next requests; then `usual`.
    script: VecDeque<Reply>,
    usual: Option<Reply>,
}

/// Somebody who is told things.
pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
    task: AbortHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// A webhook endpoint that takes everything, unless it is told otherwise.
    pub(crate) async fn start() -> Self {
        Self::serve(|stream, seen| Box::pin(one_request(stream, seen))).await
    }

    /// A mail relay. What it got has the lines of the mail as its body.
    pub(crate) async fn mail() -> Self {
        Self::serve(|stream, seen| Box::pin(one_mail(stream, seen))).await
    }

    async fn serve(
        conversation: fn(TcpStream, Arc<Mutex<Seen>>) -> futures_util::future::BoxFuture<'static, std::io::Result<()>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        #[expect(clippy::disallowed_methods, reason = "a test's own task, ended with the receiver")]
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(conversation(stream, Arc::clone(&shared)));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/hook?a=b"), port, seen, task: task.abort_handle() }
    }

    /// How it answers the next requests.
    pub(crate) fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.seen.lock().unwrap().script.extend(replies);
    }

    /// How it answers whatever it has no word for.
    pub(crate) fn always(&self, reply: Reply) {
        self.seen.lock().unwrap().usual = Some(reply);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.seen.lock().unwrap().got.clone()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.got().iter().map(Got::kind).collect()
    }

    /// Waits until it got so many.
    pub(crate) async fn gets(&self, count: usize) -> Vec<Got> {
        eventually(&format!("{count} messages arrive"), async || Some(self.got()).filter(|got| got.len() >= count))
            .await
    }
}

fn next(seen: &Mutex<Seen>, got: Got) -> Reply {
    let mut seen = seen.lock().unwrap();
    seen.got.push(got);
    let scripted = seen.script.pop_front();
    scripted.or_else(|| seen.usual.clone()).unwrap_or(Reply::Status(204, ""))
}

async fn one_request(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut headers, mut length) = (String::new(), HeaderMap::new(), 0);
    stream.read_line(&mut line).await?;
    assert!(line.starts_with("POST /hook?a=b HTTP/1.1") || line.starts_with("POST / HTTP/1.1"), "{line}");
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        headers.insert(name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let got = Got { headers, body: String::from_utf8(body).unwrap(), at: Instant::now() };
    match next(&seen, got) {
        Reply::Status(status, more) => {
            stream.write_all(format!("HTTP/1.1 {status} X\r\n{more}content-length: 0\r\n\r\n").as_bytes()).await
        }
        Reply::HangUp => Ok(()),
        Reply::Silence => std::future::pending().await,
        Reply::SlowBody(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b"1\r\nx\r\n").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn one_mail(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 relay ESMTP\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match line.get(..4).unwrap_or_default() {
            "EHLO" | "MAIL" | "RCPT" | "NOOP" | "RSET" => "250 ok\r\n",
            "QUIT" => "221 bye\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await? == 0 {
                        return Ok(());
                    }
                }
                let got = Got { headers: HeaderMap::new(), body: mail, at: Instant::now() };
                match next(&seen, got) {
                    Reply::Status(code @ 400.., _) => {
                        stream.write_all(format!("{code} no\r\n").as_bytes()).await?;
                        continue;
                    }
                    Reply::HangUp => return Ok(()),
                    _ => "250 taken\r\n",
                }
            }
            _ => "502 what?\r\n",
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}
