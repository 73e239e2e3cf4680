//! What may happen to a call or a push.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::google::GoogleError;
use crate::push::Forgery;
use crate::refusal::Refusal;

/// What happens to a call that is struck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Refused as Google refuses, before anything is written.
    Google {
        /// Which of Google's errors.
        error: GoogleError,
        /// Another status than the usual one, where Google has several for the error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Seconds for a `Retry-After` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// Refused with Google's error envelope and a reason of one's own choice, before anything is written.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The reason in `errors[0]`.
        reason: String,
        /// The domain in `errors[0]`; `global` when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        domain: Option<String>,
        /// The message; a plain one when missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Seconds for a `Retry-After` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// Refused with the error body of the OAuth endpoints.
    RefuseOauth {
        /// The HTTP status.
        status: u16,
        /// The `error` code, such as `invalid_grant`.
        error: String,
    },
    /// Answered by something in front of Google: a status and a page.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// Answered with a status and nothing else.
    Empty {
        /// The HTTP status.
        status: u16,
    },
    /// Served, but late. Of pushes: later ones of the channel wait behind it.
    Delay {
        /// Milliseconds before the call is looked at.
        ms: u64,
    },
    /// Done at once, and answered a few bytes at a time.
    Trickle {
        /// Milliseconds that the answer takes.
        ms: u64,
    },
    /// Never answered, and not done.
    HangBefore,
    /// Done, and never answered.
    HangAfter,
    /// The connection is closed without an answer, and nothing was done.
    ResetBefore,
    /// The connection is closed without an answer after the work was done.
    ResetAfter,
    /// Done, and the connection closed half way through the answer.
    Truncate,
    /// Done, and answered with half of the JSON as if it were the whole.
    HalfJson,
    /// Done, and answered with a success whose body is no JSON at all.
    Garbage,
    /// The user's grant ends, as if removed in the Google account, and the call is refused with 401.
    RevokeGrant,
    /// The user's access tokens end before their time, and the call is refused with 401; refreshing works.
    EndAccessTokens,
    /// The access token that is handed out ends sooner than it is said to.
    ShortToken {
        /// Milliseconds that it really lives.
        ms: u64,
    },
    /// Refreshing hands out a new refresh token and ends the old one.
    RotateRefreshToken,

    /// A list of events answers with an empty page before the page it should give.
    EmptyPage,
    /// A page of events leads to itself: it comes twice, or is a page-token loop if the fault goes on.
    RepeatPage,
    /// A page of events leads back to the first one; with the fault's `page` that many pages come round and round.
    PageLoop,
    /// The last events of a page come again on the next one.
    Overlap {
        /// How many; never a whole page.
        events: usize,
    },
    /// A list of events in no order at all: over all pages when the first is struck, else within the page. Not with
    /// `orderBy`.
    Shuffle,
    /// An incremental list of events does not see the latest writes yet.
    Stale,
    /// Lists and reads of events that do not see a write at first; of a write that lags in both ways, whichever is longer.
    Lag {
        /// How many reads of the calendar do not see a write.
        #[serde(default)]
        calls: u32,
        /// For how many milliseconds a write is not seen.
        #[serde(default)]
        ms: u64,
    },

    /// The sync message of a new channel, and further ones, arrive before the watch call is answered.
    SyncFirst {
        /// How many `exists` messages come besides.
        #[serde(default)]
        messages: u32,
    },
    /// The messages of a new channel begin some time after the watch call was answered.
    SyncLater {
        /// Milliseconds.
        ms: u64,
    },
    /// A new channel dies early, without a word.
    DieEarly {
        /// After how many messages, the sync message included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        messages: Option<u64>,
        /// After how many milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ms: Option<u64>,
    },
    /// A new channel lives no longer than this, and the answer says so.
    CapTtl {
        /// Seconds.
        seconds: u32,
    },

    /// A push that is lost on the way.
    Drop,
    /// A push that comes twice.
    Twice,
    /// A push that comes late, and does not hold up later ones.
    Late {
        /// Milliseconds.
        ms: u64,
    },
    /// A push that comes after the next one; after a second when there is none.
    Swap,
    /// A push that comes as many at once, with numbers of their own.
    Burst {
        /// How many.
        messages: u32,
    },
    /// The numbers of the channel leave some out.
    Gap {
        /// How many.
        numbers: u64,
    },
    /// A push that says that the resource is gone.
    NotExists,
    /// A push that does not tell when its channel ends.
    WithoutExpiration,
    /// A push that comes along with a forged one.
    Forge {
        /// What is wrong with it.
        forgery: Forgery,
    },
}

/// What a fault's effect is about, which tells the methods that it can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    Calls,
    CallsAndPushes,
    CalendarCalls,
    Tokens,
    Refreshes,
    EventLists,
    EventReads,
    Watches,
    Pushes,
}

/// The id under which pushes are struck.
pub(crate) const PUSH: &str = "push";
/// The id under which refreshes of tokens are struck, besides that of the token endpoint.
pub(crate) const REFRESH: &str = "oauth2.refresh";
const TOKEN: &str = "oauth2.token";

