//! ListOffsets: key 2.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for the offset that belongs to a point in time, or for a special one: -1 latest, -2 earliest,
    /// -3 the one with the largest timestamp, -4 earliest on local disk, -5 latest in remote storage.
    ListOffsetsRequest {
        /// The follower's broker id; -1 for consumers.
        replica_id: i32;
        /// 0 reads everything below the high watermark, 1 only what is committed.
        isolation_level: i8, in 2..;
        topics: Vec<ListOffsetsTopic>;
    }

    /// See [`ListOffsetsRequest::topics`].
    ListOffsetsTopic {
        name: Str;
        partitions: Vec<ListOffsetsPartition>;
    }

    /// See [`ListOffsetsTopic::partitions`].
    ListOffsetsPartition {
        partition_index: i32;
        /// The epoch the asker believes in, to be refused if it is not current; -1 if it has none.
        current_leader_epoch: i32 = -1, in 4..;
        timestamp: i64;
        max_num_offsets: i32 = 1, in 0..=0;
    }

    /// The offset found for each partition.
    ListOffsetsResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// See [`ListOffsetsResponse::topics`].
    ListOffsetsTopicResponse {
        name: Str;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// See [`ListOffsetsTopicResponse::partitions`].
    ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        /// Offsets of segments, newest first.
        old_style_offsets: Vec<i64>, in 0..=0;
        timestamp: i64 = -1, in 1..;
        offset: i64 = -1, in 1..;
        leader_epoch: i32 = -1, in 4..;
    }
}
