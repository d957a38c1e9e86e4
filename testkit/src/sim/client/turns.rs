//! Those who wait for their turn, and who it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::zk::recipes::LockGuard;
use client::zk::{Coordinator, CreateMode};
use coordinator::tree::Tree;
use tokio::time::{sleep, timeout};

use super::actors::Actor;
use super::ledger::line;
use super::{LEADER, LEASE_COUNT, LEASES, LOCK, Planted, READERS_AND_WRITERS, SELECTOR};
use crate::check::service::{Violation, violation};

/// What somebody believes to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Nobody else is before it in the line.
    Alone,
    /// No writer is before it in the line.
    Beside,
    /// It is one of so many.
    Lease,
}

#[derive(Debug)]
struct Claim {
    at: usize,
    path: &'static str,
    right: Right,
}

/// Who believes to have what.
#[derive(Debug, Default)]
pub(super) struct Turns {
    claims: BTreeMap<u64, Claim>,
    /// Every fence that was ever given out.
    fences: BTreeSet<u64>,
    /// What a lock protects refuses whoever comes with a fence smaller than this.
    last_fence: BTreeMap<&'static str, u64>,
}

impl Turns {
    /// False if this fence was given out before, to somebody who did not lead.
    pub(super) fn claims(&mut self, at: usize, path: &'static str, right: Right, fence: u64) -> bool {
        self.claims.insert(fence, Claim { at, path, right });
        // Whoever leads hears of it again when it was in doubt.
        self.fences.insert(fence) || path == LEADER
    }

    /// A process wants no part in it any more.
    pub(super) fn leaves(&mut self, at: usize, path: &str) {
        self.claims.retain(|_, claim| claim.at != at || claim.path != path);
    }

    pub(super) fn gives_up(&mut self, fence: u64) {
        self.claims.remove(&fence);
    }

    /// A holder writes to what its lock protects. False if it comes too late and is refused.
    pub(super) fn writes(&mut self, path: &'static str, fence: u64) -> bool {
        let last = self.last_fence.entry(path).or_default();
        let is_late = fence < *last;
        *last = fence.max(*last);
        !is_late
    }

    pub(super) fn killed(&mut self, at: usize) {
        self.claims.retain(|_, claim| claim.at != at);
    }

    /// Whoever believes that it is its turn is right, unless it has not heard that its session is over.
    pub(super) fn check(&self, tree: &Tree) -> Result<(), Violation> {
        let mut leases = 0;
        for (fence, Claim { at, path, right }) in &self.claims {
            let line = line(tree, path);
            let Some(place) = line.iter().position(|node| node.czxid.0 == *fence) else { continue };
            let is_right = match right {
                Right::Alone => place == 0,
                Right::Beside => !line[..place].iter().any(|node| node.name_str().contains("__WRIT__")),
                Right::Lease => {
                    leases += 1;
                    leases <= LEASE_COUNT
                }
            };
            if !is_right {
                let what = format!("process {at} claims {path} ({right:?}) with {fence:#x} at place {place}");
                return violation("lock", what);
            }
        }
        Ok(())
    }

    /// Why not everything is as it should be in the end.
    pub(super) fn unsettled(&self, tree: &Tree) -> Result<(), String> {
        let turns = format!("{LEASES}/locks");
        for path in [LOCK, READERS_AND_WRITERS, SELECTOR, LEASE_LINE, &turns] {
            if let Some(node) = line(tree, path).first() {
                return Err(format!("{} still stands at {path}", node.name_str()));
            }
        }
        let leaders: Vec<_> = self.claims.iter().filter(|(_, claim)| claim.path == LEADER).collect();
        let first = line(tree, LEADER).first().map(|node| node.czxid.0);
        if leaders.len() != 1 || first != Some(*leaders[0].0) {
            return Err(format!("{first:?} is the leader, and {leaders:?} say so"));
        }
        Ok(())
    }
}

/// Where leases stand.
const LEASE_LINE: &str = "/leases/leases";

impl Actor {
    pub(super) async fn locks(mut self, zk: Coordinator) {
        while self.goes_on(&zk).await {
            let patience = Duration::from_millis(self.random.below(5_000));
            let acquired = match self.random.below(4) {
                0 => zk.lock(LOCK).acquire_within(patience).await,
                1 => zk.lock(LOCK).try_acquire().await,
                _ => zk.lock(LOCK).acquire().await.map(Some),
            };
            let Ok(Some(guard)) = acquired else { continue };
            self.uses(&guard, LOCK, Right::Alone).await;
            self.lets_go(guard).await;
        }
    }

