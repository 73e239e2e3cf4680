//! Random faults between slotd and Google. Each run has a few kinds of them, and other runs have others.

use std::time::Duration;

use serde_json::json;
use slotd_sandbox::{Effect, Fault};

use super::{dice::Dice, editing::Diary, seen::Seen};
use crate::stage::Stage;

const LIST: &str = "calendar.events.list";
/// How long something slow takes, in milliseconds. Longer than slotd waits would be a hang.
const SLOW_MS: u64 = 150;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TokenGone,
    TokenGoneLater,
    TokenInvalid,
    TokensExpire,
    Unauthorized,
    RateLimited,
    NotFound,
    Broken,
    Html,
    Empty,
    Slow,
    Hang,
    ResetBefore,
    ResetAfter,
    Truncated,
    EmptyPage,
    Stale,
    PushLost,
    PushTwice,
    PushLate,
    RefreshFails,
    GetFails,
    Outage,
    Revoked,
}

const KINDS: &[Kind] = &[
    Kind::TokenGone,
    Kind::TokenGoneLater,
    Kind::TokenInvalid,
    Kind::TokensExpire,
    Kind::Unauthorized,
    Kind::RateLimited,
    Kind::NotFound,
    Kind::Broken,
    Kind::Html,
    Kind::Empty,
    Kind::Slow,
    Kind::Hang,
    Kind::ResetBefore,
    Kind::ResetAfter,
    Kind::Truncated,
    Kind::EmptyPage,
    Kind::Stale,
    Kind::PushLost,
    Kind::PushTwice,
    Kind::PushLate,
    Kind::RefreshFails,
    Kind::GetFails,
    Kind::Outage,
    Kind::Revoked,
];

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TokenGone => "410 at the first page",
            Self::TokenGoneLater => "410 at a later page",
            Self::TokenInvalid => "400 about the sync token",
            Self::TokensExpire => "the sync tokens of a calendar end",
            Self::Unauthorized => "401",
            Self::RateLimited => "403 or 429 about rates",
            Self::NotFound => "404 for a list",
            Self::Broken => "500",
            Self::Html => "503 as a page",
            Self::Empty => "502 without a body",
            Self::Slow => "a slow answer",
            Self::Hang => "no answer",
            Self::ResetBefore => "reset before",
            Self::ResetAfter => "reset after",
            Self::Truncated => "a truncated answer",
            Self::EmptyPage => "an empty page",
            Self::Stale => "a stale read",
            Self::PushLost => "a lost push",
            Self::PushTwice => "a push that comes twice",
            Self::PushLate => "a late push",
            Self::RefreshFails => "a refresh that fails",
            Self::GetFails => "a master that cannot be fetched",
            Self::Outage => "an outage",
            Self::Revoked => "a grant that is revoked",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::PushLost | Self::PushTwice | Self::PushLate => "push",
            Self::RefreshFails => "oauth2.refresh",
            Self::GetFails => "calendar.events.get",
            Self::Outage => "calendar.*",
            _ => LIST,
        }
    }

    fn effect(self, dice: &mut Dice) -> Option<Effect> {
        Some(match self {
            Self::TokenGone | Self::TokenGoneLater => Effect::refuse(410, "calendar", "fullSyncRequired"),
            Self::TokenInvalid => Effect::Refuse {
                status: 400,
                reason: "invalid".to_owned(),
                domain: None,
                message: Some("Invalid sync token value.".to_owned()),
                retry_after_s: None,
            },
            Self::Unauthorized => Effect::refuse(401, "global", "authError"),
            Self::RateLimited => {
                let (status, reason) = *dice.pick(&[
                    (403, "userRateLimitExceeded"),
                    (403, "rateLimitExceeded"),
                    (429, "rateLimitExceeded"),
                ]);
                Effect::Refuse {
                    status,
                    reason: reason.to_owned(),
                    domain: Some("usageLimits".to_owned()),
                    message: None,
                    retry_after_s: dice.percent(30).then_some(1),
                }
            }
            Self::NotFound => Effect::refuse(404, "global", "notFound"),
            Self::Broken | Self::GetFails => Effect::refuse(500, "global", "backendError"),
            Self::Html | Self::Outage => Effect::Html { status: 503 },
            Self::Empty => Effect::Empty { status: 502 },
            Self::Slow | Self::PushLate => Effect::Delay { ms: SLOW_MS },
            Self::Hang => {
                if dice.percent(50) {
                    Effect::HangBefore
                } else {
                    Effect::HangAfter
                }
            }
            Self::ResetBefore => Effect::ResetBefore,
            Self::ResetAfter => Effect::ResetAfter,
            Self::Truncated => Effect::Truncate,
            Self::EmptyPage => Effect::EmptyPage,
            Self::Stale => Effect::Stale,
            Self::PushLost => Effect::Drop,
            Self::PushTwice => Effect::Twice,
            Self::RefreshFails => Effect::RefuseOauth { status: 503, error: "internal_failure".to_owned() },
            Self::TokensExpire | Self::Revoked => return None,
        })
    }

    /// Most calls that one of them strikes. What costs slotd seconds each time strikes once.
    const fn times(self) -> usize {
        match self {
            Self::Hang | Self::Outage | Self::TokenGoneLater | Self::TokenGone | Self::TokenInvalid => 1,
            Self::Unauthorized | Self::RefreshFails => 2,
            _ => 3,
        }
    }
}

