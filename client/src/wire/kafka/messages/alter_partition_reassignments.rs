//! AlterPartitionReassignments: key 45.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Moves replicas to other brokers; null replicas cancel a move.
    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000;
        topics: Vec<ReassignableTopic>;
    }

    /// See [`AlterPartitionReassignmentsRequest::topics`].
    ReassignableTopic {
        name: Str;
        partitions: Vec<ReassignablePartition>;
    }

    /// See [`ReassignableTopic::partitions`].
    ReassignablePartition {
        partition_index: i32;
        replicas: Option<Vec<i32>>;
    }

    /// Begun or not, partition by partition.
    AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        responses: Vec<ReassignableTopicResponse>;
    }

    /// See [`AlterPartitionReassignmentsResponse::responses`].
    ReassignableTopicResponse {
        name: Str;
        partitions: Vec<ReassignablePartitionResponse>;
    }

    /// See [`ReassignableTopicResponse::partitions`].
    ReassignablePartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
