//! OffsetCommit: key 8.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// A consumer group notes how far it has read.
    OffsetCommitRequest {
        group_id: Str;
        /// Generation of a classic group, member epoch of a new one; -1 for a lonely consumer.
        generation_id_or_member_epoch: i32 = -1, in 1..;
        member_id: Str, in 1..;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 7..;
        /// How long to keep the offsets; -1 for the broker's setting.
        retention_time_ms: i64 = -1, in 2..=4;
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// See [`OffsetCommitRequest::topics`].
    OffsetCommitRequestTopic {
        name: Str;
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// See [`OffsetCommitRequestTopic::partitions`].
    OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        /// Epoch of the last record read; -1 if unknown.
        committed_leader_epoch: i32 = -1, in 6..;
        commit_timestamp: i64 = -1, in 1..=1;
        committed_metadata: Option<Str>;
    }

    /// Noted or not, partition by partition.
    OffsetCommitResponse {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// See [`OffsetCommitResponse::topics`].
    OffsetCommitResponseTopic {
        name: Str;
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// See [`OffsetCommitResponseTopic::partitions`].
    OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
