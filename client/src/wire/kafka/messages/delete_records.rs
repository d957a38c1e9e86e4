//! DeleteRecords: key 21.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Moves the start of logs forward; -1 stands for the high watermark.
    DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic>;
        timeout_ms: i32;
    }

    /// See [`DeleteRecordsRequest::topics`].
    DeleteRecordsTopic {
        name: Str;
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// See [`DeleteRecordsTopic::partitions`].
    DeleteRecordsPartition {
        partition_index: i32;
        offset: i64;
    }

    /// Where the logs now start.
    DeleteRecordsResponse {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult>;
    }

    /// See [`DeleteRecordsResponse::topics`].
    DeleteRecordsTopicResult {
        name: Str;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// See [`DeleteRecordsTopicResult::partitions`].
    DeleteRecordsPartitionResult {
        partition_index: i32;
        /// The lowest start of all replicas' logs; -1 on error.
        low_watermark: i64;
        error_code: ErrorCode;
    }
}
