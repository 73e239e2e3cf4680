//! What became of a call, as decisions. No error holds a token, an address, an id or any text out of a body.

use std::time::Duration;

use super::{Held, TokenError, transport::Lost};

/// The reason of [`Error::NeedsReconnect`] for an account that is known to need its owner: nobody was asked.
pub const KNOWN_TO_BE_GONE: &str = "it is known to be gone";

/// Why a call did not do what was asked. One variant per thing that a caller can decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404: there is no such thing, or the account may not see it. Google sometimes says so for a moment only.
    #[error("Google finds no such resource")]
    NotFound,
    /// 410, or 400 for a token that Google does not know: list from the beginning.
    #[error("the sync token is no longer valid")]
    FullSyncRequired,
    /// 410 for one event: it was deleted before.
    #[error("the event was deleted before")]
    AlreadyDeleted,
    /// 409: the event id is in use, perhaps by a deleted event.
    #[error("the event id is in use")]
    Duplicate,
    /// 412: the event has changed since the etag of `If-Match`.
    #[error("the event changed meanwhile")]
    PreconditionFailed,
    /// 403 or 429: too many calls at present.
    #[error("Google asks to slow down")]
    RateLimited {
        /// How long to wait: what Google asks for, or what was made of it.
        retry_after: Option<Duration>,
        /// Not this account alone made too many, but the whole project.
        project: bool,
    },
    /// slotd itself did not make the call, to stay within a quota. It has no part in what it is about.
    #[error("not asked, for {}", held.explained())]
    HeldBack {
        /// Why.
        held: Held,
        /// When there will be room.
        retry_after: Duration,
    },
    /// 403: the account or project has used up an allowance that comes back in hours. Stop writing for a while.
    #[error("a quota of Google is used up ({reason})")]
    QuotaExhausted {
        /// Google's word, such as `quotaExceeded`.
        reason: String,
        /// How long Google asks to wait, when it says so.
        retry_after: Option<Duration>,
    },
    /// 403: the account may see this but not do that to it.
    #[error("Google forbids this ({reason})")]
    Forbidden {
        /// Google's word.
        reason: String,
    },
    /// 403: the account may not invite or tell guests now. The same write without that may succeed.
    #[error("Google does not let the account invite guests now ({reason})")]
    GuestsRefused {
        /// Google's word.
        reason: String,
    },
    /// 403: the owner did not grant what this call needs.
    #[error("the owner did not grant the permission that this needs")]
    InsufficientScope,
    /// 400: changes of this calendar are not pushed; poll it.
    #[error("Google does not push changes of this calendar")]
    PushNotSupported,
    /// 400: a channel of this id exists; take a new id.
    #[error("the channel id was used before")]
    ChannelIdNotUnique,
    /// The grant is gone; only the owner can give a new one.
    #[error("the account has to be connected again ({reason})")]
    NeedsReconnect {
        /// Google's word, such as `invalid_grant`.
        reason: String,
    },
    /// 401 also with a token that was made for this very call. The grant may be fine: try again later.
    #[error("Google refuses a fresh access token")]
    Unauthorized,
    /// The operator's project, OAuth client or delegation is wrong.
    #[error("the Google project or OAuth settings are wrong ({reason})")]
    Misconfigured {
        /// Google's word.
        reason: String,
    },
    /// Google does not accept the request. The same request will not succeed later.
    #[error("Google refuses the request ({reason})")]
    BadRequest {
        /// Google's word.
        reason: String,
    },
    /// Nobody answered, or something that is not the calendar API did. Try again later.
    #[error("Google is unavailable")]
    Unavailable {
        /// The HTTP status, when there was one.
        status: Option<u16>,
        /// How long Google asks to wait, when it says so.
        retry_after: Option<Duration>,
        /// A write may have been done all the same: look before trying again.
        maybe_applied: bool,
    },
    /// The answer is larger than the limit. A list can be asked for in smaller pages.
    #[error("Google's answer is over the size limit")]
    TooLarge,
    /// Google says yes in a way that cannot be read.
    #[error("Google's answer cannot be read ({0})")]
    Malformed(&'static str),
}

