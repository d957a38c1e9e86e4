//! InitProducerId: key 22.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for a producer id; with a transactional id it also fences older producers and ends their
    /// transaction.
    InitProducerIdRequest {
        transactional_id: Option<Str>;
        transaction_timeout_ms: i32;
        producer_id: i64 = -1, in 3..;
        producer_epoch: i16 = -1, in 3..;
    }

    /// The id and its epoch.
    InitProducerIdResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}
