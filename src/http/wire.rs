//! Times, slots and freshness as every answer tells them.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Problem;
use crate::{
    availability::{Alternative, Kind, Language, Reason, Slot, UnknownLanguage, Voice, is_ambiguous, spoken},
    booking::{BookingError, Freshness, HOLDS_OF_CALL_MAX, Refusal, Standing, What},
    domain::{Interval, ResourceId},
};

/// RFC 3339 with the offset of `zone`, whole seconds where that is exact.
pub(super) fn local(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// A time that can be booked.
#[derive(Debug, Serialize)]
pub(super) struct SlotBody {
    start: String,
    end: String,
    resource: ResourceId,
    /// All that is taken then, the lead first; absent where one resource is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<ResourceId>,
    /// How to say it on the phone.
    spoken: String,
    /// The clock shows this time twice; `spoken` says which of both is meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ambiguous: bool,
}

impl SlotBody {
    pub(super) fn new(slot: &Slot, voice: Voice, now: DateTime<Utc>) -> Self {
        let all = std::iter::once(slot.resource).chain(slot.besides.resources());
        Self {
            resources: if slot.besides.is_empty() { Vec::new() } else { all.collect() },
            start: local(slot.interval.start(), voice.zone),
            end: local(slot.interval.end(), voice.zone),
            resource: slot.resource,
            spoken: spoken(slot.interval.start(), voice, now),
            ambiguous: is_ambiguous(slot.interval.start(), voice.zone),
        }
    }
}

/// What could be booked instead.
#[derive(Debug, Serialize)]
pub(super) struct AlternativeBody {
    kind: Kind,
    #[serde(flatten)]
    slot: SlotBody,
}

impl AlternativeBody {
    pub(super) fn new(alternative: &Alternative, voice: Voice, now: DateTime<Utc>) -> Self {
        Self { kind: alternative.kind, slot: SlotBody::new(&alternative.slot, voice, now) }
    }
}

/// The language that a request wants times to be said in. `field` is how the request calls it.
pub(super) fn language(field: &'static str, tag: Option<&str>) -> Result<Option<Language>, Problem> {
    let unknown = |unknown: UnknownLanguage| Problem::invalid(field, unknown.to_string());
    tag.map(|tag| tag.parse().map_err(unknown)).transpose()
}

/// Parameters of requests with a body whose answer tells a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    language: Option<String>,
}

/// How an answer is to be said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saying(Option<Language>);

impl Said {
    /// Reads the language.
    pub(super) fn read(&self) -> Result<Saying, Problem> {
        language("language", self.language.as_deref()).map(Saying)
    }
}

impl Saying {
    pub(super) const fn new(language: Option<Language>) -> Self {
        Self(language)
    }

    /// The language when one was asked for.
    pub(super) const fn language(self) -> Option<Language> {
        self.0
    }

    /// The name of an operation for its idempotency key: in another language it is another request.
    pub(super) fn operation(self, name: &str) -> String {
        self.0.map_or_else(|| name.to_owned(), |language| format!("{name} in {language}"))
    }

    /// An error of a request with a body: fields as the body calls them, times in the wanted language.
    pub(super) fn refuse(self, error: BookingError) -> Problem {
        match error {
            BookingError::Invalid { field, detail } => Problem::invalid(format!("/{field}"), detail),
            BookingError::Refused(mut refusal) => {
                refusal.voice = refusal.voice.speaking(self.0);
                BookingError::Refused(refusal).into()
            }
            other => other.into(),
        }
    }
}

/// How far an answer can be believed.
#[derive(Debug, Serialize)]
pub(super) struct StandingBody {
    /// The start of the oldest last look at Google that matters; null before the first.
    as_of: Option<String>,
    freshness: Freshness,
    /// The time that the mirror covers; null when no calendar blocks.
    coverage: Option<Coverage>,
}

#[derive(Debug, Serialize)]
struct Coverage {
    from: String,
    to: String,
}

impl StandingBody {
    pub(super) fn new(standing: &Standing, zone: Tz) -> Self {
        Self {
            as_of: standing.as_of.map(|at| local(at, zone)),
            freshness: standing.freshness,
            coverage: standing
                .coverage
                .map(|interval| Coverage { from: local(interval.start(), zone), to: local(interval.end(), zone) }),
        }
    }
}

