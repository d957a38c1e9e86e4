//! CreateTopics: key 19.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// Creates topics.
    CreateTopicsRequest {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60000;
        /// Check, but change nothing.
        validate_only: bool, in 1..;
    }

    /// See [`CreateTopicsRequest::topics`].
    CreatableTopic {
        name: Str;
        /// -1 for the default, or with explicit assignments.
        num_partitions: i32;
        /// -1 for the default, or with explicit assignments.
        replication_factor: i16;
        /// Replicas of each partition; empty leaves it to the broker.
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }

    /// See [`CreatableTopic::assignments`].
    CreatableReplicaAssignment {
        partition_index: i32;
        /// In order of preference.
        broker_ids: Vec<i32>;
    }

    /// See [`CreatableTopic::configs`].
    CreatableTopicConfig {
        name: Str;
        value: Option<Str>;
    }

    /// Created or not, topic by topic.
    CreateTopicsResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<CreatableTopicResult>;
    }

    /// See [`CreateTopicsResponse::topics`].
    CreatableTopicResult {
        name: Str;
        topic_id: Uuid, in 7..;
        error_code: ErrorCode;
        error_message: Option<Str>, in 1..;
        num_partitions: i32 = -1, in 5..;
        replication_factor: i16 = -1, in 5..;
        configs: Option<Vec<CreatableTopicConfigs>>, in 5..;
        topic_config_error_code: ErrorCode, in 5.., tag 0;
    }

    /// See [`CreatableTopicResult::configs`].
    CreatableTopicConfigs {
        name: Str;
        value: Option<Str>;
        read_only: bool;
        /// 1 topic, 2 broker, 3 default of all brokers, 4 file, 5 built in, 6 broker logger.
        config_source: i8 = -1;
        is_sensitive: bool;
    }
}
