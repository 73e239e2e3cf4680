use axum::{
    Extension, Router,
    routing::{get, post},
};
use chrono::TimeZone;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::domain::{BookingId, BusinessId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Booking {
    start: Rfc3339,
    customer: Customer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Customer {
    name: String,
    tags: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    start: Rfc3339,
    limit: Option<u8>,
}

#[derive(Deserialize)]
struct Ids {
    business_id: BusinessId,
    id: BookingId,
}

fn router() -> Router {
    Router::new()
        .route(
            "/bookings",
            post(|Json(booking): Json<Booking>| async move {
                format!("{} {:?} {}", booking.customer.name, booking.customer.tags, booking.start.0)
            }),
        )
        .route("/busy", get(|Query(range): Query<Range>| async move { format!("{} {:?}", range.start.0, range.limit) }))
        .route("/one/{id}", get(|Path(id): Path<BookingId>| async move { id.to_string() }))
        .route(
            "/two/{business_id}/{id}",
            get(|Path(ids): Path<Ids>| async move { format!("{} {}", ids.business_id, ids.id) }),
        )
        .route(
            "/three/{business_id}/{id}",
            get(|Path((_, id)): Path<(BusinessId, BookingId)>| async move { id.to_string() }),
        )
        .layer(Extension(BodyLimit(1_000)))
}

async fn answer(request: Request) -> (u16, Value) {
    let mut response = router().oneshot(request).await.unwrap();
    let body = response.body_mut().collect().await.unwrap().to_bytes();
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

async fn post_json(body: impl Into<Body>) -> (u16, Value) {
    answer(
        Request::post("/bookings").header("content-type", "application/json; charset=utf-8").body(body.into()).unwrap(),
    )
    .await
}

async fn get_from(path: &str) -> (u16, Value) {
    answer(Request::get(path).body(Body::empty()).unwrap()).await
}

fn good() -> Value {
    json!({ "start": "2026-11-24T14:30:00+01:00", "customer": { "name": "Ann", "tags": [1] } })
}

#[tokio::test]
async fn a_good_body_is_read() {
    assert_eq!(post_json(good().to_string()).await, (200, json!("Ann [1] 2026-11-24 13:30:00 UTC")));
}

#[tokio::test]
async fn a_bad_body_is_refused_with_the_field_named() {
    let changed = |change: fn(&mut Value)| {
        let mut body = good();
        change(&mut body);
        body
    };
    let cases = [
        (changed(|body| body["customer"]["tags"][0] = json!(900)), "/customer/tags/0", "invalid value: integer `900`"),
        (changed(|body| body["customer"]["name"] = json!(1)), "/customer/name", "invalid type: integer `1`"),
        (
            changed(|body| drop(body["customer"].as_object_mut().unwrap().remove("name"))),
            "/customer/name",
            "missing field",
        ),
        (changed(|body| body["customer"]["nmae"] = json!("Ann")), "/customer/nmae", "unknown field `nmae`"),
        (changed(|body| body["start"] = json!("2026-11-24T14:30:00")), "/start", "add the offset, for example"),
        (changed(|body| body["start"] = json!(7)), "/start", "invalid type: integer `7`"),
        (json!([]), "", "invalid length 0"),
    ];
    for (body, field, detail) in cases {
        let (status, problem) = post_json(body.to_string()).await;
        assert_eq!(
            (status, &problem["field"], &problem["type"]),
            (400, &json!(field), &json!("/problems/invalid")),
            "{problem}"
        );
        let said = problem["detail"].as_str().unwrap();
        assert!(said.starts_with(detail) && !said.contains("at line"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    for body in ["", "{", "{\"start\":}", "nonsense", "\u{0}", &format!("{} x", good())] {
        let (status, problem) = post_json(body.to_owned()).await;
        assert_eq!((status, problem["type"].as_str()), (400, Some("/problems/malformed")), "{body}: {problem}");
    }
}

#[tokio::test]
async fn deep_nesting_does_not_hurt() {
    let (status, _) = post_json("[".repeat(900)).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post("/bookings").header("content-type", kind).body(good().to_string().into()).unwrap();
        assert_eq!(answer(request).await.0, 415, "{kind}");
    }
}

#[tokio::test]
async fn a_large_body_is_refused_declared_or_not() {
    let large = || "x".repeat(1 << 20);
    let (status, problem) = post_json(large()).await;
    assert_eq!((status, &problem["detail"]), (413, &json!("a body may have at most 1000 bytes")));
    let chunks = (0..64).map(|_| Ok::<_, std::io::Error>("y".repeat(1 << 14)));
    assert_eq!(post_json(Body::from_stream(futures_util::stream::iter(chunks))).await.0, 413);
    assert_eq!(post_json("x".repeat(1_001)).await.0, 413);
    assert_eq!(post_json("x".repeat(1_000)).await.0, 400, "just within the limit");
}

#[tokio::test]
async fn a_query_is_read_also_with_a_bare_plus() {
    for start in ["2026-11-24T14:30:00+01:00", "2026-11-24T14:30:00%2B01:00", "2026-11-24T13:30:00Z"] {
        assert_eq!(get_from(&format!("/busy?start={start}")).await, (200, json!("2026-11-24 13:30:00 UTC None")));
    }
}

#[tokio::test]
async fn a_bad_query_is_refused_with_the_parameter_named() {
    let cases = [
        ("/busy", "start", "missing field `start`"),
        ("/busy?start=2026-11-24T14:30:00", "start", "add the offset, for example 2026-11-24T14:30:00+01:00"),
        ("/busy?start=tomorrow", "start", "expected an RFC 3339 time"),
        ("/busy?start=2026-11-24T13:30:00Z&limit=1000", "limit", "number too large"),
        ("/busy?start=2026-11-24T13:30:00Z&limti=1", "limti", "unknown field `limti`"),
        ("/busy?start=2026-11-24T13:30:00Z&start=2026-11-24T13:30:00Z", "start", "duplicate field"),
    ];
    for (path, field, detail) in cases {
        let (status, problem) = get_from(path).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_bad_id_in_the_path_is_refused_with_the_parameter_named() {
    let id = "0192f5f4-7c1e-7000-8000-000000000000";
    assert_eq!(get_from(&format!("/one/{id}")).await, (200, json!(id)));
    assert_eq!(get_from(&format!("/two/{id}/{id}")).await, (200, json!(format!("{id} {id}"))));
    for (path, field) in [
        ("/one/lunch".to_owned(), "id"),
        (format!("/two/{id}/lunch"), "id"),
        (format!("/two/lunch/{id}"), "business_id"),
        (format!("/three/{id}/lunch"), "id"),
    ] {
        let (status, problem) = get_from(&path).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("`lunch` is not the id of a"), "{path}: {problem}");
    }
}

#[test]
fn times_need_an_offset() {
    let noon = Utc.with_ymd_and_hms(2026, 11, 24, 12, 0, 0).unwrap();
    for text in
        ["2026-11-24T12:00:00Z", "2026-11-24T13:00:00+01:00", "2026-11-24T13:00:00 01:00", "2026-11-24t12:00:00z"]
    {
        assert_eq!(text.parse(), Ok(Rfc3339(noon)), "{text}");
    }
    for text in ["2026-11-24T12:00:00", "2026-11-24T12:00", "2026-11-24 12:00", "2026-11-24 12:00:00.5"] {
        let refused = text.parse::<Rfc3339>().unwrap_err();
        assert_eq!(refused, "add the offset, for example 2026-11-24T14:30:00+01:00", "{text}");
    }
    for text in ["", "noon", "2026-11-24", "2026-02-30T12:00:00Z", "2026-11-24T25:00:00Z", "T ", " T", "é T é"] {
        assert!(text.parse::<Rfc3339>().unwrap_err().starts_with("expected an RFC 3339 time"), "{text}");
    }
}
