//! How does a broker take over the groups of a partition, and let go of them?

use client::wire::kafka::ErrorCode;

use super::Millis;
use super::groups::{Answer, Effect, Groups, partition_of};
use super::join::JoinedAs;
use super::member::Member;
use super::record::{GroupImage, Record};
use super::state::{Group, State};

impl Groups {
    /// This broker leads a partition of the offsets topic now. Its records follow by [`Groups::replay`]; until
    /// [`Groups::loaded`], nobody is served from it.
    pub fn load(&mut self, partition: i32) {
        self.partitions.insert(partition, false);
    }

    /// A record of a partition that is being loaded, in the order of the log.
    pub fn replay(&mut self, now: Millis, record: Record) {
        match record {
            Record::Offset { group, topic, partition, value } => {
                let key = (topic, partition);
                match value {
                    Some(committed) => {
                        let entry = self.groups.entry(group.clone());
                        entry.or_insert_with(|| Group::new(group, now)).offsets.insert(key, committed);
                    }
                    None => {
                        if let Some(group) = self.groups.get_mut(&group) {
                            group.offsets.remove(&key);
                        }
                    }
                }
            }
            Record::Group { group, value: Some(image) } => {
                let entry = self.groups.entry(group.clone());
                entry.or_insert_with(|| Group::new(group, now)).restore(image);
            }
            Record::Group { group, value: None } => {
                if let Some(known) = self.groups.get_mut(&group) {
                    if known.offsets.is_empty() {
                        self.groups.remove(&group);
                    } else {
                        known.restore(GroupImage::default());
                        known.protocol_type = None;
                    }
                }
            }
        }
    }

    /// Everything in the partition was replayed: its groups are served, and their members have a whole session to speak.
    pub fn loaded(&mut self, now: Millis, partition: i32) {
        if self.partitions.get(&partition) != Some(&false) {
            return;
        }
        self.partitions.insert(partition, true);
        let partitions = self.settings.partitions;
        let mut watched = Vec::new();
        for (name, group) in &mut self.groups {
            if partition_of(name, partitions) != partition {
                continue;
            }
            for member in group.members.values_mut() {
                member.heard(now);
                watched.push((name.clone(), member.id.clone(), member.alive_until));
            }
        }
        for (group, member, alive_until) in watched {
            self.watch_member(&group, &member, alive_until);
        }
    }

    /// Another broker leads the partition now: whoever waits here has to ask there.
    pub fn resign(&mut self, partition: i32, out: &mut Vec<Effect>) {
        if self.partitions.remove(&partition).is_none() {
            return;
        }
        let partitions = self.settings.partitions;
        let theirs = |name: &str| partition_of(name, partitions) == partition;
        for (_, mut group) in self.groups.extract_if(.., |name, _| theirs(name)) {
            for (_, ticket) in group.take_syncing() {
                out.push(Effect::Answer(ticket, Answer::Synced(Err(ErrorCode::NOT_COORDINATOR))));
            }
            for member in group.members.into_values() {
                if let Some(ticket) = member.joining {
                    let refused = JoinedAs::refused(member.id, ErrorCode::NOT_COORDINATOR);
                    out.push(Effect::Answer(ticket, Answer::Joined(refused)));
                }
            }
        }
    }
}

impl Group {
    /// Becomes what the log says; offsets stay.
    fn restore(&mut self, image: GroupImage) {
        self.members.clear();
        self.instances.clear();
        self.generation = image.generation;
        self.protocol.clone_from(&image.protocol);
        self.leader = image.leader.clone();
        self.state = if image.members.is_empty() { State::Empty } else { State::Stable };
        self.since = image.since_ms.max(0) as Millis;
        for member in image.members {
            let protocol = image.protocol.clone().unwrap_or_default();
            let member = Member {
                id: member.id,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocols: vec![(protocol, member.metadata)],
                assignment: member.assignment,
                joining: None,
                syncing: None,
                is_new: false,
                alive_until: 0,
            };
            self.add(member, &image.protocol_type);
        }
        self.protocol_type = Some(image.protocol_type).filter(|kind| !kind.is_empty());
    }
}
