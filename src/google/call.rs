//! One call of the calendar API: address, headers, deadline, one more try after a 401.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use hyper::{Method, Request, StatusCode, header};
use serde_json::Value;
use tokio::time::{Instant, timeout};
use url::Url;

use super::{
    AccessToken, AccountKey, Error, Google,
    pace::Ask,
    transport::{Answer, Lost},
};

/// Bodies from here on are decoded on a thread of their own, so that a first sync does not hold a booking up.
const LARGE_BODY_BYTES: usize = 64 * 1024;

/// What is asked of Google.
pub(super) struct Call<'a> {
    /// One of [`METHODS`](super::METHODS).
    pub(super) name: &'static str,
    pub(super) verb: Method,
    /// Path below the base URL, one entry per segment, not encoded.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) if_match: Option<&'a str>,
    pub(super) body: Option<&'a Value>,
}

impl<'a> Call<'a> {
    pub(super) const fn new(name: &'static str, verb: Method, path: &'a [&'a str]) -> Self {
        Self { name, verb, path, query: &[], if_match: None, body: None }
    }

    fn is_write(&self) -> bool {
        self.verb != Method::GET
    }

    /// What Google counts it for.
    fn cost(&self) -> u32 {
        if self.verb == Method::PATCH { 3 } else { 1 }
    }

    /// Whether it makes, changes or deletes an event, and not a channel.
    fn writes_an_event(&self) -> bool {
        matches!(self.name, "events.insert" | "events.patch" | "events.delete")
    }

    fn url(&self, base: &Url) -> Result<Url, Error> {
        let mut url = base.clone();
        // The URL standard drops such segments even when they are encoded: the call would go somewhere else.
        if self.path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(Error::BadRequest { reason: "unusable id".to_owned() });
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(self.query);
        }
        Ok(url)
    }

    fn request(&self, base: &Url, token: &AccessToken) -> Result<Request<String>, Error> {
        let unusable = |what: &str| Error::BadRequest { reason: format!("unusable {what}") };
        let url = self.url(base)?;
        let bearer = bearer(token).ok_or_else(|| unusable("access token"))?;
        let mut request = Request::builder().method(&self.verb).uri(url.as_str()).header(header::AUTHORIZATION, bearer);
        if let Some(etag) = self.if_match {
            let etag = header::HeaderValue::try_from(etag).map_err(|_| unusable("etag"))?;
            request = request.header(header::IF_MATCH, etag);
        }
        let body = self.body.map(Value::to_string);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json; charset=UTF-8");
        }
        request.body(body.unwrap_or_default()).map_err(|_| unusable("address"))
    }
}

impl Google {
    /// Makes a call and decodes the body of its success.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        account: AccountKey,
        call: Call<'_>,
        decode: impl FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let ask = self.ask(account, &call);
        let began = self.admit(ask).await?;
        let started = Instant::now();
        let sent = AtomicBool::new(false);
        let outcome = match timeout(self.transport.limits().request, self.answer(ask, &call, &sent)).await {
            Ok(Ok(answer)) => decoded(answer.body, decode).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::lost(Lost::Late, call.is_write() && sent.load(Ordering::Relaxed))),
        };
        let outcome = match outcome {
            Err(error) if self.tells_guests && call.writes_an_event() => Err(error.of_telling_guests()),
            outcome => outcome,
        };
        let label = outcome.as_ref().map_or_else(Error::outcome_label, |_| "ok");
        self.transport.note(call.name, label, started);
        let (Some(pacer), Some(began)) = (&self.pacer, began) else { return outcome };
        outcome.map_err(|error| pacer.refused(&ask, began, error)).inspect(|_| pacer.eased(&ask, began))
    }

    fn ask(&self, account: AccountKey, call: &Call<'_>) -> Ask {
        let (urgency, patience) = (self.urgency, self.patience);
        Ask { account, urgency, calls: call.cost(), writes: call.writes_an_event(), patience }
    }

    /// Waits for the call's turn. Returns when it came, if anybody keeps turns.
    async fn admit(&self, ask: Ask) -> Result<Option<DateTime<Utc>>, Error> {
        match &self.pacer {
            Some(pacer) => pacer.admit(ask).await.map(Some),
            None => Ok(None),
        }
    }

    async fn answer(&self, ask: Ask, call: &Call<'_>, sent: &AtomicBool) -> Result<Answer, Error> {
        let account = ask.account;
        let token = self.tokens.access_token(account, None).await?;
        let mut answer = self.attempt(call, &token, sent).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            // A 401 is a definite no: nothing was applied so far.
            sent.store(false, Ordering::Relaxed);
            let fresh = self.tokens.access_token(account, Some(&token)).await?;
            self.admit(ask).await?;
            answer = self.attempt(call, &fresh, sent).await?;
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(Error::judge(&answer, call.name == "events.list", call.is_write()))
    }

    async fn attempt(&self, call: &Call<'_>, token: &AccessToken, sent: &AtomicBool) -> Result<Answer, Error> {
        let request = call.request(&self.base, token)?;
        let lost = |lost| Error::lost(lost, call.is_write() && sent.load(Ordering::Relaxed));
        self.transport.exchange(request, sent).await.map_err(lost)
    }
}

