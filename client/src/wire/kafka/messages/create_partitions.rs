//! CreatePartitions: key 37.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Raises the number of partitions of topics.
    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        /// Check, but change nothing.
        validate_only: bool;
    }

    /// See [`CreatePartitionsRequest::topics`].
    CreatePartitionsTopic {
        name: Str;
        count: i32;
        /// Replicas of each new partition; null leaves it to the broker.
        assignments: Option<Vec<CreatePartitionsAssignment>>;
    }

    /// See [`CreatePartitionsTopic::assignments`].
    CreatePartitionsAssignment {
        /// In order of preference.
        broker_ids: Vec<i32>;
    }

    /// Raised or not, topic by topic.
    CreatePartitionsResponse {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// See [`CreatePartitionsResponse::results`].
    CreatePartitionsTopicResult {
        name: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
