//! Google's own errors, with everything that belongs to each.

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// An error of Calendar v3 by its reason. Where one reason means several things, the name says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GoogleError {
    /// 400: `timeMax` is not after `timeMin`.
    TimeRangeEmpty,
    /// 400: a value that cannot be used.
    Invalid,
    /// 400 `invalid`: a sync token that is garbage, or of another query.
    InvalidSyncToken,
    /// 400 `invalid`: a page token that is garbage, or of another query.
    InvalidPageToken,
    /// 400 `invalid`: an id that clients may not choose.
    InvalidResourceId,
    /// 400 `invalid`: a write with too low a sequence number.
    InvalidSequence,
    /// 400: a request that makes no sense.
    BadRequest,
    /// 400: something is missing.
    Required,
    /// 400: a query parameter that cannot be read.
    InvalidParameter,
    /// 400: a body that is no JSON.
    ParseError,
    /// 400: the address of a channel is not `https`.
    #[serde(rename = "push.webhookUrlNotHttps")]
    WebhookUrlNotHttps,
    /// 400: the id of a channel has been used.
    ChannelIdNotUnique,
    /// 400: the calendar cannot be watched.
    PushNotSupportedForRequestedResource,
    /// 400: a bad write of a working location.
    MalformedWorkingLocationEvent,
    /// 401: the access token is unknown, has ended, or was revoked.
    AuthError,
    /// 401 `required`: no access token.
    LoginRequired,
    /// 403: the user's quota.
    UserRateLimitExceeded,
    /// 403 or 429: the calendar's, the user's or the project's rate.
    RateLimitExceeded,
    /// 403 or 429 `rateLimitExceeded`, as the front end says it, with details.
    #[serde(rename = "RATE_LIMIT_EXCEEDED")]
    QuotaMetricExceeded,
    /// 403: what Google lets a user do with calendars at all.
    QuotaExceeded,
    /// 403: the project's quota of the day.
    DailyLimitExceeded,
    /// 403: the project's quota of some other term.
    VariableTermLimitExceeded,
    /// 403: shared properties of an event that somebody else organises.
    ForbiddenForNonOrganizer,
    /// 403: a service account that acts for nobody invited people.
    ForbiddenForServiceAccounts,
    /// 403: the grant does not cover the call.
    #[serde(alias = "ACCESS_TOKEN_SCOPE_INSUFFICIENT")]
    InsufficientPermissions,
    /// 403: the API is not switched on in the Cloud project.
    #[serde(alias = "SERVICE_DISABLED")]
    AccessNotConfigured,
    /// 403: not allowed.
    Forbidden,
    /// 403: the user's role in the calendar is too low.
    RequiredAccessLevel,
    /// 404: never existed, or must not be seen.
    NotFound,
    /// 409: the id is in use.
    Duplicate,
    /// 409: a conflict within a batch.
    Conflict,
    /// 410: the sync token has ended.
    FullSyncRequired,
    /// 410: `updatedMin` lies too far back.
    UpdatedMinTooLongAgo,
    /// 410: the event has been deleted.
    Deleted,
    /// 412: the event has changed.
    ConditionNotMet,
    /// 500, 502, 503 or 504: something is wrong at Google.
    BackendError,
}

impl GoogleError {
    /// Every error.
    #[rustfmt::skip]
    pub const ALL: &[Self] = &[
        Self::TimeRangeEmpty, Self::Invalid, Self::InvalidSyncToken, Self::InvalidPageToken, Self::InvalidResourceId,
        Self::InvalidSequence, Self::BadRequest, Self::Required, Self::InvalidParameter, Self::ParseError,
        Self::WebhookUrlNotHttps, Self::ChannelIdNotUnique, Self::PushNotSupportedForRequestedResource,
        Self::MalformedWorkingLocationEvent, Self::AuthError, Self::LoginRequired, Self::UserRateLimitExceeded,
        Self::RateLimitExceeded, Self::QuotaMetricExceeded, Self::QuotaExceeded, Self::DailyLimitExceeded,
        Self::VariableTermLimitExceeded, Self::ForbiddenForNonOrganizer, Self::ForbiddenForServiceAccounts,
        Self::InsufficientPermissions, Self::AccessNotConfigured, Self::Forbidden, Self::RequiredAccessLevel,
        Self::NotFound, Self::Duplicate, Self::Conflict, Self::FullSyncRequired, Self::UpdatedMinTooLongAgo,
        Self::Deleted, Self::ConditionNotMet, Self::BackendError,
    ];

