//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

/// Looks after a coordinator, ours or Apache ZooKeeper: znodes, access, members, locks.
#[derive(Debug, Parser)]
#[command(name = "coordctl", version, max_term_width = 110, after_help = EXAMPLES)]
pub(super) struct Flags {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  coordctl ls -R /                                   every znode
  coordctl --server a:2181,b:2181 status             one line for each member
  coordctl lock /locks/backup -- ./backup.sh         one backup at a time, wherever it runs

Exit codes: 0 it worked; 1 it did not; 2 the command line makes no sense; lock and elect have more.";

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Servers, and perhaps a path that is put before every other: host:port,host:port/chroot
    #[arg(
        long,
        global = true,
        env = "COORDCTL_SERVER",
        default_value = "localhost:2181",
        help_heading = "Connection"
    )]
    pub(super) server: String,
    /// How long to try to connect, and how long the session outlives this program if it is killed
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, default_value = "10", help_heading = "Connection")]
    pub(super) timeout: Duration,
    /// An identity to present, as scheme:token, for example digest:name:password; may be repeated
    #[arg(long, global = true, value_name = "SCHEME:TOKEN", help_heading = "Connection")]
    pub(super) auth: Vec<String>,
    /// Name and password for SASL DIGEST-MD5, as name:password
    #[arg(
        long,
        global = true,
        env = "COORDCTL_SASL",
        hide_env_values = true,
        value_name = "NAME:PASSWORD",
        help_heading = "Connection"
    )]
    pub(super) sasl: Option<String>,
    /// Encrypt, and trust servers with certificates of the authorities in this PEM file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Connection")]
    pub(super) tls_ca: Option<PathBuf>,
    /// The certificate to show, and its key, in one PEM file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_ca", help_heading = "Connection")]
    pub(super) tls_identity: Option<PathBuf>,
    /// Make do with a server that has no quorum
    #[arg(long, global = true, help_heading = "Connection")]
    pub(super) read_only: bool,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
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

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the children of a znode
    #[command(
        after_help = "Examples:\n  coordctl ls /\n  coordctl ls -R /config\n  coordctl ls -s -o json /brokers"
    )]
    Ls {
        #[arg(default_value = "/")]
        path: String,
        /// Everything below, with full paths
        #[arg(short = 'R', long)]
        recursive: bool,
        /// With versions, sizes and owners
        #[arg(short, long)]
        stat: bool,
    },
    /// Draw everything below a znode
    #[command(
        after_help = "Examples:\n  coordctl tree\n  coordctl tree /brokers\n  coordctl tree --depth 2 /"
    )]
    Tree {
        #[arg(default_value = "/")]
        path: String,
        /// Go no deeper than this
        #[arg(long, default_value_t = u32::MAX, hide_default_value = true)]
        depth: u32,
    },
    /// Print a znode's data
    #[command(
        after_help = "Examples:\n  coordctl get /config/limits\n  coordctl get /image > file\n  coordctl get -o json /config/limits"
    )]
    Get { path: String },
    /// Print a znode's numbers
    #[command(
        after_help = "Examples:\n  coordctl stat /config\n  coordctl stat -o json /config\n  coordctl stat -o plain /config | cut -f 6"
    )]
    Stat { path: String },
    /// Replace a znode's data
    #[command(
        after_help = "Examples:\n  coordctl set /config/limits 100\n  coordctl set --if-version 3 /config/limits 100\n  coordctl set /image - < file"
    )]
    Set {
        path: String,
        /// The data; - reads the standard input
        data: String,
        /// Only if the znode has this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i32>,
    },
    /// Create a znode, and print its path
    #[command(
        after_help = "Examples:\n  coordctl create /config\n  coordctl create -p /a/b/c data\n  coordctl create --sequential /jobs/job- data"
    )]
    Create {
        path: String,
        /// The data; - reads the standard input
        #[arg(default_value = "")]
        data: String,
        /// Create what is missing above it too
        #[arg(short, long)]
        parents: bool,
        /// Let the server add ten digits to the name
        #[arg(long, conflicts_with = "container")]
        sequential: bool,
        /// Let it go with its last child
        #[arg(long)]
        container: bool,
        /// Let it go when it has been unused for so long
        #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "container")]
        ttl: Option<Duration>,
        /// Who may do what: scheme:id:perms,… with perms from cdrwa
        #[arg(long)]
        acl: Option<String>,
    },
    /// Delete a znode
    #[command(
        after_help = "Examples:\n  coordctl delete /old\n  coordctl delete -r /old\n  coordctl delete --if-version 3 /old"
    )]
    Delete {
        path: String,
        /// And everything below it
        #[arg(short, long)]
        recursive: bool,
        /// Only if the znode has this version
        #[arg(long, value_name = "VERSION", conflicts_with = "recursive")]
        if_version: Option<i32>,
    },
    /// List znodes by name or data
    #[command(
        after_help = "Examples:\n  coordctl find / --name 'lock-*'\n  coordctl find /config --data password\n  coordctl find / --ephemeral"
    )]
    Find {
        #[arg(default_value = "/")]
        path: String,
        /// Whose name matches this, with * and ?
        #[arg(long, value_name = "PATTERN")]
        name: Option<String>,
        /// Whose data has this text in it
        #[arg(long, value_name = "TEXT")]
        data: Option<String>,
        /// That go with a session
        #[arg(long)]
        ephemeral: bool,
    },
    /// Count znodes and bytes below each child
    #[command(after_help = "Examples:\n  coordctl du\n  coordctl du /brokers\n  coordctl du -o json /")]
    Du {
        #[arg(default_value = "/")]
        path: String,
    },
    /// Copy a znode and everything below it; ephemerals are left out
    #[command(
        after_help = "Examples:\n  coordctl cp /config /config-copy\n  coordctl cp /config /config --to other:2181\n  coordctl cp --overwrite /a /b"
    )]
    Cp {
        from: String,
        to: String,
        /// To these servers instead of the same ones
        #[arg(long = "to", value_name = "SERVER", id = "to_server")]
        to_server: Option<String>,
        /// Replace the data of what exists
        #[arg(long)]
        overwrite: bool,
    },
    /// Print changes as they happen, until interrupted
    #[command(
        after_help = "Examples:\n  coordctl watch -R /config\n  coordctl watch /leader\n  coordctl watch -R / -o json | jq .path"
    )]
    Watch {
        #[arg(default_value = "/")]
        path: String,
        /// Everything below it too
        #[arg(short = 'R', long)]
        recursive: bool,
    },
    /// Write a znode and everything below it as JSON lines; ephemerals are left out
    #[command(
        after_help = "Examples:\n  coordctl export / > all.jsonl\n  coordctl export /config | gzip > config.jsonl.gz\n  coordctl export /a | coordctl import --at /b"
    )]
    Export {
        #[arg(default_value = "/")]
        path: String,
    },
    /// Create what an export has written, from the standard input
    #[command(
        after_help = "Examples:\n  coordctl import < all.jsonl\n  coordctl import --at /restored < config.jsonl\n  coordctl import --overwrite < all.jsonl"
    )]
    Import {
        /// Below this znode instead of where it was
        #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
        at: String,
        /// Replace data and access control lists of what exists
        #[arg(long)]
        overwrite: bool,
    },
    /// Print who may do what with a znode, or change it
    #[command(
        after_help = "Examples:\n  coordctl acl /config\n  coordctl acl /config world:anyone:r,digest:ann:HASH=:cdrwa\n  coordctl acl -R /config world:anyone:r"
    )]
    Acl {
        path: String,
        /// The new list: scheme:id:perms,… with perms from cdrwa
        acl: Option<String>,
        /// Everything below it too
        #[arg(short = 'R', long, requires = "acl")]
        recursive: bool,
    },
    /// Print the limits of a subtree, or change them
    #[command(
        after_help = "Examples:\n  coordctl quota /tenants/a\n  coordctl quota /tenants/a --count 1000 --hard-bytes 1000000\n  coordctl quota /tenants/a --remove"
    )]
    Quota {
        path: String,
        /// Warn above so many znodes
        #[arg(long)]
        count: Option<i64>,
        /// Warn above so many bytes
        #[arg(long)]
        bytes: Option<i64>,
        /// Refuse more znodes than this
        #[arg(long)]
        hard_count: Option<i64>,
        /// Refuse more bytes than this
        #[arg(long)]
        hard_bytes: Option<i64>,
        /// Take all limits away
        #[arg(long, conflicts_with_all = ["count", "bytes", "hard_count", "hard_bytes"])]
        remove: bool,
    },
    /// Print who the members are
    #[command(
        after_help = "Examples:\n  coordctl config\n  coordctl config -o json\n  coordctl config | grep version"
    )]
    Config,
    /// Change who the members are
    #[command(
        after_help = "Examples:\n  coordctl reconfig --add 'server.4=d:2888:3888;2181'\n  coordctl reconfig --remove 4\n  coordctl reconfig --members 'server.1=a:2888:3888;2181,server.2=b:2888:3888;2181'"
    )]
    Reconfig {
        /// A member that joins or changes, as a configuration file has it; may be repeated
        #[arg(long, value_name = "SERVER.N=…")]
        add: Vec<String>,
        /// The number of a member that leaves; may be repeated
        #[arg(long, value_name = "N")]
        remove: Vec<u64>,
        /// All members, instead of changes
        #[arg(long, value_name = "SERVER.N=…,…", conflicts_with_all = ["add", "remove"])]
        members: Option<String>,
        /// Only if the configuration has this version, a hexadecimal number
        #[arg(long, value_name = "VERSION")]
        if_version: Option<String>,
    },
    /// Print who the server takes us for
    #[command(
        after_help = "Examples:\n  coordctl whoami\n  coordctl --auth digest:ann:secret whoami\n  coordctl --sasl ann:secret whoami"
    )]
    Whoami,
    /// Ask every server how it is; exit code 1 unless all serve and one leads
    #[command(
        after_help = "Examples:\n  coordctl status\n  coordctl --server a,b,c status\n  coordctl status -o json"
    )]
    Status,
    /// Send a four-letter word to every server, and print what they say
    #[command(
        after_help = "Examples:\n  coordctl fourlw ruok\n  coordctl fourlw mntr\n  coordctl --server a:2181 fourlw srvr"
    )]
    Fourlw { word: String },
    /// Run a command while holding a lock
    #[command(after_help = RUN_HELP_LOCK)]
    Lock(Run),
    /// Run a command while leading
    #[command(after_help = RUN_HELP_ELECT)]
    Elect(Run),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  coordctl completions bash > /etc/bash_completion.d/coordctl\n  coordctl completions zsh > _coordctl\n  coordctl completions fish | source"
    )]
    Completions { shell: Shell },
}

