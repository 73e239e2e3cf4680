//! The real program, started and ended as an operator or a power cut would, with a stand-in for Google that lives on.

mod bookings;
mod client;
mod cluster;
mod demo;
mod doctor;
mod first_sync;
mod installation;
mod network;
mod power;
mod refusals;
mod salon;
mod stop;
mod weather;
mod write_back;

use std::time::Duration;

/// How long anything in these tests may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// How often something is looked at that will come about.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` gives something.
async fn wait_for<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
