//! `slotd api-key` and `slotd encryption-key`.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};

use super::output;
use crate::{
    app,
    auth::{Keys, NewKey},
    config::Config,
    crypto::MasterKeys,
    domain::{
        BusinessId,
        clock::{SystemChance, SystemClock},
        id::ApiKeyId,
    },
    store::{self, Lane, Store, api_keys::Scope},
};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Make a key and print it, this once
    Create {
        /// What it may do
        #[arg(long, value_enum)]
        scope: ScopeArgument,
        /// The one business that it is good for; without it, the whole platform
        #[arg(long)]
        business: Option<BusinessId>,
        /// Whose it is
        #[arg(long)]
        label: String,
        /// From then on it is refused, such as 2027-01-01T00:00:00Z
        #[arg(long)]
        expires_at: Option<DateTime<Utc>>,
    },
    /// List keys, without their secrets
    List,
    /// End a key at once
    Revoke {
        /// Its id, as `list` shows it
        id: ApiKeyId,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ScopeArgument {
    Receptionist,
    Owner,
    Admin,
}

impl From<ScopeArgument> for Scope {
    fn from(scope: ScopeArgument) -> Self {
        match scope {
            ScopeArgument::Receptionist => Self::Receptionist,
            ScopeArgument::Owner => Self::Owner,
            ScopeArgument::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum EncryptionKeyCommand {
    /// Make a key file. Keep a copy apart from the database: without it the data cannot be read.
    Generate {
        /// Where to; an existing file is never overwritten
        file: PathBuf,
    },
}

/// The master keys that a configuration names.
pub(super) fn master_keys(config: &Config) -> anyhow::Result<MasterKeys> {
    let file = config.keys.file.as_deref().context(
        "keys.file is not set: make a key file with `slotd encryption-key generate FILE` and set keys.file to it",
    )?;
    Ok(MasterKeys::read(file)?)
}

pub(super) fn encryption_key(command: EncryptionKeyCommand) -> anyhow::Result<ExitCode> {
    let EncryptionKeyCommand::Generate { file } = command;
    generate(&file)?;
    output::say(&format!("Wrote {}. Keep a copy apart from the database.", file.display()));
    Ok(ExitCode::SUCCESS)
}

/// Makes a key file with one fresh key.
pub(super) fn generate(file: &std::path::Path) -> anyhow::Result<MasterKeys> {
    let keys = MasterKeys::generate("k1", &SystemChance)?;
    keys.write_new(file)?;
    Ok(keys)
}

pub(super) async fn api_key(config: &Config, command: ApiKeyCommand) -> anyhow::Result<ExitCode> {
    let store = app::open_store(config, Arc::new(master_keys(config)?)).await?;
    let done = run(&store, command).await;
    store.close().await;
    done
}

async fn run(store: &Store, command: ApiKeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        ApiKeyCommand::Create { scope, business, label, expires_at } => {
            let keys = Keys::new(store.clone(), Arc::new(SystemClock), Arc::new(SystemChance));
            let (_, token) = keys.create(NewKey { business, scope: scope.into(), label, expires_at }).await?;
            output::say(token.reveal());
        }
        ApiKeyCommand::List => {
            let list = store::work::<Vec<store::api_keys::ApiKey>, store::Error, _>(|tx| {
                Box::pin(async move { tx.api_keys().await })
            });
            for key in store.read(list).await? {
                let business = key.business.map_or_else(|| "platform".to_owned(), |id| id.to_string());
                let state = if key.revoked_at.is_some() { "revoked" } else { "valid" };
                output::say(&format!(
                    "{}  slotd_{}…  {}  {business}  {state}  {}",
                    key.id,
                    key.prefix,
                    key.scope.as_str(),
                    key.label
                ));
            }
        }
        ApiKeyCommand::Revoke { id } => {
            let revoke =
                store::work::<bool, store::Error, _>(move |tx| Box::pin(async move { tx.revoke_api_key(id).await }));
            anyhow::ensure!(store.write(Lane::Caller, revoke).await?, "there is no valid key with this id");
            output::say("The key is ended.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
