//! How far has a group read, and how long is that remembered?

use std::collections::BTreeMap;

use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Appending, Effect, Groups, Ticket, as_seen_by_members, partition_of};
use super::leave::Voice;
use super::record::Record;
use super::state::{Group, State};
use crate::planted::{self, Mistake};

/// How far a group has read one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the record before it; -1 if the client did not say.
    pub leader_epoch: i32,
    /// Whatever the client wanted to keep with it.
    pub metadata: String,
    pub at_ms: i64,
    /// When it goes, if the client chose that itself, as old ones do.
    pub expires_at_ms: Option<i64>,
}

/// One offset to commit.
#[derive(Debug, Clone)]
pub struct Commit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    /// How long to keep it, if the client says.
    pub retention_ms: Option<i64>,
}

/// A request to commit offsets.
#[derive(Debug, Clone)]
pub struct CommitOffsets {
    /// A client that is no member names itself by an empty id and a negative generation.
    pub from: Voice,
    pub offsets: Vec<Commit>,
}

impl Groups {
    /// Commits offsets. The answer comes when they are in the log.
    pub fn commit(&mut self, now: Millis, ticket: Ticket, request: CommitOffsets, out: &mut Vec<Effect>) {
        if let Err(error) = self.check_commit(now, &request.from) {
            let answers = vec![error; request.offsets.len()];
            out.push(Effect::Answer(ticket, Answer::Committed(answers)));
            return;
        }
        let name = request.from.group;
        if self.groups.len() >= self.settings.groups_max && !self.groups.contains_key(&name) {
            let answers = vec![ErrorCode::GROUP_MAX_SIZE_REACHED; request.offsets.len()];
            out.push(Effect::Answer(ticket, Answer::Committed(answers)));
            return;
        }
        let metadata_max = self.settings.offset_metadata_bytes_max;
        let mut answers = Vec::with_capacity(request.offsets.len());
        let mut accepted = Vec::new();
        let mut records = Vec::new();
        for commit in request.offsets {
            if commit.metadata.len() > metadata_max {
                answers.push(ErrorCode::OFFSET_METADATA_TOO_LARGE);
                continue;
            }
            answers.push(ErrorCode::NONE);
            let at_ms = now as i64;
            let committed = Committed {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata,
                at_ms,
                expires_at_ms: commit.retention_ms.map(|keep| at_ms.saturating_add(keep)),
            };
            records.push(Record::Offset {
                group: name.clone(),
                topic: commit.topic.clone(),
                partition: commit.partition,
                value: Some(committed.clone()),
            });
            accepted.push(((commit.topic, commit.partition), committed));
        }
        if accepted.is_empty() {
            out.push(Effect::Answer(ticket, Answer::Committed(answers)));
            return;
        }
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group::new(name.clone(), now));
        group.commits_pending += 1;
        let then = Appending::Offsets { ticket, group: name.clone(), offsets: accepted, answers };
        self.append(&name, records, then, out);
    }

    fn check_commit(&mut self, now: Millis, from: &Voice) -> Result<(), ErrorCode> {
        self.check_group(&from.group)?;
        let Some(group) = self.groups.get_mut(&from.group) else {
            return if from.generation < 0 { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) };
        };
        if from.generation < 0 && group.state == State::Empty {
            return Ok(());
        }
        if from.generation < 0 && from.member.is_empty() && from.instance.is_none() {
            // The group is managed by its members; nobody commits beside them.
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if let Err(error) = group.check_voice(from)
            && !planted::is(Mistake::CommitOfOldGeneration)
        {
            return Err(error);
        }
        if let Some(member) = group.members.get_mut(&from.member) {
            member.heard(now);
        }
        match group.state {
            State::CompletingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::Empty | State::PreparingRebalance | State::Stable => Ok(()),
        }
    }

    pub(super) fn offsets_appended(
        &mut self,
        name: &str,
        offsets: Vec<((String, i32), Committed)>,
        answers: Vec<ErrorCode>,
        result: Result<(), ErrorCode>,
    ) -> Vec<ErrorCode> {
        if let Some(group) = self.groups.get_mut(name) {
            group.commits_pending = group.commits_pending.saturating_sub(1);
            if result.is_ok() {
                self.counts.commits += offsets.len() as u64;
                group.offsets.extend(offsets);
            }
        }
        let Err(error) = result else { return answers };
        let error = as_seen_by_members(error);
        let answers = answers.into_iter();
        answers.map(|answer| if answer == ErrorCode::NONE { error } else { answer }).collect()
    }

    /// How far a group has read: these partitions, or all it knows.
    pub fn offsets(
        &self,
        name: &str,
        partitions: Option<&[(String, i32)]>,
    ) -> Result<Vec<(String, i32, Option<Committed>)>, ErrorCode> {
        self.check_group(name)?;
        let offsets = self.groups.get(name).map(|group| &group.offsets);
        Ok(match partitions {
            Some(asked) => asked
                .iter()
                .map(|key| (key.0.clone(), key.1, offsets.and_then(|offsets| offsets.get(key)).cloned()))
                .collect(),
            None => offsets
                .into_iter()
                .flatten()
                .map(|((topic, partition), committed)| (topic.clone(), *partition, Some(committed.clone())))
                .collect(),
        })
    }

    /// Forgets offsets, unless a member reads the topic. The answers are in the order of `offsets`.
    pub fn delete_offsets(
        &mut self,
        ticket: Ticket,
        name: &str,
        offsets: &[(String, i32)],
        out: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_group(name)?;
        let group = self.groups.get_mut(name).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let topics = match group.state {
            State::Empty => None,
            _ if group.protocol_type.as_deref() == Some("consumer") => group.topics(),
            _ => return Err(ErrorCode::NON_EMPTY_GROUP),
        };
        let mut answers = Vec::new();
        let mut records = Vec::new();
        for key in offsets {
            if topics.as_ref().is_some_and(|topics| topics.contains(&key.0)) {
                answers.push(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC);
                continue;
            }
            answers.push(ErrorCode::NONE);
            if group.offsets.remove(key).is_some() {
                records.push(forget(name, key));
            }
        }
        self.counts.deleted += records.len() as u64;
        if !records.is_empty() && group.is_over() {
            records.push(Record::Group { group: name.to_owned(), value: None });
            self.groups.remove(name);
        }
        if records.is_empty() {
            out.push(Effect::Answer(ticket, Answer::Deleted(answers)));
        } else {
            self.append(name, records, Appending::Removal { ticket, answers }, out);
        }
        Ok(())
    }

    /// Forgets what was committed for partitions that were deleted.
    pub fn partitions_deleted(&mut self, deleted: &[(String, i32)], out: &mut Vec<Effect>) {
        self.counts.deleted += self.forget_where(out, |_, key, _| deleted.contains(key));
    }

    /// Forgets offsets that nobody has use for any more, and groups that hold nothing. Call it now and then.
    pub fn expire(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let retention = self.settings.offsets_retention_ms as i64;
        let now = now as i64;
        let topics: BTreeMap<String, _> =
            self.groups.iter().map(|(name, group)| (name.clone(), group.topics())).collect();
        self.counts.expired += self.forget_where(out, |group, (topic, _), committed| {
            if let Some(expires_at) = committed.expires_at_ms {
                return now >= expires_at && group.state == State::Empty;
            }
            let unused_since = match (&group.protocol_type, group.state) {
                (Some(_), State::Empty) => committed.at_ms.max(group.since as i64),
                (Some(_), State::Stable) => match topics.get(&group.name) {
                    Some(Some(topics)) if !topics.contains(topic) => committed.at_ms,
                    _ => return false,
                },
                (Some(_), _) => return false,
                (None, _) => committed.at_ms,
            };
            now.saturating_sub(unused_since) >= retention
        });
    }

    /// Says how many it were.
    fn forget_where(
        &mut self,
        out: &mut Vec<Effect>,
        is_unused: impl Fn(&Group, &(String, i32), &Committed) -> bool,
    ) -> u64 {
        let mut count = 0;
        let mut records: BTreeMap<i32, Vec<Record>> = Default::default();
        let mut emptied = Vec::new();
        for (name, group) in &mut self.groups {
            let partition = partition_of(name, self.settings.partitions);
            if self.partitions.get(&partition) != Some(&true) {
                continue;
            }
            let unused: Vec<(String, i32)> = group
                .offsets
                .iter()
                .filter(|(key, committed)| is_unused(group, key, committed))
                .map(|(key, _)| key.clone())
                .collect();
            count += unused.len() as u64;
            for key in unused {
                group.offsets.remove(&key);
                records.entry(partition).or_default().push(forget(name, &key));
            }
            if group.is_over() {
                records
                    .entry(partition)
                    .or_default()
                    .push(Record::Group { group: name.clone(), value: None });
                emptied.push(name.clone());
            }
        }
        for name in emptied {
            self.groups.remove(&name);
        }
        for (partition, records) in records {
            self.append_to(partition, records, Appending::Unattended, out);
        }
        count
    }
}

fn forget(group: &str, (topic, partition): &(String, i32)) -> Record {
    Record::Offset { group: group.to_owned(), topic: topic.clone(), partition: *partition, value: None }
}
