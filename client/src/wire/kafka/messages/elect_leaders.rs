//! ElectLeaders: key 43.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks the controller to elect leaders: the preferred ones (type 0) or any at all (1). No partitions
    /// (null) stands for all of them.
    ElectLeadersRequest {
        election_type: i8, in 1..;
        topic_partitions: Option<Vec<TopicPartitions>>;
        timeout_ms: i32 = 60000;
    }

    /// See [`ElectLeadersRequest::topic_partitions`].
    TopicPartitions {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// Elected or not, partition by partition.
    ElectLeadersResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 1..;
        replica_election_results: Vec<ReplicaElectionResult>;
    }

    /// See [`ElectLeadersResponse::replica_election_results`].
    ReplicaElectionResult {
        topic: Str;
        partition_result: Vec<PartitionResult>;
    }

    /// See [`ReplicaElectionResult::partition_result`].
    PartitionResult {
        partition_id: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
