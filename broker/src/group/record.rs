//! What does a group leave in the log?

use bytes::Bytes;
use client::wire::kafka::stored::offsets::{
    GroupMetadataKey, GroupMetadataValue, MemberMetadata, OffsetCommitKey, OffsetCommitValue,
};
use client::wire::kafka::{DecodeError, EncodeError, Message};

use super::offsets::Committed;

/// One record of the offsets topic.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// How far a group has read a partition; `None` when that is forgotten.
    Offset { group: String, topic: String, partition: i32, value: Option<Committed> },
    /// A group's members and their assignments; `None` when the group is forgotten.
    Group { group: String, value: Option<GroupImage> },
}

/// A group, as far as it survives its coordinator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupImage {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// When the group entered its state, as wall clock.
    pub since_ms: i64,
    pub members: Vec<MemberImage>,
}

/// A member, as far as it survives its coordinator.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MemberImage {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: u32,
    pub session_timeout_ms: u32,
    /// What it said about itself for the group's protocol.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// The version that Kafka 3.9 writes with ZooKeeper.
const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const VALUE_VERSION: i16 = 3;

/// Written only for clients that choose a time of their own.
const VALUE_VERSION_WITH_EXPIRY: i16 = 1;

impl Record {
    /// The record's key and value as the log has them; no value forgets the key.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeError> {
        match self {
            Record::Offset { group, topic, partition, value } => {
                let key = OffsetCommitKey {
                    group: group.as_str().into(),
                    topic: topic.as_str().into(),
                    partition: *partition,
                };
                let value = value.as_ref().map(Committed::encode).transpose()?;
                Ok((key.encode_versioned(OFFSET_KEY_VERSION)?, value))
            }
            Record::Group { group, value } => {
                let key = GroupMetadataKey { group: group.as_str().into() };
                let value = value.as_ref().map(GroupImage::encode).transpose()?;
                Ok((key.encode_versioned(GROUP_KEY_VERSION)?, value))
            }
        }
    }

    /// Reads a record of the offsets topic; `None` for kinds that this broker does not know.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Record>, DecodeError> {
        match key.first_chunk().map(|version| i16::from_be_bytes(*version)) {
            Some(0..=OFFSET_KEY_VERSION) => {
                let (_, key) = OffsetCommitKey::decode_versioned(key)?;
                Ok(Some(Record::Offset {
                    group: key.group.to_string(),
                    topic: key.topic.to_string(),
                    partition: key.partition,
                    value: value.map(Committed::decode).transpose()?,
                }))
            }
            Some(GROUP_KEY_VERSION) => {
                let (_, key) = GroupMetadataKey::decode_versioned(key)?;
                let value = value.map(GroupImage::decode).transpose()?;
                Ok(Some(Record::Group { group: key.group.to_string(), value }))
            }
            _ => Ok(None),
        }
    }
}

impl Committed {
    fn encode(&self) -> Result<Bytes, EncodeError> {
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.as_str().into(),
            commit_timestamp: self.at_ms,
            expire_timestamp: self.expires_at_ms.unwrap_or(-1),
        };
        let expires = self.expires_at_ms.is_some();
        value.encode_versioned(if expires { VALUE_VERSION_WITH_EXPIRY } else { VALUE_VERSION })
    }

    fn decode(value: Bytes) -> Result<Committed, DecodeError> {
        let (_, value) = OffsetCommitValue::decode_versioned(value)?;
        Ok(Committed {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.to_string(),
            at_ms: value.commit_timestamp,
            expires_at_ms: Some(value.expire_timestamp).filter(|&at| at >= 0),
        })
    }
}

impl GroupImage {
    fn encode(&self) -> Result<Bytes, EncodeError> {
        let members = self.members.iter().map(|member| MemberMetadata {
            member_id: member.id.as_str().into(),
            group_instance_id: member.instance.as_deref().map(Into::into),
            client_id: member.client_id.as_str().into(),
            client_host: member.client_host.as_str().into(),
            rebalance_timeout: i32::try_from(member.rebalance_timeout_ms).unwrap_or(i32::MAX),
            session_timeout: i32::try_from(member.session_timeout_ms).unwrap_or(i32::MAX),
            subscription: member.metadata.clone(),
            assignment: member.assignment.clone(),
        });
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.as_str().into(),
            generation: self.generation,
            protocol: self.protocol.as_deref().map(Into::into),
            leader: self.leader.as_deref().map(Into::into),
            current_state_timestamp: self.since_ms,
            members: members.collect(),
        };
        value.encode_versioned(VALUE_VERSION)
    }

    fn decode(value: Bytes) -> Result<GroupImage, DecodeError> {
        let (_, value) = GroupMetadataValue::decode_versioned(value)?;
        let members = value.members.into_iter().map(|member| {
            let session_timeout_ms = u32::try_from(member.session_timeout).unwrap_or(0);
            MemberImage {
                id: member.member_id.to_string(),
                instance: member.group_instance_id.map(|instance| instance.to_string()),
                client_id: member.client_id.to_string(),
                client_host: member.client_host.to_string(),
                // The first version has no such field, and its members had the one timeout for both.
                rebalance_timeout_ms: u32::try_from(member.rebalance_timeout).unwrap_or(session_timeout_ms),
                session_timeout_ms,
                metadata: own(member.subscription),
                assignment: own(member.assignment),
            }
        });
        Ok(GroupImage {
            protocol_type: value.protocol_type.to_string(),
            generation: value.generation,
            protocol: value.protocol.map(|protocol| protocol.to_string()),
            leader: value.leader.map(|leader| leader.to_string()),
            since_ms: value.current_state_timestamp,
            members: members.collect(),
        })
    }
}

/// Bytes that do not keep the batch they came in.
fn own(bytes: Bytes) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}