    /// The statuses that Google answers with, the usual one first.
    #[must_use]
    pub fn statuses(self) -> &'static [u16] {
        match self {
            Self::TimeRangeEmpty
            | Self::Invalid
            | Self::InvalidSyncToken
            | Self::InvalidPageToken
            | Self::InvalidResourceId
            | Self::InvalidSequence
            | Self::BadRequest
            | Self::Required
            | Self::InvalidParameter
            | Self::ParseError
            | Self::WebhookUrlNotHttps
            | Self::ChannelIdNotUnique
            | Self::PushNotSupportedForRequestedResource
            | Self::MalformedWorkingLocationEvent => &[400],
            Self::AuthError | Self::LoginRequired => &[401],
            Self::RateLimitExceeded => &[403, 429],
            Self::QuotaMetricExceeded => &[429, 403],
            Self::UserRateLimitExceeded
            | Self::QuotaExceeded
            | Self::DailyLimitExceeded
            | Self::VariableTermLimitExceeded
            | Self::ForbiddenForNonOrganizer
            | Self::ForbiddenForServiceAccounts
            | Self::InsufficientPermissions
            | Self::AccessNotConfigured
            | Self::Forbidden
            | Self::RequiredAccessLevel => &[403],
            Self::NotFound => &[404],
            Self::Duplicate | Self::Conflict => &[409],
            Self::FullSyncRequired | Self::UpdatedMinTooLongAgo | Self::Deleted => &[410],
            Self::ConditionNotMet => &[412],
            Self::BackendError => &[500, 502, 503, 504],
        }
    }

    /// The whole answer to a call of `method`, with the usual status.
    pub(crate) fn refusal(self, method: &'static str) -> Refusal {
        let usual = self.statuses()[0];
        let of = |domain: &'static str, reason: &'static str, message: &'static str| {
            Refusal::new(usual, domain, reason, message)
        };
        match self {
            Self::TimeRangeEmpty => Refusal::time_range_empty(),
            Self::Invalid => Refusal::invalid("Invalid Value"),
            Self::InvalidSyncToken => Refusal::invalid_sync_token(),
            Self::InvalidPageToken => Refusal::invalid_page_token(),
            Self::InvalidResourceId => Refusal::invalid("Invalid resource id value."),
            Self::InvalidSequence => {
                Refusal::invalid("Invalid sequence value. The specified sequence number is below the current.")
            }
            Self::BadRequest => Refusal::bad_request("Bad Request"),
            Self::Required => Refusal::required("Required"),
            Self::InvalidParameter => of("global", "invalidParameter", "Invalid parameter value."),
            Self::ParseError => of("global", "parseError", "Parse Error"),
            Self::WebhookUrlNotHttps => of("global", "push.webhookUrlNotHttps", "WebHook callback must be HTTPS"),
            Self::ChannelIdNotUnique => of("global", "channelIdNotUnique", "Channel id not unique"),
            Self::PushNotSupportedForRequestedResource => {
                let message = "Push notifications are not supported by this resource.";
                of("calendar", "pushNotSupportedForRequestedResource", message)
            }
            Self::MalformedWorkingLocationEvent => {
                of("calendar", "malformedWorkingLocationEvent", "A working location event must have its properties.")
            }
            Self::AuthError => Refusal::invalid_credentials(),
            Self::LoginRequired => Refusal::login_required(),
            Self::UserRateLimitExceeded => of("usageLimits", "userRateLimitExceeded", "User Rate Limit Exceeded"),
            Self::RateLimitExceeded => of("usageLimits", "rateLimitExceeded", "Rate Limit Exceeded"),
            Self::QuotaMetricExceeded => {
                let message = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of \
                               service 'calendar-json.googleapis.com' for consumer 'project_number:314159265358'.";
                of("usageLimits", "rateLimitExceeded", message)
                    .in_front("RESOURCE_EXHAUSTED", Some(("RATE_LIMIT_EXCEEDED", ("consumer", PROJECT))))
            }
            Self::QuotaExceeded => of("usageLimits", "quotaExceeded", "Calendar usage limits exceeded."),
            Self::DailyLimitExceeded => of("usageLimits", "dailyLimitExceeded", "Daily Limit Exceeded"),
            Self::VariableTermLimitExceeded => {
                of("usageLimits", "variableTermLimitExceeded", "Variable Term Limit Exceeded")
            }
            Self::ForbiddenForNonOrganizer => {
                let message = "Shared properties can only be changed by the organizer of the event.";
                of("calendar", "forbiddenForNonOrganizer", message)
            }
            Self::ForbiddenForServiceAccounts => {
                let message = "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority.";
                of("calendar", "forbiddenForServiceAccounts", message)
            }
            Self::InsufficientPermissions => Refusal::insufficient_scope(method),
            Self::AccessNotConfigured => {
                let message = "Google Calendar API has not been used in project 314159265358 before or it is disabled. \
                               Enable it in the Cloud console, then retry.";
                of("usageLimits", "accessNotConfigured", message)
                    .in_front("PERMISSION_DENIED", Some(("SERVICE_DISABLED", ("consumer", PROJECT))))
            }
            Self::Forbidden => of("global", "forbidden", "Forbidden"),
            Self::RequiredAccessLevel => Refusal::access_level(),
            Self::NotFound => Refusal::not_found(),
            Self::Duplicate => Refusal::duplicate(),
            Self::Conflict => of("global", "conflict", "Conflict"),
            Self::FullSyncRequired => Refusal::full_sync_required(),
            Self::UpdatedMinTooLongAgo => {
                let message = "The requested minimum modification time lies too far in the past.";
                of("calendar", "updatedMinTooLongAgo", message).at("parameter", "updatedMin")
            }
            Self::Deleted => Refusal::deleted(),
            Self::ConditionNotMet => Refusal::condition_not_met(),
            Self::BackendError => of("global", "backendError", "Backend Error"),
        }
    }
}

/// The Cloud project that the stand-in claims to be called by.
const PROJECT: &str = "projects/314159265358";
