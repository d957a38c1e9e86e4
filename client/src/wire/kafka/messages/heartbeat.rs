//! Heartbeat: key 12.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// A member is alive.
    HeartbeatRequest {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 3..;
    }

    /// Whether its generation still is.
    HeartbeatResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
    }
}
