//! Reads a stream of server-sent events, as a browser does.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{HeaderMap, Response, body::Incoming};
use serde_json::Value;
use tokio::time::timeout;

/// How long an event may take that has to come.
const EVENT_MAX: Duration = Duration::from_secs(30);

/// An open stream.
pub(crate) struct Events {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    unread: String,
    /// Of the last event that was read.
    pub(crate) last_id: Option<String>,
    /// Comments that were read.
    pub(crate) comments: usize,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) retry: Option<u64>,
    pub(crate) data: Value,
}

impl Events {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Self { status, headers, body, unread: String::new(), last_id: None, comments: 0 }
    }

    /// The next event; `None` when the stream has ended in order.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        timeout(EVENT_MAX, self.read()).await.expect("an event in time")
    }

    /// The next event, which has to be of this name.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// That nothing comes for a while.
    pub(crate) async fn expect_silence(&mut self, length: Duration) {
        if let Ok(event) = timeout(length, self.read()).await {
            panic!("nothing was to come: {event:?}");
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                if let Some(event) = parse(&block) {
                    self.last_id = Some(event.id.clone());
                    return Some(event);
                }
                self.comments += 1;
            }
            let frame = self.body.frame().await?.expect("the stream ends in order");
            if let Ok(bytes) = frame.into_data() {
                self.unread.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
    }
}

/// `None` for a block of comments alone.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        block.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    Some(Event {
        name: field("event")?,
        id: field("id").expect("each event has an id"),
        retry: field("retry").map(|text| text.parse().unwrap()),
        data: serde_json::from_str(&field("data").expect("each event has data")).unwrap(),
    })
}
