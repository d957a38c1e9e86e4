//! ListGroups: key 16.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks a broker which groups it coordinates.
    ListGroupsRequest {
        states_filter: Vec<Str>, in 4..;
        types_filter: Vec<Str>, in 5..;
    }

    /// The groups.
    ListGroupsResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        groups: Vec<ListedGroup>;
    }

    /// See [`ListGroupsResponse::groups`].
    ListedGroup {
        group_id: Str;
        /// `consumer`, `connect`, ...
        protocol_type: Str;
        group_state: Str, in 4..;
        /// `classic` or `consumer`.
        group_type: Str, in 5..;
    }
}
