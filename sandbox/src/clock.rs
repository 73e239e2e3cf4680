//! The one place where the stand-in reads the time.

use chrono::{DateTime, Utc};

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "the stand-in plays Google, whose clock nobody injects")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
