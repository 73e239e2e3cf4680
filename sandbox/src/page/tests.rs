use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Bytes, body::Incoming};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

use super::FILES;
use crate::{NewCalendar, Options, Sandbox};

/// How long an announcement may take.
const DEADLINE: Duration = Duration::from_secs(5);

async fn sandbox() -> (Sandbox, String) {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    sandbox.add_user("olga@example.com", "Olga </script><b>");
    let salon =
        NewCalendar { summary: "Salon".to_owned(), time_zone: "Europe/Berlin".to_owned(), ..NewCalendar::default() };
    let id = sandbox.add_calendar("olga@example.com", salon).unwrap();
    (sandbox, id)
}

async fn call(sandbox: &Sandbox, method: Method, path: &str, token: &str, body: &str) -> Response<Incoming> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", sandbox.root()))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn accounts(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"id="accounts">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[tokio::test]
async fn the_page_carries_a_token_with_which_the_owner_may_write() {
    let (sandbox, calendar) = sandbox().await;
    let page = text(call(&sandbox, Method::GET, "/page/", "", "").await).await;
    let accounts = accounts(&page);
    assert_eq!(accounts[0]["name"], "Olga </script><b>");
    assert!(accounts[0]["calendars"].as_array().unwrap().iter().any(|one| one["id"] == calendar.as_str()));

    let event = json!({ "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-05" } }).to_string();
    let path = format!("/calendar/v3/calendars/{calendar}/events");
    let token = accounts[0]["token"].as_str().unwrap();
    assert_eq!(call(&sandbox, Method::POST, &path, token, &event).await.status(), 200);
    sandbox.stop().await;
}

#[tokio::test]
async fn every_file_that_the_page_needs_is_served() {
    let (sandbox, _) = sandbox().await;
    let sources: String = FILES.iter().map(|(.., content)| *content).chain([super::PAGE]).collect();
    for (name, kind, content) in FILES {
        assert!(sources.contains(&format!("/{name}\"")), "nothing uses {name}");
        let response = call(&sandbox, Method::GET, &format!("/page/{name}"), "", "").await;
        assert_eq!(response.headers()["content-type"], *kind, "{name}");
        assert_eq!(text(response).await, *content, "{name}");
    }
    for import in sources.split("from \"./").skip(1) {
        let name = import.split('"').next().unwrap();
        assert!(FILES.iter().any(|(known, ..)| *known == name), "{name} is imported but not served");
    }
    assert_eq!(call(&sandbox, Method::GET, "/page/nothing.js", "", "").await.status(), 404);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_write_is_announced_with_its_calendar() {
    let (sandbox, calendar) = sandbox().await;
    let mut changes = call(&sandbox, Method::GET, "/page/changes", "", "").await.into_body();
    let token = sandbox.bearer_token("olga@example.com");
    let event = json!({ "start": { "date": "2027-01-04" }, "end": { "date": "2027-01-05" } }).to_string();
    let path = format!("/calendar/v3/calendars/{calendar}/events");
    assert_eq!(call(&sandbox, Method::POST, &path, &token, &event).await.status(), 200);

    let frame = tokio::time::timeout(DEADLINE, changes.frame()).await.unwrap().unwrap().unwrap();
    let line = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    let data: Value = serde_json::from_str(line.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data, json!({ "calendar": calendar }));
    sandbox.stop().await;
}
