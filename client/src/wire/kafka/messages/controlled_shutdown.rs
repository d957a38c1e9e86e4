//! ControlledShutdown: key 7.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// A broker asks the controller to move leadership away before it stops.
    ControlledShutdownRequest {
        broker_id: i32;
        /// czxid of the broker's registration: an older incarnation is fenced by it.
        broker_epoch: i64 = -1, in 2..;
    }

    /// Which partitions it still leads.
    ControlledShutdownResponse {
        error_code: ErrorCode;
        remaining_partitions: Vec<RemainingPartition>;
    }

    /// See [`ControlledShutdownResponse::remaining_partitions`].
    RemainingPartition {
        topic_name: Str;
        partition_index: i32;
    }
}
