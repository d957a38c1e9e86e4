//! Foreign clients doing real work against a server, and the contracts they rely on.
//!
//! Every suite starts servers of its own, so suites may run at the same time. The clients are programs in
//! `testkit/interop`; how they report is in [`foreign`].

mod audit;
mod broker;
mod broker_dirs;
mod broker_old_tools;
mod broker_tls;
mod broker_tools;
mod contention;
mod curator;
mod foreign;
mod go;
mod java;
mod kafka;
mod kafka_logs;
mod kazoo;
mod local_sessions;
mod node;
mod pipelines;
mod record;
mod secure;
mod zkcli;
mod zkcli_members;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::{Need, Target};

pub use foreign::{Report, Session};
pub(crate) use kazoo::python;
pub use record::record;

/// One group of checks.
#[derive(Clone, Copy)]
pub struct Suite {
    /// What to call it on the command line.
    pub name: &'static str,
    /// What it needs beyond Rust.
    pub needs: &'static [Need],
    /// Runs it against the given service.
    pub run: fn(Target) -> Result<Report>,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const JVM: &[Need] = &[Need::Java, Need::Maven];

/// Every suite.
pub const SUITES: &[Suite] = &[
    Suite { name: "kazoo", needs: &[Need::Python], run: kazoo::run },
    Suite { name: "java-3.4", needs: JVM, run: java::run_3_4 },
    Suite { name: "java-3.5", needs: JVM, run: java::run_3_5 },
    Suite { name: "java-3.9", needs: JVM, run: java::run_3_9 },
    Suite { name: "secure", needs: JVM, run: secure::run },
    Suite { name: "audit", needs: JVM, run: audit::run },
    Suite { name: "curator", needs: JVM, run: curator::run },
    Suite { name: "contention", needs: &[Need::Java, Need::Maven, Need::Python], run: contention::run },
    Suite { name: "go", needs: &[Need::Go], run: go::run },
    Suite { name: "zkcli", needs: JVM, run: zkcli::run },
    Suite { name: "local-sessions", needs: JVM, run: local_sessions::run },
    Suite { name: "kafka", needs: JVM, run: kafka::run },
    Suite { name: "kafka-ensemble", needs: JVM, run: kafka::run_ensemble },
    Suite { name: "kafka-logs", needs: JVM, run: kafka_logs::run },
    Suite { name: "kafka-1.1", needs: JVM, run: broker_old_tools::run_on_kafka },
    Suite { name: "broker-kafka-python", needs: &[Need::Python], run: broker::kafka_python },
    Suite { name: "broker-librdkafka", needs: &[Need::Python], run: broker::librdkafka },
    Suite { name: "broker-go", needs: &[Need::Go], run: broker::go },
    Suite { name: "broker-kafkajs", needs: &[Need::Node], run: broker::kafkajs },
    Suite { name: "broker-tools", needs: JVM, run: broker_tools::run },
    Suite { name: "broker-dirs", needs: JVM, run: broker_dirs::run },
    Suite { name: "broker-tools-1.1", needs: JVM, run: broker_old_tools::run },
    Suite { name: "broker-java-0.11", needs: JVM, run: broker::java_0_11 },
    Suite { name: "broker-java-1.1", needs: JVM, run: broker::java_1_1 },
    Suite { name: "broker-java-2.8", needs: JVM, run: broker::java_2_8 },
    Suite { name: "broker-java-3.9", needs: JVM, run: broker::java_3_9 },
    Suite { name: "broker-java-4.1", needs: JVM, run: broker::java_4_1 },
    Suite { name: "broker-tls", needs: &[Need::Java, Need::Maven, Need::Python], run: broker_tls::run },
    Suite { name: "broker-streams", needs: JVM, run: broker::streams },
    Suite { name: "broker-connect", needs: JVM, run: pipelines::connect },
    Suite { name: "broker-flume", needs: JVM, run: pipelines::flume },
];

/// The suite of that name.
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

/// What a run came to, for the last line.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// Checks that held.
    pub passed: usize,
    /// Checks that did not, and suites that broke off.
    pub failed: usize,
    /// How long it took.
    pub took: Duration,
}

/// Runs one suite and prints its checks and its count.
pub fn run(suite: &Suite, target: Target) -> Summary {
    let start = Instant::now();
    println!("--- {} against {target}", suite.name);
    let (passed, failed) = match (suite.run)(target) {
        Ok(report) => (report.passed, report.failed.len()),
        Err(error) => {
            println!("FAIL {}: broke off: {error:#}", suite.name);
            (0, 1)
        }
    };
    let took = start.elapsed();
    println!("--- {}: {passed} checks passed, {failed} failed, {:.1} s", suite.name, took.as_secs_f32());
    Summary { passed, failed, took }
}
