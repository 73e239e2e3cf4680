//! The owner's answer to the question whether bookings end whose events are gone in numbers.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::{Json, Path, Problem, api::Api};
use crate::{
    auth::Caller,
    domain::{BusinessId, CalendarId},
    store::{self, Lane, api_keys::Scope, cancellations::Answer},
};

/// Bookings answered for in one transaction.
const BATCH: usize = 50;

/// What is to become of the bookings.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    /// They end with their events.
    Cancel,
    /// They stand, without an event.
    Keep,
}

/// Body of `POST …/cancellations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerBody {
    decision: Decision,
}

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct AnsweredBody {
    decision: Decision,
    /// For how many bookings.
    bookings: usize,
}

/// Takes the owner's answer.
pub(super) async fn answer(
    State(api): State<Api>,
    caller: Caller,
    Path((business, calendar)): Path<(BusinessId, CalendarId)>,
    Json(body): Json<AnswerBody>,
) -> Result<Json<AnsweredBody>, Problem> {
    caller.at(business, Scope::Owner)?;
    let answer = match body.decision {
        Decision::Cancel => Answer::Cancel,
        Decision::Keep => Answer::Keep,
    };
    let mut bookings = 0;
    loop {
        let carry_out = store::work::<usize, Problem, _>(move |tx| {
            Box::pin(async move {
                tx.calendar(business, calendar).await?.ok_or_else(|| Problem::not_found("calendar"))?;
                Ok(tx.answer_gone(business, calendar, answer, BATCH).await?)
            })
        });
        // An answer that is cut short leaves the rest of the question open.
        match api.store.write(Lane::Caller, carry_out).await? {
            0 => break,
            answered => bookings += answered,
        }
    }
    if bookings == 0 {
        return Err(Problem::conflict("no_question", "no bookings of this calendar wait for an answer"));
    }
    Ok(Json(AnsweredBody { decision: body.decision, bookings }))
}