    pub(super) async fn reads_and_writes(mut self, zk: Coordinator) {
        let lock = zk.rw_lock(READERS_AND_WRITERS);
        while self.goes_on(&zk).await {
            let patience = Duration::from_millis(1 + self.random.below(5_000));
            let writes = self.random.coin();
            let acquired = match writes && self.planted != Some(Planted::WritesAsReader) {
                true => lock.write_within(patience).await,
                false => lock.read_within(patience).await,
            };
            let Ok(Some(mut guard)) = acquired else { continue };
            let right = if writes { Right::Alone } else { Right::Beside };
            self.uses(&guard, READERS_AND_WRITERS, right).await;
            if writes && self.random.one_in(3) {
                match lock.downgrade(guard).await {
                    Ok(reader) => guard = reader,
                    Err(_) => continue,
                }
                self.uses(&guard, READERS_AND_WRITERS, Right::Beside).await;
            }
            self.lets_go(guard).await;
        }
    }

    pub(super) async fn has_leases(mut self, zk: Coordinator) {
        let more = usize::from(self.planted == Some(Planted::OneLeaseMore));
        let semaphore = zk.semaphore(LEASES, LEASE_COUNT + more);
        while self.goes_on(&zk).await {
            let patience = Duration::from_millis(1 + self.random.below(5_000));
            let Ok(Some(lease)) = semaphore.acquire_within(patience).await else { continue };
            self.uses(&lease, LEASE_LINE, Right::Lease).await;
            self.lets_go(lease).await;
        }
    }

    /// Uses what it has until it has had enough, or hears that it is lost.
    async fn uses(&mut self, guard: &LockGuard, path: &'static str, right: Right) {
        let fence = guard.fence().0;
        self.ledger().claims(self.at, path, right, fence);
        let mut is_lost = false;
        for _ in 0..self.random.below(8) {
            if self.is_quiet() {
                // Others wait in line, and everything is to end.
                break;
            }
            // Work is not interrupted when the lock is lost: that is what the fence is for.
            self.pause().await;
            if right == Right::Alone {
                self.ledger().writes(path, fence);
            }
            let patience = Duration::from_millis(self.random.below(500));
            tokio::select! {
                biased;
                () = guard.lost() => {
                    is_lost = true;
                    break;
                }
                () = sleep(patience) => {}
            }
        }
        match is_lost {
            true => self.ledger().loses(fence),
            false => self.ledger().turns.gives_up(fence),
        }
    }

    /// Leaving can be left to the background, too.
    async fn lets_go(&mut self, guard: LockGuard) {
        if self.random.coin() {
            let _ = guard.release().await;
        }
    }

    pub(super) async fn leads_in_turns(mut self, zk: Coordinator) {
        let selector = zk.leader_selector(SELECTOR, &self.at.to_string());
        while self.goes_on(&zk).await {
            if self.planted == Some(Planted::HastyLeader) {
                self.leads_at_once(&zk).await;
                continue;
            }
            let (pauses, mut fence_of_turn) = (self.random.below(8), None);
            let patience = Duration::from_millis(1 + self.random.below(10_000));
            let turn = selector.lead(async |fence| {
                fence_of_turn = Some(fence.0);
                self.ledger().claims(self.at, SELECTOR, Right::Alone, fence.0);
                for _ in 0..pauses {
                    if self.is_quiet() {
                        break;
                    }
                    self.pause().await;
                }
            });
            let _ = timeout(patience, turn).await;
            if let Some(fence) = fence_of_turn {
                self.ledger().loses(fence);
            }
        }
    }

    /// A mistake: believes that whoever stands in the line leads.
    async fn leads_at_once(&mut self, zk: &Coordinator) {
        let path = format!("{SELECTOR}/hasty-lock-");
        let Ok(created) = zk.create(&path, b"", CreateMode::EphemeralSequential).await else {
            let _ = zk.create(SELECTOR, b"", CreateMode::Persistent).await;
            return;
        };
        let fence = created.stat.czxid as u64;
        self.ledger().claims(self.at, SELECTOR, Right::Alone, fence);
        self.pause().await;
        self.ledger().loses(fence);
        let _ = zk.delete(&created.path, None).await;
    }

    pub(super) async fn leads(mut self, zk: Coordinator) {
        while !zk.state().is_final() {
            let latch = zk.leader_latch(LEADER, &self.at.to_string());
            let patience = Duration::from_millis(1 + self.random.below(20_000));
            let quiet = std::sync::Arc::clone(&self.quiet);
            let stays = async {
                sleep(patience).await;
                if quiet.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            let takes_part = async {
                while let Ok(leadership) = latch.leadership().await {
                    let fence = leadership.fence().0;
                    self.ledger().claims(self.at, LEADER, Right::Alone, fence);
                    leadership.lost().await;
                    self.ledger().loses(fence);
                }
            };
            tokio::select! {
                biased;
                () = takes_part => {}
                () = stays => {
                    self.ledger().turns.leaves(self.at, LEADER);
                    let _ = latch.close().await;
                }
            }
            self.pause().await;
        }
    }
}
