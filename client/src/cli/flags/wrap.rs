//! Commands that run another command under a recipe.

use std::time::Duration;

use clap::Args;

use super::seconds;

macro_rules! help {
    ($examples:literal, $environment:literal) => {
        concat!(
            $examples,
            "\n\n",
            $environment,
            "\nWhen what it runs under is lost, the command is sent SIGTERM, and SIGKILL ten seconds later.\n\n\
             Exit codes: the command's own, or 128 and the number of the signal that ended it; 124 it was not our turn \
             in time; 125 it was lost; 126 the command cannot be started."
        )
    };
    (fence $examples:literal) => {
        help!(
            $examples,
            "The command finds in COORDCTL_FENCE a number that is larger than that of every earlier holder, and in \
             COORDCTL_ZNODE the znode that stands for it."
        )
    };
}

pub(super) const LOCK: &str = help!(fence
    "Examples:\n  coordctl lock /locks/backup -- ./backup.sh\n  coordctl lock --wait 0 /locks/cron -- make report\n  coordctl lock /l -- sh -c 'echo $COORDCTL_FENCE'"
);
pub(super) const ELECT: &str = help!(fence
    "Examples:\n  coordctl elect /leader -- ./scheduler\n  coordctl elect --name $HOSTNAME /leader -- ./scheduler\n  coordctl elect --wait 60 /leader -- ./once"
);
pub(super) const SEMAPHORE: &str = help!(
    "Examples:\n  coordctl semaphore --leases 3 /limits/exports -- ./export.sh\n  coordctl semaphore --leases 3 --wait 0 /limits/exports -- ./export.sh\n  coordctl semaphore --leases 2 --name $HOSTNAME /limits/builds -- make",
    "Everybody must say the same number of leases. The command finds in COORDCTL_ZNODE the znode of its lease."
);
pub(super) const BARRIER: &str = help!(
    "Examples:\n  coordctl create /gate; coordctl barrier /gate -- ./after-the-gate.sh; coordctl delete /gate\n  coordctl barrier --members 3 /meeting -- ./all-at-once.sh\n  coordctl barrier --wait 60 /gate -- ./in-time.sh",
    "The barrier is closed as long as its znode exists. With --members it is entered when so many have come, and left \
     when all have finished."
);
pub(super) const TAKE: &str = help!(
    "Examples:\n  coordctl queue take /jobs\n  coordctl queue take /jobs -- ./work-on-standard-input.sh\n  coordctl queue take --wait 0 /jobs || echo none",
    "The command reads the element from its standard input. The element leaves the queue when the command ends with 0, \
     and is there for others if it does not."
);
pub(super) const REGISTER: &str = help!(
    "Examples:\n  coordctl register billing --port 8080 -- ./billing\n  coordctl register billing --address 10.0.0.7 --port 8080 -- ./billing\n  coordctl register --path /discovery billing --port 8080 -- ./billing",
    "The instance is registered as Curator's service discovery does it. The command finds in COORDCTL_ZNODE its znode."
);

/// A command to run, and what for.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The znode that everybody contends for
    pub(in crate::cli) path: String,
    /// Give up after so long; 0 does not wait at all
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(in crate::cli) wait: Option<Duration>,
    /// What others see of us
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(in crate::cli) name: String,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(in crate::cli) command: Vec<String>,
}

/// The same with a number of leases.
#[derive(Debug, Args)]
pub(in crate::cli) struct Semaphore {
    /// How many hold one at a time
    #[arg(long, value_parser = at_least_one)]
    pub(in crate::cli) leases: usize,
    #[command(flatten)]
    pub(in crate::cli) run: Run,
}

/// A command to run behind a barrier.
#[derive(Debug, Args)]
pub(in crate::cli) struct Barrier {
    /// The znode that is the barrier
    pub(in crate::cli) path: String,
    /// Wait until so many have come
    #[arg(long, value_name = "COUNT", value_parser = at_least_one)]
    pub(in crate::cli) members: Option<usize>,
    /// Give up after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(in crate::cli) wait: Option<Duration>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(in crate::cli) command: Vec<String>,
}

/// An element to take, and a command to give it to.
#[derive(Debug, Args)]
pub(in crate::cli) struct Take {
    /// The znode that is the queue
    pub(in crate::cli) path: String,
    /// Give up after so long; 0 takes what is there
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(in crate::cli) wait: Option<Duration>,
    /// The command and its arguments; without one the element is printed
    #[arg(last = true)]
    pub(in crate::cli) command: Vec<String>,
}

/// A service to register, and the command that is the service.
#[derive(Debug, Args)]
pub(in crate::cli) struct Register {
    /// The service's name
    pub(in crate::cli) service: String,
    /// Where services are registered
    #[arg(long, default_value = "/services")]
    pub(in crate::cli) path: String,
    /// Where this instance is
    #[arg(long, default_value = "localhost")]
    pub(in crate::cli) address: String,
    /// And its port
    #[arg(long)]
    pub(in crate::cli) port: u16,
    /// More about this instance, as JSON
    #[arg(long, value_name = "JSON", value_parser = json)]
    pub(in crate::cli) payload: Option<serde_json::Value>,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(in crate::cli) command: Vec<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a number above zero is needed".to_owned()),
    }
}

fn json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
