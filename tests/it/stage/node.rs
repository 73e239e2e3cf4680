//! One daemon, with a runtime and a log of its own.

use std::{
    io,
    net::Ipv4Addr,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use slotd::{
    app::{self, Daemon},
    config::Config,
    crypto::MasterKeys,
    lifecycle::Lifecycle,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tracing::{Dispatch, level_filters::LevelFilter};
use tracing_subscriber::{Registry, fmt, layer::SubscriberExt};
use url::Url;

/// Where a daemon takes pushes.
pub(super) const PUSH_PATH: &str = "api/v1/webhooks/google-calendar";

/// What a daemon wrote to its log.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines at error level: faults of the daemon's own.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect()
    }
}

/// A running daemon. Its runtime is its own, so that its log holds its lines and nobody else's, whatever else runs in
/// this process.
pub(crate) struct Node {
    pub(crate) daemon: Daemon,
    pub(crate) log: Log,
    pub(super) life: Lifecycle,
    pub(super) runtime: Runtime,
}

impl Node {
    /// Starts a daemon on a free port. Google pushes to it, unless the configuration names somebody else.
    pub(super) async fn start(config: Config, master: Arc<MasterKeys>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::start_on(listener.into_std().unwrap(), config, master).await
    }

    /// The same on a port that is open already.
    pub(super) async fn start_on(listener: std::net::TcpListener, mut config: Config, master: Arc<MasterKeys>) -> Self {
        let (log, life) = (Log::default(), Lifecycle::new());
        let writer = log.clone();
        let lines = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let dispatch = Dispatch::new(Registry::default().with(LevelFilter::INFO).with(lines));
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            // The guard would end it with this call; each thread keeps it for life.
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
            .build()
            .unwrap();
        let tasks = life.clone();
        let start = runtime.spawn(async move {
            let listener = TcpListener::from_std(listener)?;
            let own = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
            config.google.push_url.get_or_insert(own.join(PUSH_PATH)?);
            config.http.public_url = Some(own);
            app::start(&config, master, listener, &tasks).await
        });
        Self { daemon: start.await.unwrap().unwrap(), log, life, runtime }
    }

    /// Where it answers, without a trailing slash.
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.daemon.api)
    }

    /// Stops as SIGTERM does. Nobody may be in a runtime on this thread.
    pub(super) fn stop(self) {
        let Self { daemon, log, life, runtime } = self;
        let code = runtime.block_on(async {
            life.stop();
            let code = life.run_until_stopped().await;
            daemon.store.close().await;
            code
        });
        assert_eq!(code, ExitCode::SUCCESS, "{}", log.text());
        assert_eq!(log.errors(), Vec::<String>::new());
    }
}
