//! Metadata: key 3.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// Asks who leads what. No topics (null) stands for all of them, except in version 0, where an empty
    /// list does.
    MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>>, null 1..;
        allow_auto_topic_creation: bool = true, in 4..;
        include_cluster_authorized_operations: bool, in 8..=10;
        include_topic_authorized_operations: bool, in 8..;
    }

    /// See [`MetadataRequest::topics`].
    MetadataRequestTopic {
        topic_id: Uuid, in 10..;
        name: Option<Str>, null 10..;
    }

    /// Brokers, controller, and the partitions of each topic asked for.
    MetadataResponse {
        throttle_time_ms: i32, in 3..;
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<Str>, in 2..;
        /// The controller's broker id; -1 if there is none.
        controller_id: i32 = -1, in 1..;
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 = i32::MIN, in 8..=10;
    }

    /// See [`MetadataResponse::brokers`].
    MetadataResponseBroker {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>, in 1..;
    }

    /// See [`MetadataResponse::topics`].
    MetadataResponseTopic {
        error_code: ErrorCode;
        name: Option<Str>, null 12..;
        topic_id: Uuid, in 10..;
        is_internal: bool, in 1..;
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN, in 8..;
    }

    /// See [`MetadataResponseTopic::partitions`].
    MetadataResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        /// -1 if there is none.
        leader_id: i32;
        leader_epoch: i32 = -1, in 7..;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, in 5..;
    }
}
