//! AddOffsetsToTxn: key 25.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Takes a group's offsets into a transaction.
    AddOffsetsToTxnRequest {
        transactional_id: Str;
        producer_id: i64;
        producer_epoch: i16;
        group_id: Str;
    }

    /// Taken or not.
    AddOffsetsToTxnResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
    }
}
