//! ListTransactions: key 66.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks a broker which transactions it coordinates.
    ListTransactionsRequest {
        state_filters: Vec<Str>;
        producer_id_filters: Vec<i64>;
        /// Only those open longer than this many milliseconds; negative for all.
        duration_filter: i64 = -1, in 1..;
    }

    /// The transactions.
    ListTransactionsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        unknown_state_filters: Vec<Str>;
        transaction_states: Vec<TransactionState>;
    }

    /// See [`ListTransactionsResponse::transaction_states`].
    TransactionState {
        transactional_id: Str;
        producer_id: i64;
        transaction_state: Str;
    }
}
