//! DescribeGroups: key 15.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for state and members of groups.
    DescribeGroupsRequest {
        groups: Vec<Str>;
        include_authorized_operations: bool, in 3..;
    }

    /// Groups as their coordinator sees them.
    DescribeGroupsResponse {
        throttle_time_ms: i32, in 1..;
        groups: Vec<DescribedGroup>;
    }

    /// See [`DescribeGroupsResponse::groups`].
    DescribedGroup {
        error_code: ErrorCode;
        group_id: Str;
        group_state: Str;
        /// `consumer`, `connect`, ...
        protocol_type: Str;
        protocol_data: Str;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 = i32::MIN, in 3..;
    }

    /// See [`DescribedGroup::members`].
    DescribedGroupMember {
        member_id: Str;
        /// The name under which a static member comes back; null for others.
        group_instance_id: Option<Str>, in 4..;
        client_id: Str;
        client_host: Str;
        /// Opaque to the broker.
        member_metadata: Bytes;
        /// Opaque to the broker.
        member_assignment: Bytes;
    }
}