/// Every word that [`Error::outcome_label`] gives, and `ok`.
pub const OUTCOMES: [&str; 21] = [
    "ok",
    "not_found",
    "full_sync_required",
    "already_deleted",
    "duplicate",
    "precondition_failed",
    "rate_limited",
    "held_back",
    "quota_exhausted",
    "forbidden",
    "guests_refused",
    "insufficient_scope",
    "push_not_supported",
    "channel_id_not_unique",
    "needs_reconnect",
    "unauthorized",
    "misconfigured",
    "bad_request",
    "unavailable",
    "too_large",
    "malformed",
];

impl Error {
    /// A word for metrics, one of [`OUTCOMES`].
    #[must_use]
    pub const fn outcome_label(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::FullSyncRequired => "full_sync_required",
            Self::AlreadyDeleted => "already_deleted",
            Self::Duplicate => "duplicate",
            Self::PreconditionFailed => "precondition_failed",
            Self::RateLimited { .. } => "rate_limited",
            Self::HeldBack { .. } => "held_back",
            Self::QuotaExhausted { .. } => "quota_exhausted",
            Self::Forbidden { .. } => "forbidden",
            Self::GuestsRefused { .. } => "guests_refused",
            Self::InsufficientScope => "insufficient_scope",
            Self::PushNotSupported => "push_not_supported",
            Self::ChannelIdNotUnique => "channel_id_not_unique",
            Self::NeedsReconnect { .. } => "needs_reconnect",
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured { .. } => "misconfigured",
            Self::BadRequest { .. } => "bad_request",
            Self::Unavailable { .. } => "unavailable",
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
        }
    }

    /// How long to wait by Google's word, or by a quota.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::HeldBack { retry_after, .. } => Some(*retry_after),
            Self::RateLimited { retry_after, .. }
            | Self::QuotaExhausted { retry_after, .. }
            | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::HeldBack { .. }
                | Self::QuotaExhausted { .. }
                | Self::Unauthorized
                | Self::Unavailable { .. }
                | Self::Malformed(_)
        )
    }

    /// Whether nothing will succeed for this account until its owner consents anew.
    #[must_use]
    pub const fn needs_consent(&self) -> bool {
        matches!(self, Self::NeedsReconnect { .. } | Self::InsufficientScope)
    }

    /// Whether Google has just said that the grant is gone. Else the account was known to need its owner already when the
    /// call was to be made, and may have been connected anew since.
    #[must_use]
    pub fn ends_the_grant(&self) -> bool {
        match self {
            Self::NeedsReconnect { reason } => reason != KNOWN_TO_BE_GONE,
            Self::InsufficientScope => true,
            _ => false,
        }
    }

    /// Whether Google does not let the account see what was asked for.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::NotFound | Self::Forbidden { .. })
    }

    /// Whether it is about a quota, and not about what the call was for: that has not failed.
    #[must_use]
    pub const fn is_about_quota(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::HeldBack { .. } | Self::QuotaExhausted { .. })
    }

    /// For a write: whether Google may have done it although the call failed.
    #[must_use]
    pub const fn maybe_applied(&self) -> bool {
        matches!(self, Self::Unavailable { maybe_applied: true, .. } | Self::TooLarge | Self::Malformed(_))
    }
}

impl Error {
    /// The same, of a write that made Google tell guests: a refusal that may be on their account is about them. The limit of
    /// invitations and that of events have one name.
    pub(super) fn of_telling_guests(self) -> Self {
        match self {
            Self::QuotaExhausted { reason, .. } if reason == "quotaExceeded" => Self::GuestsRefused { reason },
            Self::Forbidden { reason } if reason == "forbiddenForServiceAccounts" => Self::GuestsRefused { reason },
            other => other,
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NeedsReconnect { reason } => Self::NeedsReconnect { reason },
            TokenError::Unavailable { retry_after, .. } => {
                Self::Unavailable { status: None, retry_after, maybe_applied: false }
            }
            TokenError::Misconfigured(reason) => Self::Misconfigured { reason },
        }
    }
}

impl Error {
    /// No answer came. `sent` tells whether a write left this machine.
    pub(super) const fn lost(lost: Lost, sent: bool) -> Self {
        match lost {
            Lost::TooLarge => Self::TooLarge,
            Lost::Garbled => Self::Malformed("content encoding"),
            Lost::Unreachable | Lost::Broken | Lost::Late => {
                Self::Unavailable { status: None, retry_after: None, maybe_applied: sent }
            }
            Lost::Unwell { status, retry_after } => {
                Self::Unavailable { status: Some(status), retry_after, maybe_applied: sent }
            }
        }
    }
}
