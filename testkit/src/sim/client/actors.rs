//! Those who use the client, each in its own way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::zk::{Coordinator, CreateMode, Error, Notice};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ledger::{Ledger, number};
use super::{COUNTER, JOBS, LETTERS, Planted};
use crate::sim::host::Surroundings;
use crate::sim::random::Random;

/// As long as so many jobs are not done, nobody gives another.
const JOBS_WAITING_MAX: usize = 50;

pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

pub(super) fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What everybody in a process has.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    pub(super) at: usize,
    pub(super) planted: Option<Planted>,
    pub(super) ledger: SharedLedger,
    /// Nobody begins anything new any more.
    pub(super) quiet: Arc<AtomicBool>,
    pub(super) random: Random,
    pub(super) pause_ms: u64,
}

/// One session after the other, and everybody uses it.
pub(super) async fn run(mut actor: Actor, mut surroundings: Surroundings) {
    loop {
        let Ok(zk) = surroundings.session().connect().await else { continue };
        let mut tasks = JoinSet::new();
        let mut another = || Actor { random: actor.random.split(), ..actor.clone() };
        tasks.spawn(another().locks(zk.clone()));
        tasks.spawn(another().leads(zk.clone()));
        tasks.spawn(another().reads_and_writes(zk.clone()));
        tasks.spawn(another().has_leases(zk.clone()));
        tasks.spawn(another().leads_in_turns(zk.clone()));
        tasks.spawn(another().closes_the_gate(zk.clone()));
        tasks.spawn(another().waits_at_the_gate(zk.clone()));
        tasks.spawn(another().meets(zk.clone()));
        tasks.spawn(another().gardens(zk.clone()));
        tasks.spawn(another().mirrors(zk.clone()));
        tasks.spawn(another().offers(zk.clone()));
        tasks.spawn(another().looks_for_services(zk.clone()));
        tasks.spawn(another().counts(zk.clone()));
        tasks.spawn(another().adds(zk.clone()));
        tasks.spawn(another().watches_for_ever(zk.clone()));
        tasks.spawn(another().watches_once(zk.clone()));
        tasks.spawn(another().writes_and_reads_letters(zk.clone()));
        tasks.spawn(another().gives_jobs(zk.clone()));
        tasks.spawn(another().does_jobs(zk.clone()));
        tasks.spawn(another().asks(zk.clone()));
        // Each ends with the session.
        while tasks.join_next().await.is_some() {}
        actor.random = actor.random.split();
    }
}

fn is_over(error: &Error) -> bool {
    matches!(error, Error::SessionExpired | Error::Closed)
}

