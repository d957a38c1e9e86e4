//! OffsetForLeaderEpoch: key 23.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks where a leader epoch ended in the leader's log, to find out where two logs part.
    OffsetForLeaderEpochRequest {
        /// The follower's broker id; -1 for consumers.
        replica_id: i32 = -2, in 3..;
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// See [`OffsetForLeaderEpochRequest::topics`].
    OffsetForLeaderTopic {
        topic: Str;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// See [`OffsetForLeaderTopic::partitions`].
    OffsetForLeaderPartition {
        partition: i32;
        /// The epoch the asker believes in, to be refused if it is not current; -1 if it has none.
        current_leader_epoch: i32 = -1, in 2..;
        leader_epoch: i32;
    }

    /// The end of each epoch, or of the largest one below it.
    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// See [`OffsetForLeaderEpochResponse::topics`].
    OffsetForLeaderTopicResult {
        topic: Str;
        partitions: Vec<EpochEndOffset>;
    }

    /// See [`OffsetForLeaderTopicResult::partitions`].
    EpochEndOffset {
        error_code: ErrorCode;
        partition: i32;
        leader_epoch: i32 = -1, in 1..;
        end_offset: i64 = -1;
    }
}
