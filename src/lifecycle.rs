//! Starting, watching and stopping the tasks of the process.
//!
//! ```text
//! SIGTERM or SIGINT, or a task that ends unasked ─▶ soft: finish what is in hand, take nothing new
//! a second signal, or 60 s later                 ─▶ hard: tasks are dropped where they stand; exit code 1
//! ```
//!
//! A task that ends unasked, by returning or by a panic, stops the whole process with exit code 1, so that systemd
//! starts a whole one again: a daemon that has silently lost a worker looks alive and does nothing.

use std::{
    panic::AssertUnwindSafe,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long tasks may take to finish what they have in hand. `TimeoutStopSec=` of the unit must be longer.
const GRACE: Duration = Duration::from_mins(1);
/// How long dropped tasks may take to be gone.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// The life of the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
    ready: Arc<AtomicBool>,
}

/// Whether requests are welcome.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
    soft: CancellationToken,
}

impl Readiness {
    /// From the end of the start until the beginning of the stop.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.soft.is_cancelled()
    }
}

impl Lifecycle {
    /// A life with no tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process should stop: finish what is in hand and take nothing new.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// For those who ask whether requests are welcome.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness { ready: Arc::clone(&self.ready), soft: self.soft.clone() }
    }

    /// Asks the process to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Runs a worker that returns only after [`Lifecycle::stopping`] was cancelled.
    pub fn spawn(&self, name: &'static str, worker: impl Future<Output = ()> + Send + 'static) {
        let life = self.clone();
        self.tasks.spawn(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(worker).catch_unwind() => ended,
                () = life.hard.cancelled() => return tracing::warn!(task = name, "task dropped before it was done"),
            };
            if ended.is_err() || !life.soft.is_cancelled() {
                let reason = if ended.is_err() { "it panicked" } else { "it returned" };
                tracing::error!(task = name, reason, "task ended unasked, stopping");
                life.failed.store(true, Ordering::Relaxed);
                life.soft.cancel();
            }
        });
    }

    /// Runs work that ends by itself and that must not end earlier because whoever asked for it went away. Stopping
    /// waits for it.
    pub fn detach<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(work)
    }

    /// Tells systemd and [`Readiness`] that the daemon can be used. Without systemd only the latter.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
        notify(NotifyState::Ready);
    }

    /// Waits for a reason to stop, then for the tasks, and answers whether all went as it should.
    pub async fn run_until_stopped(self) -> ExitCode {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (mut terminate, mut interrupt) = match signals {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "cannot listen to signals");
                return ExitCode::FAILURE;
            }
        };
        let signals = stream::poll_fn(move |context| {
            // Both are polled each time, so that both wake us.
            let (one, two) = (terminate.poll_recv(context), interrupt.poll_recv(context));
            if one.is_ready() || two.is_ready() { Poll::Ready(Some(())) } else { Poll::Pending }
        });
        self.run(signals, GRACE).await
    }

    /// `signals` yields once per signal and never ends.
    async fn run(self, mut signals: impl Stream<Item = ()> + Unpin, grace: Duration) -> ExitCode {
        // Half of what systemd allows, so that one late tick does no harm.
        let mut watchdog = interval(sd_notify::watchdog_enabled().map_or(Duration::from_mins(1), |limit| limit / 2));
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = signals.next() => break,
                () = self.soft.cancelled() => break,
                _ = watchdog.tick() => notify(NotifyState::Watchdog),
            }
        }

        tracing::info!("stopping");
        notify(NotifyState::Stopping);
        self.soft.cancel();
        self.tasks.close();
        let end = Instant::now() + grace;
        let orderly = loop {
            tokio::select! {
                () = self.tasks.wait() => break true,
                _ = signals.next() => break false,
                () = sleep_until(end) => break false,
                // Slow is not stuck: systemd must not shoot a process that is finishing its work.
                _ = watchdog.tick() => notify(NotifyState::Watchdog),
            }
        };
        if !orderly {
            tracing::error!(tasks = self.tasks.len(), "stopping at once, work is left undone");
            self.hard.cancel();
            let _ = timeout(DROP_LIMIT, self.tasks.wait()).await;
        }
        if orderly && !self.failed.load(Ordering::Relaxed) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    /// Signals that the test sends.
    fn signals() -> (mpsc::UnboundedSender<()>, impl Stream<Item = ()> + Unpin) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        (sender, stream::poll_fn(move |context| receiver.poll_recv(context)))
    }

    async fn run(life: Lifecycle, signals: impl Stream<Item = ()> + Unpin, grace: Duration) -> ExitCode {
        timeout(LONG, life.run(signals, grace)).await.unwrap()
    }

    #[tokio::test]
    async fn a_signal_lets_tasks_finish_what_they_have_in_hand() {
        let (life, (signal, signals)) = (Lifecycle::new(), signals());
        let (done, finished) = oneshot::channel();
        let stopping = life.stopping();
        life.spawn("worker", async move {
            stopping.cancelled().await;
            tokio::task::yield_now().await;
            done.send(()).unwrap();
        });
        let detached = life.detach(async { 7 });
        signal.send(()).unwrap();
        assert_eq!(run(life, signals, LONG).await, ExitCode::SUCCESS);
        finished.await.unwrap();
        assert_eq!(detached.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_task_that_ends_unasked_stops_the_process_with_a_failure() {
        let life = Lifecycle::new();
        life.spawn("worker", async {});
        assert_eq!(run(life, stream::pending(), LONG).await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn so_does_a_task_that_panics() {
        let life = Lifecycle::new();
        life.spawn("worker", async { panic!("a bug") });
        assert_eq!(run(life, stream::pending(), LONG).await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn a_second_signal_drops_what_is_not_done() {
        let (life, (signal, signals)) = (Lifecycle::new(), signals());
        life.spawn("stuck", pending());
        signal.send(()).unwrap();
        signal.send(()).unwrap();
        assert_eq!(run(life, signals, LONG).await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn so_does_the_end_of_the_grace() {
        let (life, (signal, signals)) = (Lifecycle::new(), signals());
        life.spawn("stuck", pending());
        signal.send(()).unwrap();
        assert_eq!(run(life, signals, Duration::from_millis(20)).await, ExitCode::FAILURE);
    }

    #[tokio::test]
    async fn stop_does_what_a_signal_does() {
        let life = Lifecycle::new();
        life.stop();
        assert_eq!(run(life, stream::pending(), LONG).await, ExitCode::SUCCESS);
    }
}
