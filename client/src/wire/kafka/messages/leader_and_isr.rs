//! LeaderAndIsr: key 4.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// The controller tells a broker which replicas it leads or follows, and with whom.
    LeaderAndIsrRequest {
        /// The controller's broker id; -1 if there is none.
        controller_id: i32;
        /// Whether a KRaft controller sent it; never set with ZooKeeper.
        is_kraft_controller: bool, in 7..;
        /// An older controller is fenced by it.
        controller_epoch: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1, in 2..;
        /// 0 unknown, 1 everything, 2 only changes.
        kind: i8, in 5..;
        ungrouped_partition_states: Vec<LeaderAndIsrPartitionState>, in 0..=1;
        topic_states: Vec<LeaderAndIsrTopicState>, in 2..;
        /// Addresses of the leaders named above.
        live_leaders: Vec<LeaderAndIsrLiveLeader>;
    }

    /// See [`LeaderAndIsrRequest::ungrouped_partition_states`].
    LeaderAndIsrPartitionState {
        topic_name: Str, in 0..=1;
        partition_index: i32;
        /// An older controller is fenced by it.
        controller_epoch: i32;
        /// Broker id; -1 if there is none.
        leader: i32;
        leader_epoch: i32;
        isr: Vec<i32>;
        /// Version of the partition's state znode.
        partition_epoch: i32;
        replicas: Vec<i32>;
        /// Being moved in.
        adding_replicas: Vec<i32>, in 3..;
        /// Being moved out.
        removing_replicas: Vec<i32>, in 3..;
        /// The replica has no log yet.
        is_new: bool, in 1..;
        /// 1 while a leader elected uncleanly recovers, otherwise 0.
        leader_recovery_state: i8, in 6..;
    }

    /// See [`LeaderAndIsrRequest::topic_states`].
    LeaderAndIsrTopicState {
        topic_name: Str;
        topic_id: Uuid, in 5..;
        partition_states: Vec<LeaderAndIsrPartitionState>;
    }

    /// See [`LeaderAndIsrRequest::live_leaders`].
    LeaderAndIsrLiveLeader {
        broker_id: i32;
        host_name: Str;
        port: i32;
    }

    /// What the broker made of it, partition by partition.
    LeaderAndIsrResponse {
        error_code: ErrorCode;
        partition_errors: Vec<LeaderAndIsrPartitionError>, in 0..=4;
        topics: Vec<LeaderAndIsrTopicError>, in 5..;
    }

    /// See [`LeaderAndIsrResponse::partition_errors`].
    LeaderAndIsrPartitionError {
        topic_name: Str, in 0..=4;
        partition_index: i32;
        error_code: ErrorCode;
    }

    /// See [`LeaderAndIsrResponse::topics`].
    LeaderAndIsrTopicError {
        topic_id: Uuid;
        partition_errors: Vec<LeaderAndIsrPartitionError>;
    }
}
