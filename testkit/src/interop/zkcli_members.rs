//! The members of an ensemble, changed by ZooKeeper's own shell, and what becomes of the member that is changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::foreign::Report;
use super::zkcli::typed;
use crate::process::{Ensemble, Role};

const AS_SUPER_USER: &str = "addauth digest super:rookery";

/// How long a member may take to become what it was made.
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration as the shell prints it: what each member is.
type Members = BTreeMap<usize, String>;

/// A follower is removed, added again, and made an observer.
pub(super) fn check(ensemble: &mut Ensemble, report: &mut Report) -> Result<()> {
    let leader = ensemble.await_leader(PATIENCE)?;
    let all: Vec<usize> = (0..ensemble.size()).collect();
    let changed = (leader + 1) % all.len();
    let others: Vec<usize> = all.iter().copied().filter(|member| *member != changed).collect();
    let server = ensemble.member(leader).connect_string();
    let number = changed + 1;

    let [_, complaints] = typed(&server, [&*format!("reconfig -remove {number}")].into_iter())?;
    let is_refused = complaints.contains("Insufficient permission");
    report.check("zkCli reconfig of somebody else is refused", expect(is_refused, &complaints));

    let remove = format!("reconfig -remove {number}");
    let said = typed(&server, [AS_SUPER_USER, "config", &remove, "config"].into_iter())?;
    let (before, after) = (participants(&all), participants(&others));
    report.check("zkCli reconfig -remove", shows(&said, &[before.clone(), after.clone(), after]));
    report.check("the member that was removed has no vote", has_no_vote(ensemble, leader, changed));

    ensemble.member_mut(changed).stop()?;
    ensemble.wipe(changed)?;
    let leader = ensemble.await_leader(PATIENCE)?;
    let server = ensemble.member(leader).connect_string();
    let add = format!("reconfig -add {}", ensemble.line(changed, "participant"));
    let said = typed(&server, [AS_SUPER_USER, &add, "config"].into_iter())?;
    report.check("zkCli reconfig -add", shows(&said, &[before.clone(), before.clone()]));
    ensemble.member_mut(changed).launch()?;
    report.check("the member that was added follows", becomes(ensemble, changed, Role::Follower));

    let role = |member: usize| if member == changed { "observer" } else { "participant" };
    let lines: Vec<String> = all.iter().map(|member| ensemble.line(*member, role(*member))).collect();
    let members = format!("reconfig -members {}", lines.join(","));
    let said = typed(&server, [AS_SUPER_USER, &members, "config"].into_iter())?;
    let mut observed = before;
    observed.insert(number, "observer".to_owned());
    report.check("zkCli reconfig -members", shows(&said, &[observed.clone(), observed]));
    report.check("the member that was made an observer observes", becomes(ensemble, changed, Role::Observer));
    Ok(())
}

fn participants(members: &[usize]) -> Members {
    members.iter().map(|member| (member + 1, "participant".to_owned())).collect()
}

fn expect(holds: bool, said: &str) -> Result<()> {
    ensure!(holds, "it says {said:?}");
    Ok(())
}

/// The configurations that were printed, one after the other: each ends with its version.
fn shows([results, complaints]: &[String; 2], expected: &[Members]) -> Result<()> {
    let (mut shown, mut current) = (Vec::new(), Members::new());
    for line in results.lines() {
        if let Some((number, address)) = line.strip_prefix("server.").and_then(|line| line.split_once('=')) {
            let role = address.split(';').next().and_then(|peers| peers.rsplit(':').next());
            current.insert(number.parse()?, role.context("a role")?.to_owned());
        } else if line.starts_with("version=") {
            shown.push(std::mem::take(&mut current));
        }
    }
    ensure!(shown == expected, "{shown:?}; it says {results}\n{complaints}");
    Ok(())
}

fn becomes(ensemble: &Ensemble, member: usize, role: Role) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while ensemble.role(member) != Some(role) {
        ensure!(Instant::now() < deadline, "it is {:?}\n{}", ensemble.role(member), ensemble.log_tails());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Without the only other voter the leader has no quorum, although the removed member runs.
fn has_no_vote(ensemble: &mut Ensemble, leader: usize, removed: usize) -> Result<()> {
    let Some(other) = (0..ensemble.size()).find(|member| ![leader, removed].contains(member)) else {
        return Ok(());
    };
    let freeze = ensemble.member(other).freeze()?;
    let deadline = Instant::now() + PATIENCE;
    while [leader, removed].iter().any(|member| ensemble.role(*member) == Some(Role::Leader)) {
        ensure!(Instant::now() < deadline, "member {} still leads", leader + 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(freeze);
    let others: Vec<usize> = (0..ensemble.size()).filter(|member| *member != removed).collect();
    let deadline = Instant::now() + PATIENCE;
    while others.iter().any(|member| ensemble.role(*member).is_none()) {
        ensure!(Instant::now() < deadline, "the others do not come back\n{}", ensemble.log_tails());
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
