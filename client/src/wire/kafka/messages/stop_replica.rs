//! StopReplica: key 5.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// The controller tells a broker to stop following partitions, and perhaps to delete them.
    StopReplicaRequest {
        /// The controller's broker id; -1 if there is none.
        controller_id: i32;
        /// Whether a KRaft controller sent it; never set with ZooKeeper.
        is_kraft_controller: bool, in 4..;
        /// An older controller is fenced by it.
        controller_epoch: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1, in 1..;
        delete_partitions: bool, in 0..=2;
        ungrouped_partitions: Vec<StopReplicaPartitionV0>, in 0..=0;
        topics: Vec<StopReplicaTopicV1>, in 1..=2;
        topic_states: Vec<StopReplicaTopicState>, in 3..;
    }

    /// See [`StopReplicaRequest::ungrouped_partitions`].
    StopReplicaPartitionV0 {
        topic_name: Str;
        partition_index: i32;
    }

    /// See [`StopReplicaRequest::topics`].
    StopReplicaTopicV1 {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// See [`StopReplicaRequest::topic_states`].
    StopReplicaTopicState {
        topic_name: Str;
        partition_states: Vec<StopReplicaPartitionState>;
    }

    /// See [`StopReplicaTopicState::partition_states`].
    StopReplicaPartitionState {
        partition_index: i32;
        leader_epoch: i32 = -1;
        delete_partition: bool;
    }

    /// What the broker made of it, partition by partition.
    StopReplicaResponse {
        error_code: ErrorCode;
        partition_errors: Vec<StopReplicaPartitionError>;
    }

    /// See [`StopReplicaResponse::partition_errors`].
    StopReplicaPartitionError {
        topic_name: Str;
        partition_index: i32;
        error_code: ErrorCode;
    }
}
