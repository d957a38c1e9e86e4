//! DescribeAcls: key 29.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for the access rules that match a filter.
    DescribeAclsRequest {
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

    /// The rules, resource by resource.
    DescribeAclsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        resources: Vec<DescribeAclsResource>;
    }

    /// See [`DescribeAclsResponse::resources`].
    DescribeAclsResource {
        /// 1 any (in filters), 2 topic, 3 group, 4 cluster, 5 transactional id, 6 token, 7 user.
        resource_type: i8;
        resource_name: Str;
        /// 3 literal, 4 prefixed.
        pattern_type: i8 = 3, in 1..;
        acls: Vec<AclDescription>;
    }

    /// See [`DescribeAclsResource::acls`].
    AclDescription {
        principal: Str;
        host: Str;
        operation: i8;
        /// 1 any (in filters), 2 deny, 3 allow.
        permission_type: i8;
    }
}
