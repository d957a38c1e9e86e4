//! What do administrators see of groups, and how do they remove them?

use bytes::Bytes;
use client::wire::kafka::ErrorCode;

use super::groups::{Answer, Appending, Effect, Groups, Ticket};
use super::record::{GroupImage, MemberImage, Record};
use super::state::{Group, State};

/// A line in the list of groups.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedGroup {
    pub name: String,
    pub protocol_type: String,
    pub state: State,
}

/// A group as administrators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedGroup {
    pub state: State,
    pub protocol_type: String,
    /// What the members agreed on; empty between two generations.
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

/// A member as administrators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedMember {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl Groups {
    /// All groups served here.
    pub fn list(&self) -> Vec<ListedGroup> {
        let line = |group: &Group| ListedGroup {
            name: group.name.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        };
        self.groups.values().map(line).collect()
    }

    /// How many partitions' offsets all groups have together.
    pub fn offset_count(&self) -> usize {
        self.groups.values().map(|group| group.offsets.len()).sum()
    }

    /// Whether some partition that is led here is still being read, so that groups may be missing.
    pub fn is_loading(&self) -> bool {
        self.partitions.values().any(|&loaded| !loaded)
    }

    /// One group; `None` if there is none of this name.
    pub fn describe(&self, name: &str) -> Result<Option<DescribedGroup>, ErrorCode> {
        self.check_group(name)?;
        Ok(self.groups.get(name).map(|group| {
            let image = group.image();
            let is_stable = group.state == State::Stable;
            let describe = |member: MemberImage| DescribedMember {
                id: member.id,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                metadata: if is_stable { member.metadata } else { Bytes::new() },
                assignment: if is_stable { member.assignment } else { Bytes::new() },
            };
            DescribedGroup {
                state: group.state,
                protocol_type: image.protocol_type,
                protocol: image.protocol.filter(|_| is_stable).unwrap_or_default(),
                members: image.members.into_iter().map(describe).collect(),
            }
        }))
    }

    /// Removes a group that has no members, with its offsets.
    pub fn delete(&mut self, ticket: Ticket, name: &str, out: &mut Vec<Effect>) {
        if let Err(error) = self.try_delete(ticket, name, out) {
            out.push(Effect::Answer(ticket, Answer::Deleted(vec![error])));
        }
    }

    fn try_delete(&mut self, ticket: Ticket, name: &str, out: &mut Vec<Effect>) -> Result<(), ErrorCode> {
        self.check_group(name)?;
        let group = self.groups.get(name).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        if group.state != State::Empty || !group.invited.is_empty() {
            return Err(ErrorCode::NON_EMPTY_GROUP);
        }
        let forget = |(topic, partition): &(String, i32)| Record::Offset {
            group: name.to_owned(),
            topic: topic.clone(),
            partition: *partition,
            value: None,
        };
        let mut records: Vec<Record> = group.offsets.keys().map(forget).collect();
        records.push(Record::Group { group: name.to_owned(), value: None });
        self.groups.remove(name);
        let then = Appending::Removal { ticket, answers: vec![ErrorCode::NONE] };
        self.append(name, records, then, out);
        Ok(())
    }
}

impl Group {
    /// The group as it goes into the log.
    pub(super) fn image(&self) -> GroupImage {
        let protocol = self.protocol.as_deref();
        let members = self.members.values().map(|member| MemberImage {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: member.assignment.clone(),
        });
        GroupImage {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since_ms: self.since as i64,
            members: members.collect(),
        }
    }
}
