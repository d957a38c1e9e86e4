//! DescribeLogDirs: key 35.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks how full log directories are, and with what. No topics (null) stands for all of them.
    DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>>;
    }

    /// See [`DescribeLogDirsRequest::topics`].
    DescribableLogDirTopic {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// The directories.
    DescribeLogDirsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 3..;
        results: Vec<DescribeLogDirsResult>;
    }

    /// See [`DescribeLogDirsResponse::results`].
    DescribeLogDirsResult {
        error_code: ErrorCode;
        log_dir: Str;
        topics: Vec<DescribeLogDirsTopic>;
        /// Size of the volume; -1 if unknown.
        total_bytes: i64 = -1, in 4..;
        /// Free space of the volume; -1 if unknown.
        usable_bytes: i64 = -1, in 4..;
    }

    /// See [`DescribeLogDirsResult::topics`].
    DescribeLogDirsTopic {
        name: Str;
        partitions: Vec<DescribeLogDirsPartition>;
    }

    /// See [`DescribeLogDirsTopic::partitions`].
    DescribeLogDirsPartition {
        partition_index: i32;
        partition_size: i64;
        /// How far the replica is behind the high watermark, or a future replica behind the current one.
        offset_lag: i64;
        /// It is being copied here, to replace the replica in another directory.
        is_future_key: bool;
    }
}
