//! SyncGroup: key 14.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// The second half of a rebalance: the leader hands in the assignment, everybody asks for a share.
    SyncGroupRequest {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 3..;
        /// `consumer`, `connect`, ...
        protocol_type: Option<Str>, in 5..;
        protocol_name: Option<Str>, in 5..;
        /// Who gets what; only the leader knows.
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// See [`SyncGroupRequest::assignments`].
    SyncGroupRequestAssignment {
        member_id: Str;
        /// Opaque to the broker.
        assignment: Bytes;
    }

    /// The member's share.
    SyncGroupResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        /// `consumer`, `connect`, ...
        protocol_type: Option<Str>, in 5..;
        protocol_name: Option<Str>, in 5..;
        /// Opaque to the broker.
        assignment: Bytes;
    }
}
