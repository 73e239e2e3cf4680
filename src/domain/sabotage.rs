//! Deliberate bugs, with which the tests show that they would be seen. They exist only with the feature `sabotage`, which
//! nothing but a test switches on; without it [`sabotaged`] is always `false` and costs nothing.

/// A bug that mirrors of calendars could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The token of a pass is committed before its rows.
    TokenBeforeRows,
    /// Of a list of several pages the last one is not read.
    LastPageForgotten,
    /// A token that ended is kept, and the pass counts as a good one.
    GoneIgnored,
    /// Changed and cancelled instances are not mirrored.
    ExceptionsDropped,
    /// Cancelled instances are not mirrored.
    HolesIgnored,
    /// What is known of a series wins over what Google says now.
    OlderVersionWins,
    /// Deleted events stay.
    TombstonesIgnored,
    /// A push that comes while a pass runs counts as answered by it.
    PushSwallowed,
    /// Nobody looks again when nothing came after a push.
    SecondLookLost,
    /// Days stay where they were when the calendar's zone changes.
    ZoneIgnored,
    /// Exceptions outlive the instances that they stood in for.
    ExceptionsKept,
    /// Free time counts as busy.
    TransparentBusy,
    /// Invitations count that the owner declined.
    DeclinedBusy,
    /// Days begin at midnight UTC.
    DaysInUtc,
    /// Of a time that comes twice the second is meant.
    FoldLater,
    /// An instance exactly at UNTIL does not take place.
    UntilExclusive,
    /// EXDATE takes nothing away.
    ExdateIgnored,
    /// Series are not expanded when the horizon moves.
    HorizonForgetsSeries,
    /// The rows of a full sync are served before they are complete.
    ServedTooEarly,
}

impl Bug {
    /// Every one.
    pub const ALL: [Self; 19] = [
        Self::TokenBeforeRows,
        Self::LastPageForgotten,
        Self::GoneIgnored,
        Self::ExceptionsDropped,
        Self::HolesIgnored,
        Self::OlderVersionWins,
        Self::TombstonesIgnored,
        Self::PushSwallowed,
        Self::SecondLookLost,
        Self::ZoneIgnored,
        Self::ExceptionsKept,
        Self::TransparentBusy,
        Self::DeclinedBusy,
        Self::DaysInUtc,
        Self::FoldLater,
        Self::UntilExclusive,
        Self::ExdateIgnored,
        Self::HorizonForgetsSeries,
        Self::ServedTooEarly,
    ];
}

/// The variable that names the bug of a process, as [`Bug`] is written in code.
pub const VARIABLE: &str = "SLOTD_SABOTAGE";

/// Whether this process was asked to have that bug.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn sabotaged(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "a test chooses it for a process of its own")]
        let name = std::env::var(VARIABLE).ok()?;
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    });
    *chosen == Some(bug)
}

/// Never.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn sabotaged(_: Bug) -> bool {
    false
}
