//! UpdateMetadata: key 6.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// The controller tells a broker what its answers to Metadata are to be based on.
    UpdateMetadataRequest {
        /// The controller's broker id; -1 if there is none.
        controller_id: i32;
        /// Whether a KRaft controller sent it; never set with ZooKeeper.
        is_kraft_controller: bool, in 8..;
        /// An older controller is fenced by it.
        controller_epoch: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1, in 5..;
        ungrouped_partition_states: Vec<UpdateMetadataPartitionState>, in 0..=4;
        topic_states: Vec<UpdateMetadataTopicState>, in 5..;
        live_brokers: Vec<UpdateMetadataBroker>;
        /// 0 unknown, 1 everything, 2 only changes.
        kind: i8, in 8.., tag 0;
    }

    /// See [`UpdateMetadataRequest::ungrouped_partition_states`].
    UpdateMetadataPartitionState {
        topic_name: Str, in 0..=4;
        partition_index: i32;
        /// An older controller is fenced by it.
        controller_epoch: i32;
        /// Broker id; -1 if there is none, -2 while the topic is being deleted.
        leader: i32;
        leader_epoch: i32;
        isr: Vec<i32>;
        zk_version: i32;
        replicas: Vec<i32>;
        offline_replicas: Vec<i32>, in 4..;
    }

    /// See [`UpdateMetadataRequest::topic_states`].
    UpdateMetadataTopicState {
        topic_name: Str;
        topic_id: Uuid, in 7..;
        partition_states: Vec<UpdateMetadataPartitionState>;
    }

    /// See [`UpdateMetadataRequest::live_brokers`].
    UpdateMetadataBroker {
        id: i32;
        v0_host: Str, in 0..=0;
        v0_port: i32, in 0..=0;
        endpoints: Vec<UpdateMetadataEndpoint>, in 1..;
        rack: Option<Str>, in 2..;
    }

    /// See [`UpdateMetadataBroker::endpoints`].
    UpdateMetadataEndpoint {
        port: i32;
        host: Str;
        listener: Str, in 3..;
        security_protocol: i16;
    }

    /// Taken, or why not.
    UpdateMetadataResponse {
        error_code: ErrorCode;
    }
}
