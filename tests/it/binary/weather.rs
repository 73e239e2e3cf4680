//! Two nodes on one PostgreSQL, whose server crashes, whose connections are cut, one of which is stopped for longer than
//! its leases last or killed; and a network to Google that loses, cuts and delays.

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    client::{Answer, Client},
    cluster::Cluster,
    installation::{Daemon, Installation, signal},
    network::Network,
    power::kills,
    salon::{Salon, Span, google_events, span, text, tomorrow},
    wait_for,
};
use crate::harness::Home;

/// Of every run: each trouble once.
const ROUNDS: i64 = 4;
const PER_ROUND: i64 = 8;
/// For longer than the leases of an installation.
const STOPPED: Duration = Duration::from_secs(7);
/// So that several writes are under way when the trouble comes.
const CALM: std::ops::Range<u64> = 20..300;

/// What happens to the nodes of a round.
async fn trouble(round: i64, cluster: &Cluster, node: &mut Option<Daemon>) {
    tokio::time::sleep(Duration::from_millis(rand::random_range(CALM))).await;
    match round % ROUNDS {
        0 => cluster.crash().await,
        1 => {
            let daemon = node.as_ref().unwrap();
            signal("STOP", daemon.process());
            tokio::time::sleep(STOPPED).await;
            signal("CONT", daemon.process());
        }
        2 => assert!(cluster.sever().await > 0),
        _ => {
            let mut daemon = node.take().unwrap();
            daemon.end();
            assert!(!daemon.has_panicked());
        }
    }
}

/// A request, and whether its first answer told what came of it.
struct Asked {
    method: Method,
    path: String,
    key: String,
    body: Value,
    answer: Option<Answer>,
}

impl Asked {
    async fn ask(&self, api: &Client) -> Option<Answer> {
        let key = [("idempotency-key", self.key.as_str())];
        let answer = api.send(self.method.clone(), &self.path, &key, Some(&self.body)).await;
        // A server in trouble says so, and never that something broke.
        assert_ne!(answer.as_ref().map(|answer| answer.status), Some(500), "{:?}", answer.map(|answer| answer.json()));
        answer.filter(|answer| answer.status < 500)
    }

    /// Asks until it is known, on any node. Whoever knew before is told the same again.
    async fn settle(&self, api: &Client) -> Answer {
        let answer = wait_for("an answer", || self.ask(api)).await;
        if let Some(first) = &self.answer {
            assert_eq!((first.status, &first.body), (answer.status, &answer.body), "{}", self.key);
        }
        answer
    }
}

/// What is booked, by what was acknowledged.
type Book = BTreeMap<String, Option<Span>>;

/// What is asked in a round: new bookings, and other times or an end for some that are there.
fn questions(salon: &Salon, round: i64, book: &Book) -> Vec<Asked> {
    let day = tomorrow() + TimeDelta::days(round);
    let ask = |method, path: String, key: String, body| Asked { method, path, key, body, answer: None };
    let mut asked: Vec<Asked> = (0..PER_ROUND)
        .map(|n| {
            let body = json!({
                "start": text(day + TimeDelta::hours(8) + TimeDelta::minutes(30 * n)), "duration_min": 30,
                "customer": { "name": "Ada Lovelace", "phone": "+4930123456" },
            });
            ask(Method::POST, format!("{}/bookings", salon.path), format!("book {round} {n}"), body)
        })
        .collect();
    let standing: Vec<&String> = book.iter().filter_map(|(id, span)| span.map(|_| id)).collect();
    for (n, id) in (0..).zip(standing.iter().rev().step_by(3).take(4)) {
        let path = format!("{}/bookings/{id}", salon.path);
        if n % 2 == 0 {
            let later = json!({ "start": text(day + TimeDelta::hours(15) + TimeDelta::minutes(30 * n)) });
            asked.push(ask(Method::PATCH, path, format!("move {round} {n}"), later));
        } else {
            asked.push(ask(Method::POST, format!("{path}/cancel"), format!("cancel {round} {n}"), json!({})));
        }
    }
    asked
}

