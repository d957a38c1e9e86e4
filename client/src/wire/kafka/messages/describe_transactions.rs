//! DescribeTransactions: key 65.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for the state of transactions.
    DescribeTransactionsRequest {
        transactional_ids: Vec<Str>;
    }

    /// Transactions as their coordinator sees them.
    DescribeTransactionsResponse {
        throttle_time_ms: i32;
        transaction_states: Vec<TransactionState>;
    }

    /// See [`DescribeTransactionsResponse::transaction_states`].
    TransactionState {
        error_code: ErrorCode;
        transactional_id: Str;
        transaction_state: Str;
        transaction_timeout_ms: i32;
        transaction_start_time_ms: i64;
        producer_id: i64;
        producer_epoch: i16;
        topics: Vec<TopicData>;
    }

    /// See [`TransactionState::topics`].
    TopicData {
        topic: Str;
        partitions: Vec<i32>;
    }
}
