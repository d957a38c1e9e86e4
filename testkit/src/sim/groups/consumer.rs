//! A consumer as clients are: it joins, gets its share, reads and commits, and begins anew when it is told to.

use broker::group::{Answer, Commit, CommitOffsets, Join, Leaver, Millis, Sync, Voice};
use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::{Event, GROUP, TOPIC, World};

/// What a consumer asks.
#[derive(Debug)]
pub(super) enum Request {
    Join(Join),
    Sync(Sync),
    Heartbeat(Voice),
    Commit(CommitOffsets),
    Leave(Leaver),
    /// Only looks.
    Offsets,
}

/// What it hears.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Answer),
    /// Of requests that are answered at once; or nobody listens.
    Error(ErrorCode),
}

/// How far it is with its group.
#[derive(Debug, Clone)]
enum Stage {
    Outside,
    Joining,
    Syncing { generation: i32 },
    Reading { generation: i32, partitions: Vec<i32> },
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) index: usize,
    /// Its static name, if it has one.
    instance: Option<String>,
    member: String,
    stage: Stage,
    life: u64,
    /// Earlier alarms do not count.
    alarm: u64,
    /// The last request, and until when its answer is waited for.
    attempt: u64,
    patience: Millis,
    broker: usize,
    pub(super) frozen_until: Millis,
    pub(super) absent_until: Millis,
    /// What it says about itself; others have to be told when it changes.
    pub(super) flavour: u64,
}

const HEARTBEAT_MS: Millis = 1_500;
const REQUEST_MS: Millis = 5_000;

/// An assignment: the numbers of partitions.
fn assignment(partitions: &[i32]) -> Bytes {
    partitions.iter().map(|partition| *partition as u8).collect()
}

pub(super) fn partitions_in(assignment: &Bytes) -> Vec<i32> {
    assignment.iter().map(|partition| i32::from(*partition)).collect()
}

impl Consumer {
    pub(super) fn new(index: usize, named: bool) -> Consumer {
        Consumer {
            index,
            instance: named.then(|| format!("static-{index}")),
            member: String::new(),
            stage: Stage::Outside,
            life: 0,
            alarm: 0,
            attempt: 0,
            patience: 0,
            broker: 0,
            frozen_until: 0,
            absent_until: 0,
            flavour: 0,
        }
    }

    /// What it reads, and in which generation.
    pub(super) fn reads(&self) -> Option<(i32, &[i32])> {
        match &self.stage {
            Stage::Reading { generation, partitions } => Some((*generation, partitions)),
            _ => None,
        }
    }

    /// The process ends without a word; another one begins later.
    pub(super) fn die(&mut self, until: Millis) {
        self.life += 1;
        self.member.clear();
        self.stage = Stage::Outside;
        self.patience = 0;
        self.absent_until = until;
    }

    pub(super) fn joins_anew(&mut self) {
        self.stage = Stage::Outside;
        self.patience = 0;
    }

    fn voice(&self, generation: i32) -> Voice {
        Voice {
            group: GROUP.to_owned(),
            member: self.member.clone(),
            instance: self.instance.clone(),
            generation,
        }
    }
}

impl World {
    pub(super) fn wake_after(&mut self, consumer: usize, after: Millis) {
        self.consumers[consumer].alarm += 1;
        let alarm = self.consumers[consumer].alarm;
        self.plan(after, Event::Wake { consumer, alarm });
    }

    fn send(&mut self, consumer: usize, request: Request) {
        let patience = match request {
            Request::Join(_) => self.configuration.rebalance_ms + REQUEST_MS,
            _ => REQUEST_MS,
        };
        let sender = &mut self.consumers[consumer];
        sender.attempt += 1;
        sender.patience = self.now + patience;
        let (life, attempt, broker) = (sender.life, sender.attempt, sender.broker);
        let Some(after) = self.delay() else { return };
        self.plan(after, Event::Arrive { consumer, life, attempt, broker, request: Box::new(request) });
    }

    /// A consumer's own loop.
    pub(super) fn wake(&mut self, index: usize, alarm: u64) {
        let consumer = &self.consumers[index];
        if consumer.alarm != alarm {
            return;
        }
        let resumes = consumer.frozen_until.max(consumer.absent_until);
        if self.now < resumes {
            let after = resumes - self.now;
            return self.wake_after(index, after);
        }
        let after = self.network.between(HEARTBEAT_MS / 2, HEARTBEAT_MS);
        self.wake_after(index, after);
        if self.consumers[index].patience > self.now {
            // An answer may still come.
            return;
        }
        let timed_out = self.consumers[index].patience > 0;
        if timed_out {
            self.consumers[index].broker = self.leader;
            if !matches!(self.consumers[index].stage, Stage::Reading { .. }) {
                self.consumers[index].stage = Stage::Outside;
            }
        }
        self.consumers[index].patience = 0;
        match self.consumers[index].stage.clone() {
            Stage::Outside | Stage::Joining => self.join(index),
            // The answer to the sync was lost.
            Stage::Syncing { .. } => self.join(index),
            // Every other word is a heartbeat, as a thread of its own sends them in clients.
            Stage::Reading { generation, .. } if self.consumers[index].attempt.is_multiple_of(2) => {
                let voice = self.consumers[index].voice(generation);
                self.send(index, Request::Heartbeat(voice));
            }
            Stage::Reading { generation, partitions } => {
                if self.network.coin() {
                    self.commit(index, generation, &partitions);
                } else {
                    self.send(index, Request::Offsets);
                }
            }
        }
    }