/// The faults of a run.
pub(super) struct Weather {
    kinds: Vec<Kind>,
    /// How often, in percent of the edits, something is switched on.
    percent: usize,
    dice: Dice,
    /// What was switched on, by the number of the fault.
    armed: Vec<(u64, Kind)>,
    /// When the outage ends, in edits.
    outage: Option<(u64, usize)>,
}

impl Weather {
    /// About half of all kinds. Each is in two at least of five runs with seeds in a row, so that none is left out by chance.
    pub(super) fn random(seed: u64, mut dice: Dice) -> Self {
        let has_its_turn = |place: usize| (seed % 5 + u64::try_from(place).unwrap()) % 5 < 2;
        let kinds = KINDS.iter().enumerate().filter(|(place, _)| dice.percent(20) || has_its_turn(*place));
        let kinds: Vec<Kind> = kinds.map(|(_, kind)| *kind).collect();
        Self::of(kinds, 8, dice)
    }

    pub(super) fn of(kinds: Vec<Kind>, percent: usize, dice: Dice) -> Self {
        Self { kinds, percent, dice, armed: Vec::new(), outage: None }
    }

    /// Lets the weather change before an edit.
    pub(super) async fn step(&mut self, stage: &Stage, diaries: &[Diary], seen: &mut Seen) {
        self.count(stage, seen);
        if let Some((id, left)) = &mut self.outage {
            if let Some(less) = left.checked_sub(1) {
                *left = less;
            } else {
                stage.google.faults().remove(*id);
                self.outage = None;
            }
        }
        if self.kinds.is_empty() || !self.dice.percent(self.percent) {
            return;
        }
        let kind = *self.dice.pick(&self.kinds);
        let diary = self.dice.pick(diaries);
        let Some(effect) = kind.effect(&mut self.dice) else {
            if kind == Kind::TokensExpire {
                stage.google.faults().expire_sync_tokens(&diary.id);
                seen.note(kind.name());
            } else if self.dice.percent(15) {
                let url = format!("{}/sandbox/revoke", stage.google.sandbox.root());
                stage.google.editor().post(&url, &json!({ "user": diary.owner })).await;
                seen.note(kind.name());
            }
            return;
        };
        if kind == Kind::Outage {
            if self.outage.is_none() {
                let fault =
                    Fault { times: None, user: Some(diary.owner.to_owned()), ..Fault::once(kind.method(), effect) };
                let id = stage.google.faults().add(fault);
                seen.note(kind.name());
                self.outage = Some((id, self.dice.below(15)));
            }
            return;
        }
        let skip = match kind {
            Kind::TokenGoneLater => self.dice.between(1, 3),
            _ => self.dice.between(0, 2),
        };
        let times = self.dice.below(kind.times()) + 1;
        let fault = Fault {
            user: Some(diary.owner.to_owned()),
            calendar: (kind.method() == LIST && self.dice.percent(50)).then(|| diary.id.clone()),
            skip: u32::try_from(skip).unwrap(),
            times: Some(u32::try_from(times).unwrap()),
            ..Fault::once(kind.method(), effect)
        };
        self.armed.push((stage.google.faults().add(fault), kind));
    }

    /// Notes what struck in full and is over.
    fn count(&mut self, stage: &Stage, seen: &mut Seen) {
        let listed = stage.google.faults().list();
        self.armed.retain(|(id, kind)| {
            let on = listed.iter().any(|listed| listed.id == *id);
            if !on {
                seen.note(kind.name());
            }
            on
        });
    }

    /// Ends everything.
    pub(super) fn clear(&mut self, stage: &Stage, seen: &mut Seen) {
        self.count(stage, seen);
        stage.google.faults().clear();
        self.armed.clear();
        self.outage = None;
    }
}

/// A moment between two edits, mostly none.
pub(super) async fn pause(dice: &mut Dice) {
    if dice.percent(15) {
        tokio::time::sleep(Duration::from_millis(u64::try_from(dice.between(1, 60)).unwrap())).await;
    }
}
