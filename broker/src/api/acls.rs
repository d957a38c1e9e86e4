//! Who may do what? Nobody asks here: there is no authorizer, and the answers are those of a Kafka without one.

use client::wire::kafka::ErrorCode;
use client::wire::kafka::messages::create_acls::*;
use client::wire::kafka::messages::delete_acls::*;
use client::wire::kafka::messages::describe_acls::*;

use super::Context;

const REFUSAL: ErrorCode = ErrorCode::SECURITY_DISABLED;
const WHY: &str = "No Authorizer is configured.";

// What may be done, as the protocol numbers operations. Without an authorizer anybody may.
const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;
const CONFIGS: i32 = DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// What the asker may do, if he asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operations {
    Cluster,
    Topic,
    Group,
}

impl Operations {
    pub(super) fn if_asked(self, is_asked: bool) -> i32 {
        if !is_asked {
            return i32::MIN;
        }
        match self {
            Operations::Cluster => CREATE | ALTER | DESCRIBE | CLUSTER_ACTION | CONFIGS | IDEMPOTENT_WRITE,
            Operations::Topic => READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | CONFIGS,
            Operations::Group => READ | DELETE | DESCRIBE,
        }
    }
}

pub(super) async fn describe(_: &Context<'_>, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: REFUSAL,
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Default::default()
    }
}

pub(super) async fn create(_: &Context<'_>, request: CreateAclsRequest) -> CreateAclsResponse {
    let refuse = |_| AclCreationResult { error_code: REFUSAL, error_message: Some(WHY.into()) };
    CreateAclsResponse { results: request.creations.into_iter().map(refuse).collect(), ..Default::default() }
}

pub(super) async fn delete(_: &Context<'_>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refuse = |_| DeleteAclsFilterResult {
        error_code: REFUSAL,
        error_message: Some(WHY.into()),
        ..Default::default()
    };
    DeleteAclsResponse {
        filter_results: request.filters.into_iter().map(refuse).collect(),
        ..Default::default()
    }
}