    fn join(&mut self, index: usize) {
        let flavour = self.consumers[index].flavour;
        let consumer = &mut self.consumers[index];
        consumer.stage = Stage::Joining;
        let join = Join {
            group: GROUP.to_owned(),
            member: consumer.member.clone(),
            instance: consumer.instance.clone(),
            client_id: format!("consumer-{index}"),
            client_host: "/127.0.0.1".to_owned(),
            rebalance_timeout_ms: self.configuration.rebalance_ms as u32,
            session_timeout_ms: self.configuration.session_ms as u32,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from(flavour.to_be_bytes().to_vec()))],
            two_steps: true,
            may_skip_assignment: true,
            unique: String::new(),
        };
        self.send(index, Request::Join(join));
    }

    fn commit(&mut self, index: usize, generation: i32, partitions: &[i32]) {
        let Some(partition) = partitions.first().copied() else { return self.send(index, Request::Offsets) };
        self.places += 1;
        let commit = Commit {
            topic: TOPIC.to_owned(),
            partition,
            offset: self.places,
            leader_epoch: -1,
            metadata: String::new(),
            retention_ms: None,
        };
        let from = self.consumers[index].voice(generation);
        self.send(index, Request::Commit(CommitOffsets { from, offsets: vec![commit] }));
    }

    pub(super) fn leave(&mut self, index: usize) {
        let consumer = &self.consumers[index];
        let leaver = Leaver { member: consumer.member.clone(), instance: consumer.instance.clone() };
        self.send(index, Request::Leave(leaver));
        let until = self.now + self.faults.below(10_000);
        self.consumers[index].die(until);
        self.wake_after(index, 1);
    }

    /// An answer reaches a consumer.
    pub(super) fn hear(&mut self, index: usize, life: u64, attempt: u64, reply: Reply) {
        let consumer = &self.consumers[index];
        if consumer.life != life || consumer.attempt != attempt {
            return;
        }
        if self.now < consumer.frozen_until {
            // It finds the answer when it thaws.
            let after = consumer.frozen_until - self.now;
            let reply = Box::new(reply);
            return self.plan(after, Event::Reply { consumer: index, life, attempt, reply });
        }
        self.consumers[index].patience = 0;
        match reply {
            Reply::Error(code) => self.refused(index, code),
            Reply::Answer(Answer::Committed(codes)) => {
                self.refused(index, codes.first().copied().unwrap_or(ErrorCode::NONE));
            }
            Reply::Answer(Answer::Deleted(_)) => {}
            Reply::Answer(Answer::Joined(joined)) => {
                if matches!(joined.error, ErrorCode::NONE | ErrorCode::MEMBER_ID_REQUIRED) {
                    self.consumers[index].member.clone_from(&joined.member);
                }
                if joined.error != ErrorCode::NONE {
                    return self.refused(index, joined.error);
                }
                let consumer = &mut self.consumers[index];
                consumer.stage = Stage::Syncing { generation: joined.generation };
                let mut assignments = Vec::new();
                if joined.leader == joined.member && !joined.skip_assignment {
                    let count = joined.members.len() as i32;
                    for (place, (member, _, _)) in joined.members.iter().enumerate() {
                        let all = 0..self.configuration.partitions;
                        let share: Vec<i32> =
                            all.filter(|partition| partition % count == place as i32).collect();
                        assignments.push((member.clone(), assignment(&share)));
                    }
                }
                let sync = Sync {
                    from: self.consumers[index].voice(joined.generation),
                    protocol_type: joined.protocol_type,
                    protocol: joined.protocol,
                    assignments,
                };
                self.send(index, Request::Sync(sync));
            }
            Reply::Answer(Answer::Synced(Ok(synced))) => {
                let consumer = &mut self.consumers[index];
                if let Stage::Syncing { generation } = consumer.stage {
                    let partitions = partitions_in(&synced.assignment);
                    consumer.stage = Stage::Reading { generation, partitions };
                    self.trace.mark("a member got its share");
                }
            }
            Reply::Answer(Answer::Synced(Err(code))) => self.refused(index, code),
        }
    }

    /// What a client does about an error.
    fn refused(&mut self, index: usize, code: ErrorCode) {
        let leader = self.leader;
        let consumer = &mut self.consumers[index];
        match code {
            ErrorCode::NONE => return,
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                self.trace.mark("a consumer asked the wrong broker");
                consumer.broker = leader;
                if !matches!(consumer.stage, Stage::Reading { .. }) {
                    consumer.stage = Stage::Outside;
                }
                return;
            }
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => {
                if !matches!(consumer.stage, Stage::Reading { .. }) {
                    consumer.stage = Stage::Outside;
                }
                return;
            }
            ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::MEMBER_ID_REQUIRED => {
                consumer.stage = Stage::Outside;
            }
            ErrorCode::ILLEGAL_GENERATION => {
                self.trace.mark("an old generation was refused");
                consumer.stage = Stage::Outside;
            }
            _ => {
                self.trace.mark("a member was forgotten");
                consumer.member.clear();
                consumer.stage = Stage::Outside;
            }
        }
        self.wake_after(index, 1);
    }
}