/// Asks everything once, on one node after the other.
async fn ask_all(asked: &mut [Asked], apis: &[Client; 2]) {
    for (n, one) in asked.iter_mut().enumerate() {
        one.answer = one.ask(&apis[n % 2]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_keep_their_word_while_servers_crash_and_networks_fail() {
    let cluster = Cluster::start();
    let mut installation = Installation::new(Home::on(cluster.url.clone()).await).await;
    let network = Network::before(&installation.google.root()).await;
    installation.set("SLOTD_GOOGLE__API_BASE_URL", format!("{}/calendar/v3", network.root));
    installation.set("SLOTD_GOOGLE__TOKEN_URL", format!("{}/token", network.root));
    let (one, mut other) = (installation.start().await, Some(installation.start().await));
    let salon = Salon::open(&installation, &one, Vec::new()).await;
    salon.connect(&one).await;
    wait_for("the first sync", || async { salon.is_mirrored(&one.api).await.then_some(()) }).await;

    let (mut book, mut unanswered) = (Book::new(), 0);
    for round in 0..kills(ROUNDS) {
        network.set_bad(true);
        let apis = [one.api.clone(), other.as_ref().unwrap().api.clone()];
        let mut asked = questions(&salon, round, &book);
        tokio::join!(ask_all(&mut asked, &apis), trouble(round, &cluster, &mut other));
        unanswered += asked.iter().filter(|asked| asked.answer.is_none()).count();
        if other.is_none() {
            other = Some(installation.start().await);
        }
        let apis = [one.api.clone(), other.as_ref().unwrap().api.clone()];
        for (n, asked) in asked.iter().enumerate() {
            // Not on the node that was asked first.
            let answer = asked.settle(&apis[(n + 1) % 2]).await;
            assert!(matches!(answer.status, 200 | 201), "{}: {:?}", asked.key, answer.json());
            let booking = answer.json();
            let stands = booking["status"] == "confirmed";
            book.insert(booking["id"].as_str().unwrap().to_owned(), stands.then(|| span(&booking)));
        }
        network.set_bad(false);
    }
    assert!(unanswered > 0, "no trouble came between a question and its answer");
    assert!(network.cuts() > 0, "no connection to Google was cut");

    let raw = installation.home.raw(1).await;
    let owed = || async { (raw.count("SELECT COUNT(*) FROM outbox").await == 0).then_some(()) };
    wait_for("nothing is owed to Google", owed).await;
    let bookings = salon.bookings(&one.api).await;
    let stored: Book = bookings
        .iter()
        .map(|booking| {
            let stands = booking["status"] == "confirmed";
            (booking["id"].as_str().unwrap().to_owned(), stands.then(|| span(booking)))
        })
        .collect();
    assert_eq!(stored, book, "what was acknowledged is stored, and nothing else");
    let mut spans: Vec<Span> = stored.values().flatten().copied().collect();
    spans.sort();
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "{spans:?}");
    let standing = bookings.iter().filter(|booking| booking["status"] == "confirmed");
    let owed: BTreeMap<String, Span> =
        standing.map(|booking| (booking["event_id"].as_str().unwrap().to_owned(), span(booking))).collect();
    let events = google_events(&installation.google_client()).await;
    let live = events.iter().filter(|event| event["status"] != "cancelled");
    let live: BTreeMap<String, Span> =
        live.map(|event| (event["id"].as_str().unwrap().to_owned(), span(event))).collect();
    assert_eq!(live, owed, "one event for each booking that stands");
    // The stand-in refuses an id that it has seen, so no more events than bookings means: each was inserted once.
    assert!(events.len() <= bookings.len(), "{} events of {} bookings", events.len(), bookings.len());
    for mut daemon in [one, other.unwrap()] {
        assert!(!daemon.is_dead() && !daemon.has_panicked());
    }
}
