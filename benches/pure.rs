//! Measures the parts that need no processes: judging and offering slots, expanding a series, reading a page of Google's.

use std::{
    convert::Infallible,
    hint::black_box,
    sync::{Arc, LazyLock},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Europe::Berlin;
use divan::Bencher;
use futures_util::future::{BoxFuture, ready};
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use slotd::{
    availability::{Agenda, Rules, Timetable, WeeklyHours, check, slots},
    domain::{
        AccountId, BusinessId, Event, EventKind, EventStatus, EventTime, Interval, ResourceId,
        expand::{Limits, expand_series},
        interval::merge,
    },
    google::{
        self, AccessToken, AccountKey, Endpoints, EventsQuery, Google, TokenError, TokenSource, Transport,
        install_tls_provider,
    },
};
use tokio::net::TcpListener;
use uuid::Uuid;

fn main() {
    divan::main();
}

fn monday() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_392_000, 0).unwrap_or_default()
}

fn between(from: TimeDelta, to: TimeDelta) -> Option<Interval> {
    Interval::new(monday() + from, monday() + to)
}

/// Ten visits of 45 minutes on each day of a year.
static BUSY: LazyLock<Vec<Interval>> = LazyLock::new(|| {
    let visit = |number: i32| {
        let start = TimeDelta::days((number / 10).into()) + TimeDelta::minutes(8 * 60 + 50 * i64::from(number % 10));
        between(start, start + TimeDelta::minutes(45))
    };
    merge((0..3_650).filter_map(visit).collect())
});
static HOURS: LazyLock<WeeklyHours> = LazyLock::new(|| {
    let day = || vec![(9 * 60, 13 * 60), (14 * 60, 18 * 60)];
    WeeklyHours::new([day(), day(), day(), day(), day(), vec![(10 * 60, 16 * 60)], vec![]])
        .unwrap_or_else(|_| WeeklyHours::always())
});

fn agenda() -> Agenda<'static> {
    Agenda {
        resource: ResourceId::new(Uuid::from_u128(1)),
        zone: Berlin,
        hours: Timetable::from(&*HOURS),
        capacity: 1,
        busy: &BUSY,
        claims: &[],
        coverage: between(TimeDelta::days(-35), TimeDelta::days(400)),
        withheld: None,
        capped: &[],
        load: &[],
    }
}

#[divan::bench(name = "is one start free, beside 3,650 busy slots")]
fn check_one(bencher: Bencher) {
    let (agenda, rules) = (agenda(), Rules::lasting(TimeDelta::minutes(30)));
    let start = monday() + TimeDelta::days(100) + TimeDelta::minutes(750);
    bencher.bench(|| check(black_box(&agenda), &rules, black_box(start), monday()));
}

#[divan::bench(name = "all slots of a week, beside 3,650 busy slots")]
fn slots_week(bencher: Bencher) {
    let (agenda, rules) = (agenda(), Rules::lasting(TimeDelta::minutes(30)));
    let week = between(TimeDelta::days(100), TimeDelta::days(107));
    bencher.bench(|| week.map(|week| slots(black_box(&[agenda]), &rules, week, monday(), 500, false)));
}

#[divan::bench(name = "435 days of a daily series that began ten years ago")]
fn expand_old_daily(bencher: Bencher) {
    let at = |minutes| EventTime::At {
        at: monday() - TimeDelta::days(3_650) + TimeDelta::minutes(minutes),
        zone: Some(Berlin),
    };
    let master = Event {
        id: "daily".to_owned(),
        kind: EventKind::Master { recurrence: vec!["RRULE:FREQ=DAILY".to_owned()] },
        status: EventStatus::Confirmed,
        times: Some((at(540), at(585))),
        transparent: false,
        declined: false,
    };
    let window = between(TimeDelta::days(-35), TimeDelta::days(400));
    bencher.bench(|| window.map(|window| expand_series(black_box(&master), &[], Berlin, window, &Limits::default())));
}

struct OneToken;

impl TokenSource for OneToken {
    fn access_token<'a>(
        &'a self,
        _: AccountKey,
        _: Option<&'a AccessToken>,
    ) -> BoxFuture<'a, Result<AccessToken, TokenError>> {
        Box::pin(ready(Ok(AccessToken::new("token"))))
    }
}

/// Serves one page of 2,500 events to whoever asks.
async fn serve_page(listener: TcpListener) -> Result<()> {
    let item = |number: i64| {
        let at = |minutes| {
            json!({
                "dateTime": (monday() + TimeDelta::minutes(60 * number + minutes)).with_timezone(&Berlin).to_rfc3339(),
                "timeZone": "Europe/Berlin",
            })
        };
        json!({
            "id": format!("{number:026}"), "status": "confirmed", "etag": format!("\"{}\"", 3_590_000_000_000_000 + number),
            "updated": "2026-11-20T08:00:00.123Z", "summary": format!("Visit {number}"), "start": at(0), "end": at(45),
            "attendees": [{ "self": true, "responseStatus": "accepted" }, { "responseStatus": "needsAction" }],
        })
    };
    let items: Vec<_> = (0..2_500).map(item).collect();
    let page = json!({ "items": items, "nextSyncToken": "t", "timeZone": "Europe/Berlin", "accessRole": "owner" });
    let page = Bytes::from(page.to_string());
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(Full::new(page.clone())))));
        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await?;
    }
}

async fn google() -> Result<(Google, tokio::task::JoinSet<Result<()>>)> {
    install_tls_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?).parse::<url::Url>()?;
    let mut server = tokio::task::JoinSet::new();
    server.spawn(serve_page(listener));
    let endpoints = Endpoints {
        api_base_url: base.clone(),
        auth_url: base.clone(),
        token_url: base.clone(),
        revoke_url: base.clone(),
        userinfo_url: base,
    };
    let transport = Transport::new(&endpoints, google::Limits::default(), Arc::new(|_| ()))?;
    Ok((Google::new(transport, &endpoints, Arc::new(OneToken)), server))
}

#[divan::bench(name = "fetch over loopback and read a page of 2,500 events", sample_count = 30)]
fn read_page(bencher: Bencher) {
    let account =
        AccountKey { business: BusinessId::new(Uuid::from_u128(1)), account: AccountId::new(Uuid::from_u128(2)) };
    let measured = || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (google, _server) = runtime.block_on(google())?;
        let query = EventsQuery::default();
        let read = || runtime.block_on(google.list_events(account, "c", &query));
        let page = read().context("no page")?;
        anyhow::ensure!(page.items.len() == 2_500, "{} events", page.items.len());
        bencher.bench_local(read);
        Ok(())
    };
    if let Err(error) = measured() {
        panic!("{error:#}");
    }
}
