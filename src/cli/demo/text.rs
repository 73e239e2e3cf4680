//! What the demo says: for scripts one line of JSON, for people a tour.

use std::path::Path;

use chrono::{Days, SecondsFormat, TimeDelta};
use hyper::Method;
use serde_json::{Value, json};

use super::{Place, salon, setup::Business};
use crate::{
    cli::client::Client,
    domain::{
        clock::{Clock, SystemClock},
        zone::day_start,
    },
};

/// Where everything is.
pub(super) struct Facts {
    pub(super) api: String,
    pub(super) metrics: String,
    pub(super) sandbox: String,
    pub(super) key: String,
    pub(super) google_token: String,
    pub(super) business: Business,
}

impl Facts {
    /// One line for scripts.
    pub(super) fn json(&self, places: &[Place]) -> Value {
        let calendars: Vec<Value> = places
            .iter()
            .zip(&self.business.resources)
            .map(|(place, resource)| {
                let mut one = json!({ "id": place.id, "resource": resource, "time_zone": place.time_zone });
                if let Some(file) = &place.file {
                    one["file"] = json!(file);
                }
                one
            })
            .collect();
        json!({
            "api": self.api,
            // There is no owner portal in this version.
            "portal": null,
            "sandbox": self.sandbox,
            "metrics": self.metrics,
            "api_key": self.key,
            "business_id": self.business.id,
            "calendars": calendars,
            "google_token": self.google_token,
        })
    }

    /// A tour for people, with lines to copy that work as printed.
    pub(super) async fn tour(&self, client: &Client, places: &[Place], folder: &Path) -> anyhow::Result<String> {
        let Business { id, resources, mirrored_events } = &self.business;
        let today = SystemClock.now().with_timezone(&salon::ZONE).date_naive();
        let (from, to) = (day_start(today + Days::new(1), salon::ZONE), day_start(today + Days::new(2), salon::ZONE));
        let show = |at: chrono::DateTime<chrono::Utc>| {
            at.with_timezone(&salon::ZONE).to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let (from_text, to_text, later) = (show(from), show(to), show(to + TimeDelta::days(12)));
        let encoded = |text: &str| text.replace('+', "%2B");
        let path = format!(
            "/businesses/{id}/slots?service=Haircut&limit=1&from={}&to={}",
            encoded(&from_text),
            encoded(&later)
        );
        let found = client.call(Method::GET, &path, None).await?;
        // Should the next two weeks be full, the lines still show how to ask.
        let slot = found["slots"][0]["start"].as_str().map_or_else(|| show(from + TimeDelta::hours(10)), str::to_owned);
        // Whoever is free then is booked, so that calendar is the one to show.
        let free = found["slots"][0]["resource"].as_str();
        let index = resources.iter().position(|resource| Some(resource.as_str()) == free).unwrap_or_default();
        let shown = places.get(index).map(|place| place.id.as_str()).unwrap_or_default();
        let week = serde_urlencoded::to_string([("calendar", shown), ("week", &slot[..10])])?;
        let (api, key, sandbox, metrics) = (&self.api, &self.key, &self.sandbox, &self.metrics);
        let folder = folder.display();
        let count = resources.len();
        Ok(format!(
            r#"
slotd is up: {name}, {count} calendars, {mirrored_events} events mirrored from the stand-in for Google.

  API              {api}
  API key          {key}
  business         {id}
  Google's side    {sandbox}/page/     (create, move and delete events as the owner would)
  metrics          {metrics}
  data             {folder}

Copy this first, then any of the lines below:

  export API={api}/api/v1/businesses/{id} KEY={key}

Is it free?

  curl -sG -H "Authorization: Bearer $KEY" $API/availability --data-urlencode start={slot} -d service=Haircut

What is free tomorrow?

  curl -sG -H "Authorization: Bearer $KEY" $API/slots --data-urlencode from={from_text} --data-urlencode to={to_text} -d service=Haircut -d limit=5

Book it (run it twice: the second answer is the first one again, not a second booking):

  curl -s -H "Authorization: Bearer $KEY" -H "Idempotency-Key: demo-1" -H "Content-Type: application/json" $API/bookings -d '{{"start":"{slot}","service":"Haircut","customer":{{"name":"Ada Lovelace","phone":"030 1234567"}},"notes":"First visit"}}'

See it in the calendar: open {sandbox}/page/#{week}, or

  curl -s -H "Authorization: Bearer $KEY" "$API/bookings?limit=5"

Stop with Ctrl-C."#,
            name = salon::NAME,
        ))
    }
}
