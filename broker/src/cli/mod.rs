//! The command line: what was typed becomes a configuration, and something is done with it.

#[cfg(feature = "dev")]
mod dev;
mod healthcheck;
mod logging;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{Config, Sources, settings};
use crate::server::Running;

const EXAMPLES: &str = "\
Examples:
  broker dev                                    a coordinator and a broker on this machine, to try things
  broker --config server.properties             as Apache Kafka would with this file
  broker --set broker.id=1 --set zookeeper.connect=localhost:2181
  broker config check --config server.properties
  broker healthcheck --server localhost:9092    exit code 0 when it serves

Precedence: --set, then variable (KAFKA_LOG_DIRS is log.dirs), then file, then default.";

/// A message broker that speaks Kafka's protocol.
#[derive(Debug, Parser)]
#[command(name = "broker", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sources: SourceFlags,
}

/// Where settings come from.
#[derive(Debug, Args)]
struct SourceFlags {
    /// A server.properties file.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, as in the file; may be given many times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,
}

impl SourceFlags {
    fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.settings.clone())
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a coordinator and a broker in one process, on loopback.
    #[cfg(feature = "dev")]
    Dev(dev::DevFlags),
    /// Look at a configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a broker whether it serves.
    Healthcheck {
        /// Where it listens.
        #[arg(long, default_value = "localhost:9092", value_name = "HOST:PORT")]
        server: String,
    },
    /// Print completions for a shell.
    Completions { shell: Shell },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with a configuration, and what it comes to.
    Check(SourceFlags),
}

/// Parses the command line of the process and carries it out.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    let done = match flags.command {
        None => run(&flags.sources.sources()),
        #[cfg(feature = "dev")]
        Some(Command::Dev(flags)) => dev::run(&flags),
        Some(Command::Config(ConfigCommand::Check(sources))) => return check(&sources.sources()),
        Some(Command::Healthcheck { server }) => healthcheck::run(&server),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut command(), "broker", &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Man) => {
            clap_mangen::Man::new(command()).render(&mut std::io::stdout()).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> clap::Command {
    <Flags as clap::CommandFactory>::command()
}

/// The configuration; what is wrong with it goes into the error, what is worth a line into the log.
fn load(sources: &Sources) -> anyhow::Result<Config> {
    let (config, problems) = Config::load(sources);
    for warning in &problems.warnings {
        tracing::warn!("{warning}");
    }
    config.ok_or_else(|| {
        let errors: Vec<String> = problems.errors.iter().map(|error| format!("  {error}")).collect();
        anyhow::anyhow!("the configuration cannot be used:\n{}", errors.join("\n"))
    })
}

fn check(sources: &Sources) -> ExitCode {
    let (config, problems) = Config::load(sources);
    for warning in &problems.warnings {
        println!("warning: {warning}");
    }
    for error in &problems.errors {
        println!("error: {error}");
    }
    let Some(config) = config else { return ExitCode::FAILURE };
    for setting in settings::SETTINGS {
        if let Some(value) = config.values.explicit(setting.name) {
            let shown = if setting.kind == settings::Kind::Password { "***" } else { value };
            println!("{}={shown}", setting.name);
        }
    }
    println!("the configuration is good");
    ExitCode::SUCCESS
}

fn run(sources: &Sources) -> anyhow::Result<()> {
    logging::start()?;
    let config = load(sources)?;
    runtime()?.block_on(async {
        let running = Running::start(config).await?;
        announce(&running);
        asked_to_stop().await?;
        running.stop().await;
        Ok(())
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// Says who is told to connect where.
fn announce(running: &Running) {
    let broker = &running.broker;
    for (name, address) in &running.addresses {
        let told = broker.config.listeners.advertised.iter().find(|endpoint| endpoint.listener == *name);
        let told = told.map(|endpoint| {
            let port = if endpoint.port == 0 { address.port() } else { endpoint.port };
            format!("{}:{port}", endpoint.host)
        });
        tracing::info!(listener = name, %address, clients_are_told = told, "serving");
    }
}

async fn asked_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    Ok(())
}
