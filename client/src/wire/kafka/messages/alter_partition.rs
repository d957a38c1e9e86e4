//! AlterPartition: key 56.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// A leader proposes a changed ISR to the controller.
    AlterPartitionRequest {
        broker_id: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1;
        topics: Vec<TopicData>;
    }

    /// See [`AlterPartitionRequest::topics`].
    TopicData {
        topic_name: Str, in 0..=1;
        topic_id: Uuid, in 2..;
        partitions: Vec<PartitionData>;
    }

    /// See [`TopicData::partitions`].
    PartitionData {
        partition_index: i32;
        leader_epoch: i32;
        new_isr: Vec<i32>, in 0..=2;
        new_isr_with_epochs: Vec<BrokerState>, in 3..;
        /// 1 while a leader elected uncleanly recovers, otherwise 0.
        leader_recovery_state: i8, in 1..;
        /// Version of the partition's state znode.
        partition_epoch: i32;
    }

    /// See [`PartitionData::new_isr_with_epochs`].
    BrokerState {
        broker_id: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1;
    }

    /// What the controller decided.
    AlterPartitionResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        topics: Vec<TopicResult>;
    }

    /// See [`AlterPartitionResponse::topics`].
    TopicResult {
        topic_name: Str, in 0..=1;
        topic_id: Uuid, in 2..;
        partitions: Vec<PartitionResult>;
    }

    /// See [`TopicResult::partitions`].
    PartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
        /// -1 if there is none.
        leader_id: i32;
        leader_epoch: i32;
        isr: Vec<i32>;
        /// 1 while a leader elected uncleanly recovers, otherwise 0.
        leader_recovery_state: i8, in 1..;
        /// Version of the partition's state znode.
        partition_epoch: i32;
    }
}