async fn decoded<T: Send + 'static>(
    body: Vec<u8>,
    decode: impl FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if body.len() < LARGE_BODY_BYTES {
        return decode(&body);
    }
    let work = tokio::task::spawn_blocking(move || decode(&body));
    work.await.unwrap_or(Err(Error::Malformed("the decoder stopped")))
}

/// The `Authorization` header. `None` for a token that no header can hold.
pub(super) fn bearer(token: &AccessToken) -> Option<header::HeaderValue> {
    let mut value = header::HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Decodes any JSON.
pub(super) fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|_| Error::Malformed("JSON"))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::google::{
        EventPatch, Limits,
        fixture::{ACCOUNT, Canned, Stand, closed_port, google_at, rejections},
    };

    async fn get(stand: &Stand) -> Result<Value, Error> {
        get_within(stand, Limits::default()).await
    }

    async fn get_within(stand: &Stand, limits: Limits) -> Result<Value, Error> {
        let google = google_at(stand.url(), limits);
        google.call(ACCOUNT, Call::new("events.get", Method::GET, &["calendars", "primary"]), json).await
    }

    #[tokio::test]
    async fn ids_are_percent_encoded() {
        let stand = Stand::answering([Canned::json(200, json!({}))]).await;
        let google = google_at(stand.url(), Limits::default());
        let path = ["calendars", "en.german#holiday@group.v.calendar.google.com", "events", "a/b?c%d"];
        let call = Call { query: &[("fields", "items(id),x")], ..Call::new("events.get", Method::GET, &path) };
        google.call(ACCOUNT, call, json).await.unwrap();
        let target = &stand.seen()[0].target;
        let expected = "/calendar/v3/calendars/en.german%23holiday@group.v.calendar.google.com/events/a%2Fb%3Fc%25d\
                        ?fields=items%28id%29%2Cx";
        assert_eq!(target, expected);
    }

    #[tokio::test]
    async fn an_id_that_would_leave_its_place_in_the_path_is_refused() {
        let stand = Stand::answering([Canned::json(200, json!({}))]).await;
        let google = google_at(stand.url(), Limits::default());
        for id in ["", ".", ".."] {
            let call = Call::new("events.get", Method::GET, &["calendars"]);
            let outcome = google.call(ACCOUNT, Call { path: &["calendars", id], ..call }, json).await;
            assert!(matches!(outcome, Err(Error::BadRequest { .. })), "{id:?}: {outcome:?}");
        }
        assert!(stand.seen().is_empty());
    }

    #[tokio::test]
    async fn a_gzip_answer_is_read() {
        let stand = Stand::answering([Canned::gzip(&json!({ "id": "a" })).await]).await;
        assert_eq!(get(&stand).await.unwrap(), json!({ "id": "a" }));
        let headers = &stand.seen()[0].headers;
        assert_eq!(headers["accept-encoding"], "gzip");
        assert!(headers["user-agent"].to_str().unwrap().contains("gzip"));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_read_also_when_it_is_small_on_the_wire() {
        let limits = Limits { body_max_bytes: 10_000, ..Limits::default() };
        let large = json!({ "id": "a".repeat(20_000) });
        let stand = Stand::answering([Canned::json(200, large.clone()), Canned::gzip(&large).await]).await;
        assert_eq!(get_within(&stand, limits).await, Err(Error::TooLarge));
        assert_eq!(get_within(&stand, limits).await, Err(Error::TooLarge));
    }

    #[tokio::test]
    async fn a_large_body_is_decoded_too() {
        let large = json!({ "id": "a".repeat(LARGE_BODY_BYTES) });
        let stand = Stand::answering([Canned::json(200, large.clone())]).await;
        assert_eq!(get(&stand).await, Ok(large));
    }

    #[tokio::test]
    async fn the_deadline_also_holds_for_a_body_that_never_ends() {
        let stand = Stand::answering([Canned::stalling()]).await;
        let limits = Limits { request: Duration::from_millis(200), ..Limits::default() };
        let error = get_within(&stand, limits).await.unwrap_err();
        assert_eq!(error, Error::Unavailable { status: None, retry_after: None, maybe_applied: false });

        let google = google_at(stand.url(), limits);
        let error = google.delete_event(ACCOUNT, "c", "e", None).await.unwrap_err();
        assert!(error.maybe_applied(), "a write that was sent may have been done: {error:?}");
    }

    #[tokio::test]
    async fn a_write_that_never_left_was_not_applied_and_one_that_was_cut_off_may_have_been() {
        let google = google_at(&closed_port().await, Limits::default());
        let error = google.delete_event(ACCOUNT, "c", "e", None).await.unwrap_err();
        assert_eq!(error, Error::Unavailable { status: None, retry_after: None, maybe_applied: false });

        let stand = Stand::answering([Canned::hang_up()]).await;
        let google = google_at(stand.url(), Limits::default());
        let error = google.delete_event(ACCOUNT, "c", "e", None).await.unwrap_err();
        assert_eq!(error, Error::Unavailable { status: None, retry_after: None, maybe_applied: true });
    }

    #[tokio::test]
    async fn after_a_401_one_fresh_token_is_tried_once() {
        let unauthorized = || Canned::json(401, json!({ "error": { "errors": [{ "reason": "authError" }] } }));
        let stand = Stand::answering([unauthorized(), Canned::json(200, json!({}))]).await;
        let (tokens, rejected) = rejections();
        let google = Google { tokens: Arc::new(tokens), ..google_at(stand.url(), Limits::default()) };
        let call = || Call::new("events.get", Method::GET, &["x"]);
        google.call(ACCOUNT, call(), json).await.unwrap();
        assert_eq!(stand.seen()[0].headers["authorization"], "Bearer token0");
        assert_eq!(stand.seen()[1].headers["authorization"], "Bearer token1");
        assert_eq!(*rejected.lock().unwrap(), [None, Some("token0".to_owned())]);

        let stubborn = Stand::answering([unauthorized()]).await;
        let google = google_at(stubborn.url(), Limits::default());
        assert_eq!(google.call(ACCOUNT, call(), json).await, Err(Error::Unauthorized));
        assert_eq!(stubborn.seen().len(), 2, "not tried a third time");
    }

    #[tokio::test]
    async fn broken_json_and_unknown_encodings_are_malformed() {
        let strange = Canned::new(200, Bytes::from_static(b"x")).with("content-encoding", "br");
        let stand = Stand::answering([Canned::new(200, Bytes::from_static(b"{\"id\":")), strange]).await;
        assert_eq!(get(&stand).await, Err(Error::Malformed("JSON")));
        assert_eq!(get(&stand).await, Err(Error::Malformed("content encoding")));
    }

    #[tokio::test]
    async fn nothing_but_a_401_is_tried_again() {
        let stand = Stand::answering([Canned::new(503, Bytes::new())]).await;
        get(&stand).await.unwrap_err();
        assert_eq!(stand.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_patch_carries_null_and_if_match() {
        let stand = Stand::answering([Canned::json(200, json!({ "id": "e" }))]).await;
        let google = google_at(stand.url(), Limits::default());
        let patch = EventPatch(json!({ "description": null }));
        google.patch_event(ACCOUNT, "c", "e", &patch, Some("\"42\"")).await.unwrap();
        let seen = &stand.seen()[0];
        assert_eq!((seen.method.as_str(), seen.headers["if-match"].to_str().unwrap()), ("PATCH", "\"42\""));
        assert_eq!(seen.body, r#"{"description":null}"#);
        let error = google.patch_event(ACCOUNT, "c", "e", &patch, Some("\n")).await.unwrap_err();
        assert!(matches!(error, Error::BadRequest { .. }));
    }

    #[tokio::test]
    async fn the_observer_learns_method_and_outcome() {
        let stand = Stand::answering([Canned::new(503, Bytes::new())]).await;
        let (google, records) = crate::google::fixture::observed(stand.url());
        google.delete_event(ACCOUNT, "c", "e", None).await.unwrap_err();
        let records = records.lock().unwrap();
        assert_eq!(
            records.iter().map(|r| (r.method, r.outcome)).collect::<Vec<_>>(),
            [("events.delete", "unavailable")]
        );
    }
}