macro_rules! run_help {
    ($first:literal) => {
        concat!(
            $first,
            "\n\nThe command finds in COORDCTL_FENCE a number that is larger than that of every earlier holder, and in\n\
             COORDCTL_ZNODE the znode that stands for it. When the lock is lost the command is sent SIGTERM, and SIGKILL ten\n\
             seconds later.\n\n\
             Exit codes: the command's own, or 128 and the number of the signal that ended it; 124 nobody let us have it in\n\
             time; 125 it was lost; 126 the command cannot be started."
        )
    };
}

const RUN_HELP_LOCK: &str = run_help!(
    "Examples:\n  coordctl lock /locks/backup -- ./backup.sh\n  coordctl lock --wait 0 /locks/cron -- make report\n  coordctl lock /l -- sh -c 'echo $COORDCTL_FENCE'"
);
const RUN_HELP_ELECT: &str = run_help!(
    "Examples:\n  coordctl elect /leader -- ./scheduler\n  coordctl elect --name $HOSTNAME /leader -- ./scheduler\n  coordctl elect --wait 60 /leader -- ./once"
);

/// A command to run, and what for.
#[derive(Debug, Args)]
pub(super) struct Run {
    pub(super) path: String,
    /// Give up after so long; 0 does not wait at all
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) wait: Option<Duration>,
    /// What others see of us
    #[arg(long, default_value = "")]
    pub(super) name: String,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(super) command: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent_and_every_command_has_three_examples() {
        let mut command = Flags::command();
        command.build();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples =
                help.lines().filter(|line| line.starts_with("  ") && line.contains("coordctl")).count();
            assert!(examples >= 3, "{}: {examples} examples", subcommand.get_name());
        }
    }
}
