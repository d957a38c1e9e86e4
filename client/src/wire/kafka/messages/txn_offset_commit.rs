//! TxnOffsetCommit: key 28.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// A consumer group notes how far it has read, valid once the transaction commits.
    TxnOffsetCommitRequest {
        transactional_id: Str;
        group_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        generation_id: i32 = -1, in 3..;
        member_id: Str, in 3..;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 3..;
        topics: Vec<TxnOffsetCommitRequestTopic>;
    }

    /// See [`TxnOffsetCommitRequest::topics`].
    TxnOffsetCommitRequestTopic {
        name: Str;
        partitions: Vec<TxnOffsetCommitRequestPartition>;
    }

    /// See [`TxnOffsetCommitRequestTopic::partitions`].
    TxnOffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        /// Epoch of the last record read; -1 if unknown.
        committed_leader_epoch: i32 = -1, in 2..;
        committed_metadata: Option<Str>;
    }

    /// Noted or not, partition by partition.
    TxnOffsetCommitResponse {
        throttle_time_ms: i32;
        topics: Vec<TxnOffsetCommitResponseTopic>;
    }

    /// See [`TxnOffsetCommitResponse::topics`].
    TxnOffsetCommitResponseTopic {
        name: Str;
        partitions: Vec<TxnOffsetCommitResponsePartition>;
    }

    /// See [`TxnOffsetCommitResponseTopic::partitions`].
    TxnOffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
