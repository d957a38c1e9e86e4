//! What only ensembles can be measured by: how long nobody can write, and how a member comes back with nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cases::{DATA, Plan, fill};
use super::load::{DIGITS, NextRequest, Pace, Shape, Tally, Template, drive};
use super::report::{Figure, Report};
use crate::process::faults::write_gaps;
use crate::process::{Ensemble, Kind, Role, Usage};
use crate::raw::{Body, op};

/// The longest times without an acknowledged write, one writer at each member.
pub(super) fn gaps(plan: &Plan, kind: Kind, report: &mut Report) -> Result<()> {
    std::fs::create_dir_all(&plan.directory)?;
    for (fault, gaps) in write_gaps(kind, plan.members, &plan.options(), &plan.directory, plan.gaps)? {
        let longest = gaps.iter().max().copied().unwrap_or_default();
        let mut sorted = gaps;
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        report.figure(kind, &format!("no writes, {fault}: median, ms"), Figure::milliseconds(median));
        report.figure(kind, &format!("no writes, {fault}: longest, ms"), Figure::milliseconds(longest));
    }
    Ok(())
}

const PARENTS: u64 = 100;
/// Writes per second while the member comes back.
const RATE: u32 = 2000;
const JOIN_PATIENCE: Duration = Duration::from_secs(300);

/// A follower loses its disk, and gets all nodes again while others write.
pub(super) fn join(plan: &Plan, kind: Kind, report: &mut Report) -> Result<()> {
    std::fs::create_dir_all(&plan.directory)?;
    let home = tempfile::TempDir::with_prefix_in(format!("{kind}-join-"), &plan.directory)?;
    let options = plan.options().directory(home.path());
    let mut ensemble = Ensemble::start_new(kind, plan.members, options)?;
    let leader = ensemble.await_leader(Duration::from_secs(30))?;
    let joiner = (leader + 1) % plan.members;
    let mut addresses = ensemble.addresses();
    fill(addresses[leader], plan.znodes, PARENTS)?;
    ensemble.member_mut(joiner).kill()?;
    ensemble.wipe(joiner)?;
    addresses.remove(joiner);
    // What was under way when the member went has come to an end.
    std::thread::sleep(Duration::from_secs(2));

    let set = Template::new(op::SET_DATA, &Body::new().bytes(format!("/m/000/{DIGITS}")).bytes(DATA).int(-1));
    let below_first = plan.znodes / PARENTS;
    let write = |seconds: f64| -> Result<Tally> {
        let mut make = |lane: usize| -> NextRequest {
            let set = set.clone();
            let mut number = lane as u64 * 97;
            Box::new(move |xid, out| {
                number = (number + 13) % below_first;
                set.write(xid, number * PARENTS, out);
            })
        };
        let shape = Shape { connections: 16, depth: 1 };
        let none = || Ok(Usage::default());
        let tally = drive(&addresses, shape, Pace::PerSecond(RATE), seconds, &mut make, &none)?;
        ensure!(tally.errors == 0, "{} sets failed", tally.errors);
        Ok(tally)
    };
    let seconds = (plan.seconds * 5.0).max(1.0);
    let before = write(seconds)?;
    let (took, during) = std::thread::scope(|scope| -> Result<(Duration, Tally)> {
        let ensemble = &mut ensemble;
        let joining = scope.spawn(move || -> Result<Duration> {
            let start = Instant::now();
            ensemble.member_mut(joiner).launch()?;
            while ensemble.role(joiner) != Some(Role::Follower) {
                ensure!(start.elapsed() < JOIN_PATIENCE, "not back after {JOIN_PATIENCE:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(start.elapsed())
        });
        let during = write(seconds)?;
        let took = joining.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?;
        Ok((took.context("the member that lost its disk")?, during))
    })?;
    let name = format!("{} znodes to an empty member at {RATE} sets/s", plan.znodes);
    report.figure(kind, &format!("{name}: until it serves, s"), Figure::less_is_better(took.as_secs_f64()));
    for (when, tally) in [("before", &before), ("meanwhile", &during)] {
        let p99 = Figure::milliseconds(tally.latencies.quantile(0.99));
        report.figure(kind, &format!("{name}: p99 of sets {when}, ms"), p99);
    }
    let longest = Figure::milliseconds(during.latencies.longest());
    report.figure(kind, &format!("{name}: longest set meanwhile, ms"), longest);
    Ok(())
}
