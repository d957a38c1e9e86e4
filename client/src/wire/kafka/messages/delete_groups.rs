//! DeleteGroups: key 42.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Deletes groups without members, and their offsets.
    DeleteGroupsRequest {
        group_names: Vec<Str>;
    }

    /// Deleted or not, group by group.
    DeleteGroupsResponse {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }

    /// See [`DeleteGroupsResponse::results`].
    DeletableGroupResult {
        group_id: Str;
        error_code: ErrorCode;
    }
}
