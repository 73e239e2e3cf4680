//! Deliberate bugs, with which the tests show that they would be seen. They exist only with the feature `sabotage`, which
//! nothing but a test switches on; without it [`sabotaged`] is always `false` and costs nothing.

/// A bug that slotd could have.
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
    /// What others have booked does not stand in a booking's way.
    OverlapUnchecked,
    /// The owner's own events do not stand in a booking's way.
    BusyUnchecked,
    /// Times that only touch count as overlapping.
    NeighboursOverlap,
    /// Holds that ran out still keep others out.
    ExpiredHoldsCount,
    /// Holds keep nobody out.
    HoldsUncounted,
    /// A hold can still be booked at the instant at which it is over.
    HoldOutlivesItsEnd,
    /// The claim of a booking that was a hold still ends when the hold would have.
    HoldStillEnds,
    /// A call can book what another call holds.
    ForeignHoldUsable,
    /// A booking claims its time without the buffers.
    BufferUnclaimed,
    /// A booking that moves claims its old time and not the new one.
    OldClaimKept,
    /// A cancelled booking still keeps others out.
    CancelKeepsClaim,
    /// What was answered to an idempotency key is not kept.
    KeyForgotten,
    /// A key answers any request, not only its own.
    KeyUnhashed,
    /// Each try to write an event has an id of its own.
    EventIdPerTry,
    /// An id that Google knows already is taken for success, unread.
    DuplicateIsSuccess,
    /// An event is replaced as a whole where it should be changed in part.
    PutForPatch,
    /// Changes of events do not say which state they are based on.
    IfMatchLeftOut,
    /// slotd takes its own writes for the owner's edits, and writes again.
    EchoIsOwners,
    /// An event that the owner deleted is written again.
    DeletionRevived,
    /// A booking stays where it was when the owner moves its event.
    OwnersMoveIgnored,
    /// An event that a full list lacks counts as deleted.
    AbsenceCancels,
    /// A node that lost its lease on a delivery settles it all the same.
    FenceUnchecked,
    /// A lease on a delivery is over as soon as it begins.
    LeaseEndsAtOnce,
    /// The event of a cancelled booking is not owed a removal.
    RemovalUnowed,
    /// A delivery that failed counts as made.
    FailureIsDelivered,
    /// What is about to be sent is not noted before it is sent.
    SentUnnoted,
    /// A booking that moves has no step of its history for it.
    StepMissing,
}

impl Bug {
    /// Those of mirrors of calendars.
    pub const OF_MIRRORS: [Self; 19] = [
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

    /// Those of bookings.
    pub const OF_BOOKINGS: [Self; 27] = [
        Self::OverlapUnchecked,
        Self::BusyUnchecked,
        Self::NeighboursOverlap,
        Self::ExpiredHoldsCount,
        Self::HoldsUncounted,
        Self::HoldOutlivesItsEnd,
        Self::HoldStillEnds,
        Self::ForeignHoldUsable,
        Self::BufferUnclaimed,
        Self::OldClaimKept,
        Self::CancelKeepsClaim,
        Self::KeyForgotten,
        Self::KeyUnhashed,
        Self::EventIdPerTry,
        Self::DuplicateIsSuccess,
        Self::PutForPatch,
        Self::IfMatchLeftOut,
        Self::EchoIsOwners,
        Self::DeletionRevived,
        Self::OwnersMoveIgnored,
        Self::AbsenceCancels,
        Self::FenceUnchecked,
        Self::LeaseEndsAtOnce,
        Self::RemovalUnowed,
        Self::FailureIsDelivered,
        Self::SentUnnoted,
        Self::StepMissing,
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
        Bug::OF_MIRRORS.into_iter().chain(Bug::OF_BOOKINGS).find(|bug| format!("{bug:?}") == name)
    });
    *chosen == Some(bug)
}

/// Never.
#[cfg(not(feature = "sabotage"))]
#[must_use]
pub const fn sabotaged(_: Bug) -> bool {
    false
}
