//! OffsetFetch: key 9.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks how far consumer groups have read. No topics (null) stands for all of them.
    OffsetFetchRequest {
        group_id: Str, in 0..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>>, in 0..=7, null 2..=7;
        groups: Vec<OffsetFetchRequestGroup>, in 8..;
        /// Rather fail than answer while a transaction may change the offsets.
        require_stable: bool, in 7..;
    }

    /// See [`OffsetFetchRequest::topics`].
    OffsetFetchRequestTopic {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// See [`OffsetFetchRequest::groups`].
    OffsetFetchRequestGroup {
        group_id: Str;
        member_id: Option<Str>, in 9..;
        member_epoch: i32 = -1, in 9..;
        topics: Option<Vec<OffsetFetchRequestTopics>>;
    }

    /// See [`OffsetFetchRequestGroup::topics`].
    OffsetFetchRequestTopics {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// The offsets noted; -1 where there is none.
    OffsetFetchResponse {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetFetchResponseTopic>, in 0..=7;
        error_code: ErrorCode, in 2..=7;
        groups: Vec<OffsetFetchResponseGroup>, in 8..;
    }

    /// See [`OffsetFetchResponse::topics`].
    OffsetFetchResponseTopic {
        name: Str;
        partitions: Vec<OffsetFetchResponsePartition>;
    }

    /// See [`OffsetFetchResponseTopic::partitions`].
    OffsetFetchResponsePartition {
        partition_index: i32;
        committed_offset: i64;
        /// Epoch of the last record read; -1 if unknown.
        committed_leader_epoch: i32 = -1, in 5..;
        /// Opaque to the broker.
        metadata: Option<Str>;
        error_code: ErrorCode;
    }

    /// See [`OffsetFetchResponse::groups`].
    OffsetFetchResponseGroup {
        group_id: Str;
        topics: Vec<OffsetFetchResponseTopics>;
        error_code: ErrorCode;
    }

    /// See [`OffsetFetchResponseGroup::topics`].
    OffsetFetchResponseTopics {
        name: Str;
        partitions: Vec<OffsetFetchResponsePartitions>;
    }

    /// See [`OffsetFetchResponseTopics::partitions`].
    OffsetFetchResponsePartitions {
        partition_index: i32;
        committed_offset: i64;
        /// Epoch of the last record read; -1 if unknown.
        committed_leader_epoch: i32 = -1;
        /// Opaque to the broker.
        metadata: Option<Str>;
        error_code: ErrorCode;
    }
}
