//! AddPartitionsToTxn: key 24.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Takes partitions into a transaction. From version 4 on brokers use it among themselves, for many
    /// transactions at once.
    AddPartitionsToTxnRequest {
        transactions: Vec<AddPartitionsToTxnTransaction>, in 4..;
        v3_and_below_transactional_id: Str, in 0..=3;
        v3_and_below_producer_id: i64, in 0..=3;
        v3_and_below_producer_epoch: i16, in 0..=3;
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic>, in 0..=3;
    }

    /// See [`AddPartitionsToTxnRequest::transactions`].
    AddPartitionsToTxnTransaction {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        /// Only ask whether the partitions are in the transaction; add none.
        verify_only: bool;
        topics: Vec<AddPartitionsToTxnTopic>;
    }

    /// See [`AddPartitionsToTxnTransaction::topics`].
    AddPartitionsToTxnTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    /// Taken or not, partition by partition.
    AddPartitionsToTxnResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 4..;
        results_by_transaction: Vec<AddPartitionsToTxnResult>, in 4..;
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult>, in 0..=3;
    }

    /// See [`AddPartitionsToTxnResponse::results_by_transaction`].
    AddPartitionsToTxnResult {
        transactional_id: Str;
        topic_results: Vec<AddPartitionsToTxnTopicResult>;
    }

    /// See [`AddPartitionsToTxnResult::topic_results`].
    AddPartitionsToTxnTopicResult {
        name: Str;
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>;
    }

    /// See [`AddPartitionsToTxnTopicResult::results_by_partition`].
    AddPartitionsToTxnPartitionResult {
        partition_index: i32;
        partition_error_code: ErrorCode;
    }
}
