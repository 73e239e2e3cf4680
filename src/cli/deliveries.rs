//! `slotd deliveries`: what waits or was given up, and trying it again. Works on the database, beside a running daemon.

use std::{process::ExitCode, sync::Arc};

use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::{keys::master_keys, output};
use crate::{
    app,
    config::Config,
    domain::{BusinessId, id::DeliveryId},
    store::{
        self, Lane, Store,
        deliveries::{OwedDelivery, Retried},
    },
};

/// Deliveries read or tried again in one transaction.
const BATCH: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum DeliveriesCommand {
    /// List them, without what they say
    List {
        /// Those that were given up, or those that wait
        #[arg(long, value_enum, default_value = "dead")]
        state: StateArgument,
        /// Of one business only
        #[arg(long)]
        business: Option<BusinessId>,
        /// One JSON document for scripts
        #[arg(long)]
        json: bool,
    },
    /// Try again what was given up. The daemon does it within seconds
    Retry {
        /// One of them, as `list` shows it, with --business
        #[arg(requires = "business", required_unless_present = "all")]
        id: Option<DeliveryId>,
        /// Of this business
        #[arg(long)]
        business: Option<BusinessId>,
        /// All of them, or all of a business
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StateArgument {
    Dead,
    Waiting,
}

pub(super) async fn run(config: &Config, command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    let store = app::open_store(config, Arc::new(master_keys(config)?)).await?;
    let done = match command {
        DeliveriesCommand::List { state, business, json } => {
            list(&store, business, state == StateArgument::Dead, json).await
        }
        DeliveriesCommand::Retry { id: Some(id), business: Some(business), .. } => one(&store, business, id).await,
        DeliveriesCommand::Retry { business, .. } => all(&store, business).await,
    };
    store.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn list(store: &Store, business: Option<BusinessId>, dead: bool, as_json: bool) -> anyhow::Result<()> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let read = store::work::<Vec<OwedDelivery>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.deliveries(business, dead, after, BATCH).await })
        });
        let page = store.read(read).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        found.extend(page);
    }
    if as_json {
        let deliveries: Vec<_> = found
            .iter()
            .map(|one| {
                json!({
                    "id": one.id, "business_id": one.business, "kind": one.kind, "booking_id": one.booking,
                    "endpoint_id": one.endpoint, "attempts": one.attempts, "last_error": one.last_error,
                    "due_at": one.due_at, "created_at": one.created_at,
                })
            })
            .collect();
        output::say(&json!({ "deliveries": deliveries }).to_string());
        return Ok(());
    }
    for one in &found {
        let why = one.last_error.as_deref().unwrap_or("-");
        output::say(&format!("{}  {}  {}  {} tries  {why}", one.id, one.business, one.kind, one.attempts));
    }
    output::say(&format!("{} deliveries.", found.len()));
    Ok(())
}

async fn one(store: &Store, business: BusinessId, id: DeliveryId) -> anyhow::Result<()> {
    let again = store::work::<Retried, store::Error, _>(move |tx| {
        Box::pin(async move { tx.retry_delivery(business, id).await })
    });
    match store.write(Lane::Caller, again).await? {
        Retried::Due => output::say("It is tried again."),
        Retried::Unknown => anyhow::bail!("there is no delivery with this id"),
        Retried::Alive => anyhow::bail!("it was not given up: it is tried by itself"),
        Retried::Disabled => anyhow::bail!("its endpoint is disabled: enable it first"),
    }
    Ok(())
}

async fn all(store: &Store, business: Option<BusinessId>) -> anyhow::Result<()> {
    let (mut due, mut left, mut after) = (0, 0, None);
    loop {
        let batch = store::work::<(Vec<Retried>, Option<DeliveryId>), store::Error, _>(move |tx| {
            Box::pin(async move { tx.retry_dead(business, after, BATCH).await })
        });
        let (outcomes, last) = store.write(Lane::Caller, batch).await?;
        let again = outcomes.iter().filter(|outcome| **outcome == Retried::Due).count();
        due += again;
        left += outcomes.len() - again;
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    output::say(&format!("{due} deliveries are tried again."));
    if left > 0 {
        output::say(&format!("{left} are left: their endpoints are disabled."));
    }
    Ok(())
}
