//! JoinGroup: key 11.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// A consumer wants to be a member, in the first half of a rebalance.
    JoinGroupRequest {
        group_id: Str;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32 = -1, in 1..;
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 5..;
        /// `consumer`, `connect`, ...
        protocol_type: Str;
        /// What the member can do, best first.
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<Str>, in 8..;
    }

    /// See [`JoinGroupRequest::protocols`].
    JoinGroupRequestProtocol {
        name: Str;
        /// Opaque to the broker.
        metadata: Bytes;
    }

    /// The generation it joined; for the leader, with all members.
    JoinGroupResponse {
        throttle_time_ms: i32, in 2..;
        error_code: ErrorCode;
        generation_id: i32 = -1;
        /// `consumer`, `connect`, ...
        protocol_type: Option<Str>, in 7..;
        protocol_name: Option<Str>, null 7..;
        /// The leader's member id.
        leader: Str;
        /// The leader came back as a static member and need not assign anew.
        skip_assignment: bool, in 9..;
        member_id: Str;
        members: Vec<JoinGroupResponseMember>;
    }

    /// See [`JoinGroupResponse::members`].
    JoinGroupResponseMember {
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 5..;
        /// Opaque to the broker.
        metadata: Bytes;
    }
}
