//! The rounds of a worker: it looks, starts what is due, and rests.

use std::{pin::Pin, time::Duration};

use tokio::sync::{Notify, futures::Notified};
use tokio_util::sync::CancellationToken;

use crate::store;

/// The shortest rest between two rounds.
const REST_MIN: Duration = Duration::from_millis(5);

/// Waits for the next wake-up from now on. Taken before looking, so that one in between is not lost.
pub(super) fn woken(wake: &Notify) -> Pin<Box<Notified<'_>>> {
    let mut woken = Box::pin(wake.notified());
    woken.as_mut().enable();
    woken
}

/// Rests after a round: until `woken`, until more is `due`, or until `stop` is cancelled, and never longer than `poll`.
/// `what` is what was looked for.
///
/// Waking is only a hint: what to do is always read from the store, so a lost wake-up costs at most one poll.
pub(super) async fn rest(
    stop: &CancellationToken,
    woken: Pin<Box<Notified<'_>>>,
    due: store::Result<Duration>,
    poll: Duration,
    what: &'static str,
) {
    let nap = match due {
        Ok(nap) => nap.clamp(REST_MIN, poll),
        Err(error) => {
            tracing::warn!(%error, what, "cannot look for what is due");
            poll
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = woken => {}
        () = tokio::time::sleep(nap) => {}
    }
}
