//! OffsetDelete: key 47.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Forgets how far a group has read topics it no longer subscribes to.
    OffsetDeleteRequest {
        group_id: Str;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// See [`OffsetDeleteRequest::topics`].
    OffsetDeleteRequestTopic {
        name: Str;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// See [`OffsetDeleteRequestTopic::partitions`].
    OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    /// Forgotten or not, partition by partition.
    OffsetDeleteResponse {
        error_code: ErrorCode;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// See [`OffsetDeleteResponse::topics`].
    OffsetDeleteResponseTopic {
        name: Str;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// See [`OffsetDeleteResponseTopic::partitions`].
    OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
