//! AlterReplicaLogDirs: key 34.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Moves replicas to another log directory of the same broker.
    AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>;
    }

    /// See [`AlterReplicaLogDirsRequest::dirs`].
    AlterReplicaLogDir {
        path: Str;
        topics: Vec<AlterReplicaLogDirTopic>;
    }

    /// See [`AlterReplicaLogDir::topics`].
    AlterReplicaLogDirTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    /// Begun or not, partition by partition.
    AlterReplicaLogDirsResponse {
        throttle_time_ms: i32;
        results: Vec<AlterReplicaLogDirTopicResult>;
    }

    /// See [`AlterReplicaLogDirsResponse::results`].
    AlterReplicaLogDirTopicResult {
        topic_name: Str;
        partitions: Vec<AlterReplicaLogDirPartitionResult>;
    }

    /// See [`AlterReplicaLogDirTopicResult::partitions`].
    AlterReplicaLogDirPartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
