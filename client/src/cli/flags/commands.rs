//! The commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueHint};
use clap_complete::Shell;

use super::seconds;
use super::wrap::{self, Barrier, Register, Run, Semaphore, Take};

/// What to do.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List the children of a znode
    #[command(
        after_help = "Examples:\n  coordctl ls /\n  coordctl ls -R /config\n  coordctl ls -s -o json /brokers"
    )]
    Ls {
        /// The znode
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
        /// The znode
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
    Get {
        /// The znode
        path: String,
    },
    /// Print a znode's numbers
    #[command(
        after_help = "Examples:\n  coordctl stat /config\n  coordctl stat -o json /config\n  coordctl stat -o plain /config | cut -f 6"
    )]
    Stat {
        /// The znode
        path: String,
    },
    /// Replace a znode's data
    #[command(
        after_help = "Examples:\n  coordctl set /config/limits 100\n  coordctl set --if-version 3 /config/limits 100\n  coordctl set /image - < file"
    )]
    Set {
        /// The znode
        path: String,
        /// The data; - reads the standard input
        #[arg(allow_negative_numbers = true)]
        data: String,
        /// Only if the znode has this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<i32>,
    },
    /// Change a znode's data in an editor, unless somebody else changes it meanwhile
    ///
    /// The editor is $VISUAL, $EDITOR or vi.
    #[command(
        after_help = "Examples:\n  coordctl edit /config/limits\n  EDITOR=nano coordctl edit /config/limits\n  EDITOR='sed -i s/8080/8081/' coordctl edit /config/ports"
    )]
    Edit {
        /// The znode
        path: String,
    },
    /// Create a znode, and print its path
    #[command(
        after_help = "Examples:\n  coordctl create /config\n  coordctl create -p /a/b/c data\n  coordctl create --sequential /jobs/job- data"
    )]
    Create {
        /// The znode
        path: String,
        /// The data; - reads the standard input
        #[arg(default_value = "", hide_default_value = true, allow_negative_numbers = true)]
        data: String,
        /// Create what is missing above it too
        #[arg(short, long)]
        parents: bool,
        /// Let the server add ten digits to the name
        #[arg(long, conflicts_with = "container")]
        sequential: bool,
        /// Let it go with the session: when the shell ends, or at once where there is none
        #[arg(long, conflicts_with_all = ["container", "ttl"])]
        ephemeral: bool,
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
        /// The znode
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
        /// The znode
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
    /// Print lines of data that have a text in them, with their znodes; exit code 1 if there are none
    #[command(
        after_help = "Examples:\n  coordctl grep password /config\n  coordctl grep -i localhost\n  coordctl grep -l 8080 / | xargs -n 1 coordctl edit"
    )]
    Grep {
        /// What to look for
        text: String,
        /// The znode
        #[arg(default_value = "/")]
        path: String,
        /// Without regard to capitals
        #[arg(short, long)]
        ignore_case: bool,
        /// Only the znodes' paths
        #[arg(short = 'l', long)]
        paths: bool,
    },
    /// Count znodes and bytes below each child
    #[command(after_help = "Examples:\n  coordctl du\n  coordctl du /brokers\n  coordctl du -o json /")]
    Du {
        /// The znode
        #[arg(default_value = "/")]
        path: String,
    },
    /// Copy a znode and everything below it; ephemerals are left out
    #[command(
        after_help = "Examples:\n  coordctl cp /config /config-copy\n  coordctl cp /config /config --to other:2181\n  coordctl cp --overwrite /a /b"
    )]
    Cp {
        /// The znode to begin with
        from: String,
        /// Where the other one is, or is to be
        to: String,
        /// To these servers instead of the same ones
        #[arg(long = "to", value_name = "SERVER", id = "to_server")]
        to_server: Option<String>,
        /// Replace the data of what exists
        #[arg(long)]
        overwrite: bool,
    },
    /// Move a znode and everything below it, in one transaction
    #[command(
        after_help = "Examples:\n  coordctl mv /config /settings\n  coordctl mv /queue/stuck /attic/stuck\n  coordctl mv '/old name' /new-name"
    )]
    Mv {
        /// The znode
        from: String,
        /// Its new path
        to: String,
    },
    /// Compare two subtrees; exit code 1 if they differ. Ephemerals are left out
    #[command(
        after_help = "Examples:\n  coordctl diff /config /config-copy\n  coordctl diff /config /config --to other:2181\n  coordctl diff -o json /a /b\n\nEach difference is a line: - for what only the first has, + for what only the second has, ~ for what differs."
    )]
    Diff {
        /// The znode to begin with
        from: String,
        /// Where the other one is, or is to be
        to: String,
        /// The second is on these servers instead of the same ones
        #[arg(long = "to", value_name = "SERVER", id = "to_server")]
        to_server: Option<String>,
    },
    /// Make one subtree like another; ephemerals are left out
    #[command(
        after_help = "Examples:\n  coordctl mirror /config /config --to standby:2181\n  coordctl mirror --delete --dry-run /config /backup\n  coordctl mirror --delete --follow /config /config --to standby:2181"
    )]
    Mirror {
        /// The znode to begin with
        from: String,
        /// Where the other one is, or is to be
        to: String,
        /// To these servers instead of the same ones
        #[arg(long = "to", value_name = "SERVER", id = "to_server")]
        to_server: Option<String>,
        /// Delete what is only there
        #[arg(long)]
        delete: bool,
        /// Print what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Go on with every change, until interrupted
        #[arg(long, conflicts_with = "dry_run")]
        follow: bool,
    },
    /// Print changes as they happen, until interrupted
    #[command(
        after_help = "Examples:\n  coordctl watch -R /config\n  coordctl watch /leader\n  coordctl watch -R / -o json | jq .path"
    )]
    Watch {
        /// The znode
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
        /// The znode
        #[arg(default_value = "/")]
        path: String,
    },
    /// Create what an export has written, from the standard input
    ///
    /// An export says what each znode is below the one that was exported, not where that was.
    #[command(
        after_help = "Examples:\n  coordctl import < all.jsonl\n  coordctl import --at /config < config.jsonl\n  coordctl import --overwrite < all.jsonl"
    )]
    Import {
        /// The znode that takes the place of the one that was exported
        #[arg(long, value_name = "PATH", default_value = "/")]
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
        /// The znode
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
        /// The znode
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
    ///
    /// The lag is the number of transactions that a server is behind the leader.
    #[command(
        after_help = "Examples:\n  coordctl status\n  coordctl --server a,b,c status\n  coordctl status -o json\n\nExit codes: 0 every server serves and exactly one leads, or is alone; 1 not so; 2 the command line makes no sense."
    )]
    Status,
    /// Send a four-letter word to every server, and print what they say
    #[command(
        after_help = "Examples:\n  coordctl fourlw ruok\n  coordctl fourlw mntr\n  coordctl --server a:2181 fourlw srvr"
    )]
    Fourlw {
        /// The word
        word: String,
    },
    /// Look at sessions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Run a command while holding a lock
    #[command(after_help = wrap::LOCK)]
    Lock(Run),
    /// Run a command while leading
    #[command(after_help = wrap::ELECT)]
    Elect(Run),
    /// Run a command while holding one of so many leases
    #[command(after_help = wrap::SEMAPHORE)]
    Semaphore(Semaphore),
    /// Run a command when a barrier opens, or together with so many others
    #[command(after_help = wrap::BARRIER)]
    Barrier(Barrier),
    /// Put elements into a queue and take them out
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Run a command while a service is registered
    #[command(after_help = wrap::REGISTER)]
    Register(Register),
    /// Ask for commands: with a history, and completions of commands and znodes
    #[command(
        after_help = "Examples:\n  coordctl shell\n  coordctl --profile production shell\n  echo 'ls /' | coordctl shell"
    )]
    Shell,
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  coordctl completions bash > /etc/bash_completion.d/coordctl\n  coordctl completions zsh > _coordctl\n  coordctl completions fish | source"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands
    #[command(
        after_help = "Examples:\n  coordctl man | man -l -\n  coordctl man --directory /usr/local/share/man/man1\n  coordctl man > coordctl.1"
    )]
    Man {
        /// Write a page for each command into this directory
        #[arg(long, value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

impl Command {
    /// Whether it has its own way with interrupts: it runs a command that gets them too, or gives back what it holds.
    pub(in crate::cli) fn sees_to_interrupts(&self) -> bool {
        matches!(
            self,
            Command::Lock(_)
                | Command::Elect(_)
                | Command::Semaphore(_)
                | Command::Barrier(_)
                | Command::Register(_)
                | Command::Queue(QueueCommand::Take(_))
                | Command::Edit { .. }
        )
    }
}

/// About sessions.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SessionCommand {
    /// List the sessions that the servers know, with their connections, through the admin endpoint
    #[command(
        after_help = "Examples:\n  coordctl session list\n  coordctl session list --admin b:8080\n  coordctl session list -o json | jq length"
    )]
    List,
}

/// About queues, whose elements stay until they are dealt with: those of kazoo's LockingQueue.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum QueueCommand {
    /// Put an element in
    #[command(
        after_help = "Examples:\n  coordctl queue put /jobs 'resize 17.png'\n  coordctl queue put --priority 1 /jobs urgent\n  coordctl queue put /jobs - < job.json"
    )]
    Put {
        /// The znode that is the queue
        path: String,
        /// The element; - reads the standard input
        #[arg(allow_negative_numbers = true)]
        data: String,
        /// Smaller numbers come first
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(..1000))]
        priority: u16,
    },
    /// Take an element out
    #[command(after_help = wrap::TAKE)]
    Take(Take),
}
