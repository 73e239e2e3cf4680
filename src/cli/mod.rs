//! The commands: what a person types.

mod audit;
mod client;
mod deliveries;
#[cfg(feature = "sandbox")]
mod demo;
mod doctor;
mod keys;
mod output;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::{
    config::{Config, Sources},
    telemetry::logs,
};

/// Mirrors Google Calendars, answers "is it free?", and takes bookings that cannot collide.
#[derive(Debug, Parser)]
#[command(name = "slotd", version, after_help = "Start with: slotd demo")]
struct Arguments {
    /// The configuration file. Settings can also come from the environment, such as `SLOTD_HTTP__BIND=0.0.0.0:8080`.
    #[arg(long, global = true, value_name = "FILE", env = "SLOTD_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole product with a stand-in for Google and a salon to play with
    #[cfg(feature = "sandbox")]
    Demo(demo::Arguments),
    /// Run the daemon
    Serve,
    /// Run only the stand-in for Google
    #[cfg(feature = "sandbox")]
    Sandbox(sandbox::Arguments),
    /// Bring the database to this version and stop
    Migrate,
    /// Let the running daemon compare mirrors with Google, and wait for what it finds. Exits with 0 when all are equal, 1
    /// when an audit failed or did not end in time, 2 when one found drift
    Audit(audit::Arguments),
    /// Look at an installation and say what is wrong with it and what to do. Only reads; a daemon may be running. Exits
    /// with 0 when all is well, 1 with warnings, 2 with failures
    Doctor(doctor::Arguments),
    /// List deliveries that wait or were given up, or try again those that were given up
    #[command(subcommand)]
    Deliveries(deliveries::DeliveriesCommand),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, list or end API keys
    #[command(subcommand, name = "api-key")]
    ApiKey(keys::ApiKeyCommand),
    /// Make the key file that protects everything personal or secret
    #[command(subcommand, name = "encryption-key")]
    EncryptionKey(keys::EncryptionKeyCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is good
    Check,
    /// Print the configuration in force, without secrets
    Print,
}

/// Runs the command line and tells the process how it went: 0 when done, 1 when it failed, 2 when it was misused.
#[must_use]
pub fn main() -> ExitCode {
    crate::google::install_tls_provider();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("cannot start")),
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors name their cause themselves.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    output::complain(&text);
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = Config::load(&Sources::of_process(arguments.config))?;
    match arguments.command {
        #[cfg(feature = "sandbox")]
        Command::Demo(arguments) => Box::pin(demo::run(config, arguments)).await,
        Command::Serve => serve::run(&config).await,
        #[cfg(feature = "sandbox")]
        Command::Sandbox(arguments) => sandbox::run(&config, arguments).await,
        Command::Migrate => serve::migrate(&config).await,
        Command::Audit(arguments) => audit::run(&config, &arguments).await,
        Command::Doctor(arguments) => Ok(doctor::run(&config, &arguments).await),
        Command::Deliveries(command) => deliveries::run(&config, command).await,
        Command::Config(ConfigCommand::Check) => {
            output::say("The configuration is good.");
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::Print) => {
            output::say(&config.to_toml());
            Ok(ExitCode::SUCCESS)
        }
        Command::ApiKey(command) => keys::api_key(&config, command).await,
        Command::EncryptionKey(command) => keys::encryption_key(command),
    }
}

/// Starts logging as the configuration says.
fn start_logs(config: &Config) -> anyhow::Result<()> {
    logs::init(&config.log.filter, config.log.format.json()).context("cannot start logging")
}
