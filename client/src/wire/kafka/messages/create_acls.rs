//! CreateAcls: key 30.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Adds access rules.
    CreateAclsRequest {
        creations: Vec<AclCreation>;
    }

    /// See [`CreateAclsRequest::creations`].
    AclCreation {
        /// 1 any (in filters), 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user.
        resource_type: i8;
        resource_name: Str;
        /// 3 literal, 4 prefixed.
        resource_pattern_type: i8 = 3, in 1..;
        principal: Str;
        host: Str;
        operation: i8;
        /// 1 any (in filters), 2 deny, 3 allow.
        permission_type: i8;
    }

    /// Added or not, in the order asked.
    CreateAclsResponse {
        throttle_time_ms: i32;
        results: Vec<AclCreationResult>;
    }

    /// See [`CreateAclsResponse::results`].
    AclCreationResult {
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
