//! LeaveGroup: key 13.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Members leave at once instead of timing out.
    LeaveGroupRequest {
        group_id: Str;
        member_id: Str, in 0..=2;
        members: Vec<MemberIdentity>, in 3..;
    }

    /// See [`LeaveGroupRequest::members`].
    MemberIdentity {
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>;
        reason: Option<Str>, in 5..;
    }

    /// Whether each of them had been there.
    LeaveGroupResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        members: Vec<MemberResponse>, in 3..;
    }

    /// See [`LeaveGroupResponse::members`].
    MemberResponse {
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>;
        error_code: ErrorCode;
    }
}
