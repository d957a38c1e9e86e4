//! DescribeProducers: key 61.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks which producers have written to partitions lately.
    DescribeProducersRequest {
        topics: Vec<TopicRequest>;
    }

    /// See [`DescribeProducersRequest::topics`].
    TopicRequest {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// The producers, as the partition's leader remembers them.
    DescribeProducersResponse {
        throttle_time_ms: i32;
        topics: Vec<TopicResponse>;
    }

    /// See [`DescribeProducersResponse::topics`].
    TopicResponse {
        name: Str;
        partitions: Vec<PartitionResponse>;
    }

    /// See [`TopicResponse::partitions`].
    PartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        active_producers: Vec<ProducerState>;
    }

    /// See [`PartitionResponse::active_producers`].
    ProducerState {
        producer_id: i64;
        producer_epoch: i32;
        last_sequence: i32 = -1;
        last_timestamp: i64 = -1;
        coordinator_epoch: i32;
        /// -1 if no transaction is open.
        current_txn_start_offset: i64 = -1;
    }
}
