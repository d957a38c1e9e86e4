//! Produce: key 0.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Records, Str};

schema! {
    /// Appends record batches to partitions.
    ProduceRequest {
        transactional_id: Option<Str>, in 3..;
        /// How many replicas must have it: 0 none (and no answer), 1 the leader, -1 all in sync.
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }

    /// See [`ProduceRequest::topic_data`].
    TopicProduceData {
        name: Str;
        partition_data: Vec<PartitionProduceData>;
    }

    /// See [`TopicProduceData::partition_data`].
    PartitionProduceData {
        index: i32;
        records: Option<Records>;
    }

    /// Where each batch landed, or why it did not.
    ProduceResponse {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32, in 1..;
        /// Addresses of the leaders that partitions name.
        node_endpoints: Vec<NodeEndpoint>, in 10.., tag 0;
    }

    /// See [`ProduceResponse::responses`].
    TopicProduceResponse {
        name: Str;
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// See [`TopicProduceResponse::partition_responses`].
    PartitionProduceResponse {
        index: i32;
        error_code: ErrorCode;
        /// Offset of the first record of the batch.
        base_offset: i64;
        /// The broker's time if it stamps records itself, otherwise -1.
        log_append_time_ms: i64 = -1, in 2..;
        /// The first offset that the log still has; -1 if not told.
        log_start_offset: i64 = -1, in 5..;
        /// The records that caused the batch to be refused.
        record_errors: Vec<BatchIndexAndErrorMessage>, in 8..;
        error_message: Option<Str>, in 8..;
        /// Where to go instead, with a NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH error.
        current_leader: LeaderIdAndEpoch, in 10.., tag 0;
    }

    /// See [`PartitionProduceResponse::record_errors`].
    BatchIndexAndErrorMessage {
        /// Index of the record in its batch.
        batch_index: i32;
        batch_index_error_message: Option<Str>;
    }

    /// See [`PartitionProduceResponse::current_leader`].
    LeaderIdAndEpoch {
        /// -1 if there is none.
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// See [`ProduceResponse::node_endpoints`].
    NodeEndpoint {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
    }
}
