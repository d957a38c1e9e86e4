//! DeleteAcls: key 31.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Removes the access rules that match filters.
    DeleteAclsRequest {
        filters: Vec<DeleteAclsFilter>;
    }

    /// See [`DeleteAclsRequest::filters`].
    DeleteAclsFilter {
        /// 1 any (in filters), 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user.
        resource_type_filter: i8;
        resource_name_filter: Option<Str>;
        /// 1 any, 2 whatever matches the name, 3 literal, 4 prefixed.
        pattern_type_filter: i8 = 3, in 1..;
        principal_filter: Option<Str>;
        host_filter: Option<Str>;
        operation: i8;
        /// 1 any (in filters), 2 deny, 3 allow.
        permission_type: i8;
    }

    /// What each filter removed.
    DeleteAclsResponse {
        throttle_time_ms: i32;
        filter_results: Vec<DeleteAclsFilterResult>;
    }

    /// See [`DeleteAclsResponse::filter_results`].
    DeleteAclsFilterResult {
        error_code: ErrorCode;
        error_message: Option<Str>;
        matching_acls: Vec<DeleteAclsMatchingAcl>;
    }

    /// See [`DeleteAclsFilterResult::matching_acls`].
    DeleteAclsMatchingAcl {
        error_code: ErrorCode;
        error_message: Option<Str>;
        /// 1 any (in filters), 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user.
        resource_type: i8;
        resource_name: Str;
        /// 3 literal, 4 prefixed.
        pattern_type: i8 = 3, in 1..;
        principal: Str;
        host: Str;
        operation: i8;
        /// 1 any (in filters), 2 deny, 3 allow.
        permission_type: i8;
    }
}