/// The range between two times, neither empty nor longer than `days_max`.
pub(super) fn range(from: DateTime<Utc>, to: DateTime<Utc>, days_max: i64) -> Result<Interval, Problem> {
    let interval = Interval::new(from, to).ok_or_else(|| Problem::invalid("to", "it must be after `from`"))?;
    if interval.duration() > chrono::TimeDelta::days(days_max) {
        return Err(Problem::invalid("to", format!("at most {days_max} days after `from`; ask in several parts")));
    }
    Ok(interval)
}

/// The longest bare duration that can be booked, in minutes.
const DURATION_MAX_MIN: i64 = 24 * 60;

/// What is wanted: a service or a bare duration, not both. `field` is how the request calls the duration.
pub(super) fn what(
    service: Option<String>,
    duration_min: Option<i64>,
    field: &'static str,
) -> Result<Option<What>, Problem> {
    match (service, duration_min) {
        (Some(_), Some(_)) => Err(Problem::invalid(field, "give `service` or `duration_min`, not both")),
        (Some(service), None) => Ok(Some(What::Service(service))),
        (None, Some(minutes)) if (1..=DURATION_MAX_MIN).contains(&minutes) => {
            Ok(Some(What::Lasting(chrono::TimeDelta::minutes(minutes))))
        }
        (None, Some(_)) => Err(Problem::invalid(field, format!("1 to {DURATION_MAX_MIN} minutes are expected"))),
        (None, None) => Ok(None),
    }
}

/// What was asked for lacks both ways to say how long.
pub(super) fn no_length(field: &'static str) -> Problem {
    Problem::invalid(field, "give `service` (id or name) or `duration_min`")
}

impl From<BookingError> for Problem {
    fn from(error: BookingError) -> Self {
        match error {
            BookingError::Unknown(what) => Self::not_found(what),
            BookingError::Invalid { field, detail } => Self::invalid(field, detail),
            BookingError::Refused(refusal) => refused(&refusal),
            BookingError::TooManyHolds => Self::conflict(
                "too_many_holds",
                format!("a call holds at most {HOLDS_OF_CALL_MAX} slots: give one back, or swap it"),
            ),
            BookingError::State(refused) => Self::conflict("state", refused.to_string()),
            BookingError::KeyReused => Self::idempotency_key_reused(),
            BookingError::TooManyTries { retry_after } => {
                let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                Self::too_many_requests(seconds).because("tries")
            }
            BookingError::Store(error) => error.into(),
        }
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let told = |one| AlternativeBody::new(one, refusal.voice, refusal.now);
    let alternatives: Vec<AlternativeBody> = refusal.alternatives.iter().map(told).collect();
    let alternatives = serde_json::to_value(alternatives).unwrap_or_default();
    let standing = serde_json::to_value(StandingBody::new(&refusal.standing, refusal.voice.zone)).unwrap_or_default();
    Problem::slot_taken(refusal.reason.as_str(), sentence(refusal.reason), alternatives, standing)
}

/// Why a time cannot be had, in words.
pub(super) const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::Busy => "this time is taken",
        Reason::Closed => "this time is outside the opening hours",
        Reason::Buffer => "this time is too close to another booking or event",
        Reason::Notice => "this time is too soon for this service",
        Reason::Cap => "this service is fully booked for that day",
        Reason::Past => "this time has passed",
        Reason::Horizon => "this time is further ahead than this service is booked",
        Reason::OutsideCoverage => "the calendar is not known for that time",
        Reason::Stale => "the calendar could not be checked in time",
    }
}

impl From<crate::store::Error> for Problem {
    fn from(error: crate::store::Error) -> Self {
        match error {
            crate::store::Error::NoBusiness => Self::not_found("business"),
            crate::store::Error::Contended => Self::unavailable(1, "too much happened at once; nothing was changed"),
            lost @ crate::store::Error::Unreachable(_) => Self::unreachable(lost),
            other => Self::internal(other),
        }
    }
}