impl Actor {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.below(self.pause_ms) + 1)).await;
    }

    /// Whether there is anything more to begin in this session.
    pub(super) async fn goes_on(&mut self, zk: &Coordinator) -> bool {
        self.pause().await;
        !self.is_quiet() && !zk.state().is_final()
    }

    /// Whether nothing goes wrong any more, and everything is to end.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    async fn adds(mut self, zk: Coordinator) {
        let counter = zk.atomic_long(COUNTER);
        while self.goes_on(&zk).await {
            let number = self.ledger().adds();
            let result = match self.planted {
                Some(Planted::BlindAddition) => blind_addition(&zk).await,
                _ => counter.add(1).await,
            };
            self.ledger().added(number, &result);
        }
    }

    /// A persistent watch tells every change, or that it could not.
    async fn watches_for_ever(mut self, zk: Coordinator) {
        while !zk.state().is_final() {
            let Ok(mut watch) = zk.watch(COUNTER).await else {
                self.pause().await;
                continue;
            };
            let mut before = None;
            while let Some(notice) = watch.next().await {
                match notice {
                    Notice::Changed(event) => {
                        let zxid = event.zxid.map(|zxid| zxid.0);
                        if let (Some(before), Some(zxid)) = (before, zxid) {
                            self.ledger().sees(before, zxid);
                        }
                        before = zxid;
                    }
                    _ => before = None,
                }
            }
        }
    }

    /// A watch that a read leaves tells the first change after that read.
    async fn watches_once(mut self, zk: Coordinator) {
        while !zk.state().is_final() {
            match zk.exists_and_watch(COUNTER).await {
                Ok((stat, mut watch)) => {
                    let read = stat.map_or(0, |stat| stat.mzxid as u64);
                    self.ledger().knows(self.at, read);
                    if let Some(Notice::Changed(event)) = watch.changed().await
                        && let Some(zxid) = event.zxid
                    {
                        self.ledger().sees(read, zxid.0);
                    }
                }
                Err(_) => self.pause().await,
            }
        }
    }

    async fn writes_and_reads_letters(mut self, zk: Coordinator) {
        let letters = zk.queue(LETTERS);
        while self.goes_on(&zk).await {
            if self.random.coin() {
                let letter = self.ledger().puts_letter();
                let result = letters.put(letter.to_string().as_bytes()).await;
                self.ledger().letter_put(letter, &result);
            } else {
                self.ledger().takes();
                match letters.try_take().await {
                    Ok(taken) => self.ledger().took(taken.and_then(|data| number(&data))),
                    Err(Error::UnknownOutcome) => {}
                    Err(_) => self.ledger().took(None),
                }
            }
        }
    }

    async fn gives_jobs(mut self, zk: Coordinator) {
        let jobs = zk.locking_queue(JOBS);
        while self.goes_on(&zk).await {
            if self.ledger().jobs_waiting() >= JOBS_WAITING_MAX {
                // Whoever does them is far away, and must have done them all in the end.
                continue;
            }
            let job = self.ledger().puts_job();
            let result = jobs.put(job.to_string().as_bytes(), 100).await;
            self.ledger().job_put(job, &result);
            // Doing takes longer than giving.
            sleep(Duration::from_millis(self.pause_ms * 2)).await;
        }
    }

    async fn does_jobs(mut self, zk: Coordinator) {
        let jobs = zk.locking_queue(JOBS);
        while !zk.state().is_final() {
            let Ok(held) = jobs.take().await else {
                self.pause().await;
                continue;
            };
            let Some(job) = number(held.data()) else { continue };
            self.ledger().holds_job(job);
            // Some give up, and another gets it.
            let mut does_it = true;
            if !self.is_quiet() {
                self.pause().await;
                does_it = !self.random.one_in(4);
            }
            if does_it && held.consume().await.is_ok() {
                self.ledger().job_consumed(job);
            }
        }
    }

    /// Many requests at once, on a znode that nobody else writes.
    async fn asks(mut self, zk: Coordinator) {
        let path = format!("/own-{}-{}", self.at, self.random.next_u64());
        let (mut asked, mut acknowledged) = (0, 0);
        loop {
            match zk.create(&path, b"0", CreateMode::Persistent).await {
                Ok(_) | Err(Error::NodeExists) => break,
                Err(error) if is_over(&error) => return,
                Err(_) => self.pause().await,
            }
        }
        while self.goes_on(&zk).await {
            let pairs: Vec<_> = (0..self.random.below(10))
                .map(|_| {
                    asked += 1;
                    (asked, zk.set(&path, asked.to_string().as_bytes(), None), zk.get(&path))
                })
                .collect();
            self.ledger().asks(self.at, pairs.len() as u64 * 2);
            let mut answers = Vec::new();
            for (value, set, get) in pairs {
                let set = set.await;
                self.ledger().hears(self.at);
                let get = get.await;
                self.ledger().hears(self.at);
                answers.push((value, set.is_ok(), get));
            }
            // What is asked again on another connection may see later writes whose own outcome is unknown.
            let is_certain = answers.iter().all(|(_, is_set, _)| *is_set);
            for (value, is_set, get) in answers {
                acknowledged = if is_set { value } else { acknowledged };
                if let Ok((data, _)) = get {
                    let most = if is_certain { value } else { asked };
                    self.ledger().reads(number(&data).unwrap_or(u64::MAX), acknowledged, most);
                }
            }
        }
    }
}

/// What happens without versions.
async fn blind_addition(zk: &Coordinator) -> Result<i64, Error> {
    let before = zk.atomic_long(COUNTER).get().await?;
    zk.atomic_long(COUNTER).set(before + 1).await?;
    Ok(before + 1)
}