impl Concern {
    pub(super) fn covers(self, method: &str) -> bool {
        match self {
            Self::Calls => method != PUSH,
            Self::CallsAndPushes => true,
            Self::CalendarCalls => method.starts_with("calendar."),
            Self::Tokens => matches!(method, TOKEN | REFRESH),
            Self::Refreshes => method == REFRESH,
            Self::EventLists => method == "calendar.events.list",
            Self::EventReads => {
                matches!(method, "calendar.events.list" | "calendar.events.get" | "calendar.events.instances")
            }
            Self::Watches => method.rsplit('.').next() == Some("watch"),
            Self::Pushes => method == PUSH,
        }
    }
}

impl Effect {
    /// A refusal with a status and domain of one's own choice.
    #[must_use]
    pub fn refuse(status: u16, domain: &str, reason: &str) -> Self {
        Self::Refuse {
            status,
            reason: reason.to_owned(),
            domain: Some(domain.to_owned()),
            message: None,
            retry_after_s: None,
        }
    }

    /// One of Google's own refusals.
    #[must_use]
    pub fn google(error: GoogleError) -> Self {
        Self::Google { error, status: None, retry_after_s: None }
    }

    /// What strikes are counted under: the `kind` in JSON, or the name of Google's error.
    pub(crate) fn name(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        let field = if matches!(self, Self::Google { .. }) { "error" } else { "kind" };
        json[field].as_str().unwrap_or_default().to_owned()
    }

    /// The refusal of a call to `method`, if that is what happens.
    pub(crate) fn refusal(&self, method: &'static str) -> Option<Refusal> {
        match self {
            Self::Google { error, status, retry_after_s } => {
                let mut refusal = error.refusal(method);
                refusal.status = status.unwrap_or(refusal.status);
                refusal.retry_after_s = *retry_after_s;
                Some(refusal)
            }
            Self::Refuse { status, reason, domain, message, retry_after_s } => {
                let domain = domain.clone().unwrap_or_else(|| "global".to_owned());
                let message = message.clone().unwrap_or_else(|| format!("The stand-in was told to refuse: {reason}"));
                let mut refusal = Refusal::new(*status, domain, reason.clone(), message);
                refusal.retry_after_s = *retry_after_s;
                Some(refusal)
            }
            _ => None,
        }
    }

    pub(super) fn concern(&self) -> Concern {
        match self {
            Self::Delay { .. } => Concern::CallsAndPushes,
            Self::Google { .. }
            | Self::Refuse { .. }
            | Self::RefuseOauth { .. }
            | Self::Html { .. }
            | Self::Empty { .. }
            | Self::Trickle { .. }
            | Self::HangBefore
            | Self::HangAfter
            | Self::ResetBefore
            | Self::ResetAfter
            | Self::Truncate
            | Self::HalfJson
            | Self::Garbage => Concern::Calls,
            Self::RevokeGrant | Self::EndAccessTokens => Concern::CalendarCalls,
            Self::ShortToken { .. } => Concern::Tokens,
            Self::RotateRefreshToken => Concern::Refreshes,
            Self::EmptyPage
            | Self::RepeatPage
            | Self::PageLoop
            | Self::Overlap { .. }
            | Self::Shuffle
            | Self::Stale => Concern::EventLists,
            Self::Lag { .. } => Concern::EventReads,
            Self::SyncFirst { .. } | Self::SyncLater { .. } | Self::DieEarly { .. } | Self::CapTtl { .. } => {
                Concern::Watches
            }
            Self::Drop
            | Self::Twice
            | Self::Late { .. }
            | Self::Swap
            | Self::Burst { .. }
            | Self::Gap { .. }
            | Self::NotExists
            | Self::WithoutExpiration
            | Self::Forge { .. } => Concern::Pushes,
        }
    }

    /// What is wrong with the effect's values, with the field's name.
    pub(super) fn check(&self) -> Result<(), String> {
        let error_status = |status: u16| {
            if (400..600).contains(&status) && StatusCode::from_u16(status).is_ok() {
                Ok(())
            } else {
                Err(format!("effect.status: {status} is no error's status; give one from 400 to 599"))
            }
        };
        match self {
            Self::Google { error, status: Some(status), .. } => {
                let known = error.statuses();
                if known.contains(status) {
                    Ok(())
                } else {
                    Err(format!("effect.status: Google answers this error with one of {known:?}, not with {status}"))
                }
            }
            Self::Refuse { status, .. }
            | Self::RefuseOauth { status, .. }
            | Self::Html { status }
            | Self::Empty { status } => error_status(*status),
            Self::Overlap { events: 0 } => Err("effect.events: give at least 1".to_owned()),
            Self::Lag { calls: 0, ms: 0 } => Err("effect: give calls, ms or both".to_owned()),
            Self::DieEarly { messages: None, ms: None } => Err("effect: give messages, ms or both".to_owned()),
            Self::CapTtl { seconds: 0 } => Err("effect.seconds: give at least 1".to_owned()),
            Self::Burst { messages } if !(2..=1000).contains(messages) => {
                Err("effect.messages: give a number from 2 to 1000".to_owned())
            }
            Self::SyncFirst { messages } if *messages > 1000 => Err("effect.messages: give at most 1000".to_owned()),
            _ => Ok(()),
        }
    }
}
