//! `slotd serve` and `slotd migrate`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context;
use tokio::net::TcpListener;

use super::{keys::master_keys, output, start_logs};
use crate::{app, config::Config, lifecycle::Lifecycle};

/// Runs the daemon until it is told to stop.
pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    start_logs(config)?;
    let master = Arc::new(master_keys(config)?);
    let bind = config.http.bind;
    let listener = TcpListener::bind(bind).await.with_context(|| format!("cannot listen on http.bind = {bind}"))?;
    let life = Lifecycle::new();
    let daemon = app::start(config, master, listener, &life).await?;
    tracing::info!(api = %daemon.api, metrics = %daemon.metrics, engine = daemon.store.engine_name(), "slotd is up");
    let code = life.run_until_stopped().await;
    daemon.store.close().await;
    Ok(code)
}

/// Brings the database to this version.
pub(super) async fn migrate(config: &Config) -> anyhow::Result<ExitCode> {
    let store = app::open_store(config, Arc::new(master_keys(config)?)).await?;
    store.close().await;
    output::say("The database is up to date.");
    Ok(ExitCode::SUCCESS)
}
