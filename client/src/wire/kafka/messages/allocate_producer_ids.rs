//! AllocateProducerIds: key 67.

use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::schema::schema;

schema! {
    /// A broker asks the controller for a block of producer ids.
    AllocateProducerIdsRequest {
        broker_id: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1;
    }

    /// The block.
    AllocateProducerIdsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id_start: i64;
        producer_id_len: i32;
    }
}
