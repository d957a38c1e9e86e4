//! ListPartitionReassignments: key 46.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks which moves are going on. No topics (null) stands for all of them.
    ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>;
    }

    /// See [`ListPartitionReassignmentsRequest::topics`].
    ListPartitionReassignmentsTopics {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// The moves.
    ListPartitionReassignmentsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        topics: Vec<OngoingTopicReassignment>;
    }

    /// See [`ListPartitionReassignmentsResponse::topics`].
    OngoingTopicReassignment {
        name: Str;
        partitions: Vec<OngoingPartitionReassignment>;
    }

    /// See [`OngoingTopicReassignment::partitions`].
    OngoingPartitionReassignment {
        partition_index: i32;
        replicas: Vec<i32>;
        /// Being moved in.
        adding_replicas: Vec<i32>;
        /// Being moved out.
        removing_replicas: Vec<i32>;
    }
}
