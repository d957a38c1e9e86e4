//! What can be typed.

mod commands;
mod wrap;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum, ValueHint};

pub(super) use self::commands::{Command, QueueCommand, SessionCommand};
pub(super) use self::wrap::{Barrier, Register, Run, Semaphore, Take};

/// Looks after a coordinator, ours or Apache ZooKeeper: znodes, access, members, locks.
///
/// Without a command it asks for commands.
#[derive(Debug, Parser)]
#[command(name = "coordctl", version, max_term_width = 110, after_help = EXAMPLES)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  coordctl ls -R /                                   every znode
  coordctl --server a:2181,b:2181 status             one line for each member
  coordctl lock /locks/backup -- ./backup.sh         one backup at a time, wherever it runs

A profile is a file of flags, `server = a:2181,b:2181` in a line each, called NAME.properties in coordctl's directory below XDG_CONFIG_HOME or ~/.config. Flags go before the environment, and that before the profile.

Exit codes: 0 it worked; 1 it did not, or grep found nothing, or diff found differences; 2 the command line makes no sense. Commands that run another command have more.";

/// Commands are those of coordctl; `exit`, `quit` or Ctrl-D leaves.
#[derive(Debug, Parser)]
#[command(
    name = "coordctl",
    no_binary_name = true,
    disable_version_flag = true,
    override_usage = "COMMAND [ARGUMENTS]",
    mut_subcommand("shell", |shell| shell.hide(true))
)]
pub(super) struct Line {
    /// How to print
    #[arg(short, long, global = true, value_enum)]
    pub(super) output: Option<Format>,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes, as far as it was said.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct Global {
    /// Servers, and perhaps a path that is put before every other: host:port,host:port/chroot [default: localhost:2181]
    #[arg(long, global = true, env = "COORDCTL_SERVER")]
    pub(super) server: Option<String>,
    /// How long to try to connect, and how long the session outlives this program if it is killed [default: 10]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub(super) timeout: Option<Duration>,
    /// An identity to present, as scheme:token, for example digest:name:password; may be repeated
    #[arg(long, global = true, value_name = "SCHEME:TOKEN")]
    pub(super) auth: Vec<String>,
    /// Name and password for SASL DIGEST-MD5, as name:password
    #[arg(long, global = true, env = "COORDCTL_SASL", hide_env_values = true, value_name = "NAME:PASSWORD")]
    pub(super) sasl: Option<String>,
    /// Encrypt, and trust servers with certificates of the authorities in this PEM file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) tls_ca: Option<PathBuf>,
    /// The certificate to show, and its key, in one PEM file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) tls_identity: Option<PathBuf>,
    /// Make do with a server that has no quorum
    #[arg(long, global = true)]
    pub(super) read_only: bool,
    /// Where the servers' admin endpoint is, as host:port [default: the first server's host, port 8080]
    #[arg(long, global = true, env = "COORDCTL_ADMIN", value_name = "HOST:PORT")]
    pub(super) admin: Option<String>,
    /// Take what is not said from this profile
    #[arg(long, global = true, env = "COORDCTL_PROFILE", value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// How to print [default: table]
    #[arg(short, long, global = true, value_enum, help_heading = "Options")]
    pub(super) output: Option<Format>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    Table,
    /// Values with tabs between them, for scripts
    Plain,
    /// JSON
    Json,
}

/// A time in seconds, with a fraction if need be.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The command and all below it that do something.
    fn leaves<'a>(command: &'a clap::Command, found: &mut Vec<&'a clap::Command>) {
        let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
        if below.is_empty() {
            found.push(command);
        }
        below.into_iter().for_each(|below| leaves(below, found));
    }

    #[test]
    fn the_flags_are_consistent_and_every_command_has_three_examples() {
        let mut command = Flags::command();
        command.build();
        command.clone().debug_assert();
        Line::command().debug_assert();
        let mut found = Vec::new();
        leaves(&command, &mut found);
        assert!(found.len() > 30, "{}", found.len());
        for subcommand in found {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples =
                help.lines().filter(|line| line.starts_with("  ") && line.contains("coordctl")).count();
            assert!(examples >= 3, "{}: {examples} examples", subcommand.get_name());
        }
    }
}
