//! Dates on which a business, or somebody of it, is not open as in other weeks: holidays, short days, long evenings.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{created, text};
use crate::{
    auth::Caller,
    availability::{DateOverride, DayHours},
    domain::{BusinessId, OverrideId, ResourceId},
    http::{Api, Json, Path, Problem, Query},
    store::{self, Lane, Tx, api_keys::Scope, overrides::Override, resources::Resource},
};

/// Most overrides of one business, those of its resources among them.
const OVERRIDES_MAX: usize = 2_000;
/// Most dates of one override.
const DATES_MAX: u64 = 366;
const LABEL_MAX: usize = 100;
/// Dates outside are mistyped.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2199;

/// A date that a client sent: `YYYY-MM-DD`, of this or the next century.
#[derive(Debug, Clone, Copy)]
struct Date(NaiveDate);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use chrono::Datelike;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let date = (text.len() == 10).then(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()).flatten();
        let date =
            date.ok_or_else(|| D::Error::custom("expected a date that exists, as YYYY-MM-DD, without a time"))?;
        if !YEARS.contains(&date.year()) {
            return Err(D::Error::custom(format!("expected a date of {} to {}", YEARS.start(), YEARS.end())));
        }
        Ok(Self(date))
    }
}

/// Body of `POST overrides`, and of `PUT overrides/{id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OverrideInput {
    from: Date,
    to: Option<Date>,
    /// Its id or name; everybody of the business when absent.
    resource: Option<String>,
    /// None at all when closed.
    hours: DayHours,
    label: Option<String>,
}

/// An override as answers tell it.
#[derive(Debug, Serialize)]
pub(in crate::http) struct OverrideBody {
    id: OverrideId,
    from: NaiveDate,
    to: NaiveDate,
    /// Everybody of the business when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<ResourceId>,
    hours: DayHours,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

impl From<Override> for OverrideBody {
    fn from(row: Override) -> Self {
        let DateOverride { first, last, hours, label } = row.dates;
        Self { id: row.id, from: first, to: last, resource: row.resource, hours, label }
    }
}

impl OverrideInput {
    fn dates(&mut self) -> Result<DateOverride, Problem> {
        let Date(first) = self.from;
        let Date(last) = self.to.unwrap_or(self.from);
        if last < first {
            return Err(Problem::invalid(
                "/to",
                "a date not before `from` is expected; leave it out for a single date",
            ));
        }
        if first.checked_add_days(Days::new(DATES_MAX)).is_some_and(|end| end <= last) {
            return Err(Problem::invalid(
                "/to",
                format!("at most {DATES_MAX} dates are expected; add another override"),
            ));
        }
        let label = text("/label", self.label.take(), LABEL_MAX)?;
        Ok(DateOverride { first, last, hours: std::mem::take(&mut self.hours), label })
    }
}

/// Adds dates that are not like the week.
pub(in crate::http) async fn create_override(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Json(body): Json<OverrideInput>,
) -> Result<Response, Problem> {
    caller.at(business, Scope::Owner)?;
    let id = OverrideId::new(api.chance.uuid(api.clock.now()));
    Ok(created(OverrideBody::from(save(&api, business, id, body, true).await?)))
}

/// Replaces dates that are not like the week.
pub(in crate::http) async fn put_override(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, OverrideId)>,
    Json(body): Json<OverrideInput>,
) -> Result<Json<OverrideBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    Ok(Json(save(&api, business, id, body, false).await?.into()))
}

async fn save(
    api: &Api,
    business: BusinessId,
    id: OverrideId,
    mut body: OverrideInput,
    new: bool,
) -> Result<Override, Problem> {
    let (dates, now) = (body.dates()?, api.clock.now());
    let save = store::work::<Override, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            let resource = match &body.resource {
                Some(text) => Some(resource(tx, business, "/resource", text).await?),
                None => None,
            };
            // After it nobody else adds dates, so that what does not meet now never does.
            tx.lock_overrides(business).await?;
            let known = tx.overrides(business, NaiveDate::default()).await?;
            let met = known.iter().find(|one| one.id != id && one.resource == resource && one.dates.meets(&dates));
            if let Some(met) = met {
                let (first, last) = (met.dates.first, met.dates.last);
                let detail = format!("the override {} is already about {first} to {last}: change or delete it", met.id);
                return Err(Problem::conflict("override", detail));
            }
            let row = Override { business, id, resource, dates, created_at: now };
            if !new {
                return if tx.update_override(&row).await? { Ok(row) } else { Err(Problem::not_found("override")) };
            }
            if known.len() >= OVERRIDES_MAX {
                let detail = format!("a business has at most {OVERRIDES_MAX} overrides; delete those that are over");
                return Err(Problem::conflict("limit", detail));
            }
            tx.insert_override(&row).await?;
            Ok(row)
        })
    });
    api.store.write(Lane::Caller, save).await
}

async fn resource(tx: &mut Tx, business: BusinessId, field: &str, text: &str) -> Result<ResourceId, Problem> {
    let known = tx.resources(business).await?;
    let found = Resource::find(&known, text).map(|resource| resource.id);
    found.ok_or_else(|| Problem::invalid(field, "there is no such resource"))
}

/// Removes dates: they are like the week again. Doing so twice is harmless.
pub(in crate::http) async fn delete_override(
    State(api): State<Api>,
    caller: Caller,
    Path((business, id)): Path<(BusinessId, OverrideId)>,
) -> Result<StatusCode, Problem> {
    caller.at(business, Scope::Owner)?;
    let delete = store::work::<(), Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            Ok(tx.delete_override(business, id).await?)
        })
    });
    api.store.write(Lane::Caller, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Parameters of `GET overrides`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct OverridesQuery {
    /// Those that end on this date or later.
    from: Option<Date>,
    /// Those that begin on this date or before.
    to: Option<Date>,
    /// Those of one resource alone, by its id or name.
    resource: Option<String>,
}

/// Dates that are not like the week.
#[derive(Debug, Serialize)]
pub(in crate::http) struct OverridesBody {
    overrides: Vec<OverrideBody>,
}

/// Lists dates that are not like the week, by their first.
pub(in crate::http) async fn overrides(
    State(api): State<Api>,
    caller: Caller,
    Path(business): Path<BusinessId>,
    Query(query): Query<OverridesQuery>,
) -> Result<Json<OverridesBody>, Problem> {
    caller.at(business, Scope::Receptionist)?;
    if let (Some(Date(from)), Some(Date(to))) = (query.from, query.to)
        && to < from
    {
        return Err(Problem::invalid("to", "a date not before `from` is expected"));
    }
    let list = store::work::<Vec<Override>, Problem, _>(move |tx| {
        Box::pin(async move {
            tx.business(business).await?.ok_or_else(|| Problem::not_found("business"))?;
            let wanted = match &query.resource {
                Some(text) => Some(resource(tx, business, "resource", text).await?),
                None => None,
            };
            let since = query.from.map_or(NaiveDate::default(), |Date(from)| from);
            let mut found = tx.overrides(business, since).await?;
            found.retain(|one| {
                query.to.is_none_or(|Date(to)| one.dates.first <= to) && (wanted.is_none() || one.resource == wanted)
            });
            Ok(found)
        })
    });
    let found = api.store.read(list).await?;
    Ok(Json(OverridesBody { overrides: found.into_iter().map(Into::into).collect() }))
}
