//! Records of `__consumer_offsets`: what groups are and how far they have read. A key without a value forgets it.
//!
//! The version tells keys apart: 0 and 1 are offsets, 2 is a group.

use bytes::Bytes;

use crate::wire::kafka::Str;
use crate::wire::kafka::schema::schema;

schema! {
    /// Whose offset it is.
    OffsetCommitKey message 0..=1 {
        group: Str;
        topic: Str;
        partition: i32;
    }

    /// How far the group has read.
    OffsetCommitValue message 0..=4 flexible 4 {
        offset: i64;
        /// Epoch of the last record read; -1 if unknown.
        leader_epoch: i32 = -1, in 3..;
        /// Opaque to the broker.
        metadata: Str;
        commit_timestamp: i64;
        /// When to forget the offset; -1 for the broker's setting.
        expire_timestamp: i64 = -1, in 1..=1;
    }

    /// Which group it is.
    GroupMetadataKey message 2..=2 {
        group: Str;
    }

    /// A group between two rebalances.
    GroupMetadataValue message 0..=4 flexible 4 {
        /// `consumer`, `connect`, ...
        protocol_type: Str;
        generation: i32;
        /// The assignor chosen; null while there is none.
        protocol: Option<Str>;
        /// The leader's member id.
        leader: Option<Str>;
        /// When the group last changed state; -1 if unknown.
        current_state_timestamp: i64 = -1, in 2..;
        members: Vec<MemberMetadata>;
    }

    /// See [`GroupMetadataValue::members`].
    MemberMetadata {
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 3..;
        client_id: Str;
        client_host: Str;
        /// In milliseconds.
        rebalance_timeout: i32 = -1, in 1..;
        /// In milliseconds.
        session_timeout: i32;
        /// Opaque to the broker.
        subscription: Bytes;
        /// Opaque to the broker.
        assignment: Bytes;
    }
}
