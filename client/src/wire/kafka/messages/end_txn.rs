//! EndTxn: key 26.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Commits or aborts a transaction.
    EndTxnRequest {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        /// Commit, or else abort.
        committed: bool;
    }

    /// Decided or not.
    EndTxnResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
    }
}
