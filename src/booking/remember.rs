//! Answers that are given again when a request is repeated.

use super::BookingError;
use crate::{
    domain::{
        BusinessId,
        sabotage::{Bug, sabotaged},
    },
    store::{self, Tx, idempotency::Remembered},
};

/// An idempotency key and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The client's key.
    pub text: String,
    /// SHA-256 of the parsed request.
    pub request_hash: [u8; 32],
}

/// What is answered: the same bytes each time a request is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it was given before.
    pub replayed: bool,
}

/// What was answered to this key, if it was used before.
pub(super) async fn recall(
    tx: &mut Tx,
    business: BusinessId,
    key: Option<&Key>,
) -> Result<Option<Reply>, BookingError> {
    let Some(key) = key else { return Ok(None) };
    match tx.remembered(business, &key.text).await? {
        None => Ok(None),
        Some(known) if known.request_hash == key.request_hash || sabotaged(Bug::KeyUnhashed) => {
            Ok(Some(Reply { status: known.status, body: known.body, replayed: true }))
        }
        Some(_) => Err(BookingError::KeyReused),
    }
}

/// Keeps an answer in the transaction of what it answers.
pub(super) async fn keep(
    tx: &mut Tx,
    business: BusinessId,
    key: Option<&Key>,
    reply: &Reply,
) -> Result<(), store::Error> {
    let Some(key) = key.filter(|_| !sabotaged(Bug::KeyForgotten)) else { return Ok(()) };
    let remembered =
        Remembered { request_hash: key.request_hash.to_vec(), status: reply.status, body: reply.body.clone() };
    tx.remember(business, &key.text, &remembered).await
}
