//! Runs foreign clients against a server and counts what held.

use std::process::ExitCode;

use clap::Parser;
use testkit::interop::{self, SUITES, Suite};
use testkit::process::{Kind, Make, Missing, Need, Target, everything_is_required};

/// Foreign clients doing real work against our coordinator and our broker, or against Apache's as control.
#[derive(Debug, Parser)]
struct Flags {
    /// Which server to start: coordinator or zookeeper.
    #[arg(long, default_value = "coordinator")]
    server: Kind,
    /// Members of an ensemble to start, all of which clients are told of; 1 = a server alone.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Which broker the suites `broker-…` start: ours or kafka.
    #[arg(long, default_value = "ours")]
    broker: Make,
    /// Print the suites and what they need.
    #[arg(long)]
    list: bool,
    /// Record the conversations in testkit/golden anew, against Apache ZooKeeper.
    #[arg(long)]
    record_golden: bool,
    /// Suites to run; all if none is named.
    suites: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.list {
        for suite in SUITES {
            println!("{:<16} needs {}", suite.name, Missing(suite.needs.to_vec()));
        }
        return ExitCode::SUCCESS;
    }
    if flags.record_golden {
        return match interop::record() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let target = Target { kind: flags.server, members: flags.members, broker: flags.broker };
    let mut chosen: Vec<&Suite> = Vec::new();
    for name in &flags.suites {
        let Some(suite) = interop::suite(name) else {
            eprintln!("unknown suite {name:?}; --list names them");
            return ExitCode::from(2);
        };
        chosen.push(suite);
    }
    if chosen.is_empty() {
        chosen.extend(SUITES);
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for suite in chosen {
        let missing: Vec<Need> = suite.needs.iter().copied().filter(|need| !need.present()).collect();
        if !missing.is_empty() {
            if everything_is_required() {
                println!("FAIL {}: needs {}", suite.name, Missing(missing));
                failed += 1;
            } else {
                println!("SKIPPED {}: needs {}", suite.name, Missing(missing));
                skipped += 1;
            }
            continue;
        }
        let summary = interop::run(suite, target);
        passed += summary.passed;
        failed += summary.failed;
    }
    println!("{passed} checks passed, {failed} failed, {skipped} suites skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
