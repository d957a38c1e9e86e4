//! CreateDelegationToken: key 38.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for a token that authenticates in its owner's place.
    CreateDelegationTokenRequest {
        owner_principal_type: Option<Str>, in 3..;
        owner_principal_name: Option<Str>, in 3..;
        renewers: Vec<CreatableRenewers>;
        max_lifetime_ms: i64;
    }

    /// See [`CreateDelegationTokenRequest::renewers`].
    CreatableRenewers {
        principal_type: Str;
        principal_name: Str;
    }

    /// The token.
    CreateDelegationTokenResponse {
        error_code: ErrorCode;
        principal_type: Str;
        principal_name: Str;
        token_requester_principal_type: Str, in 3..;
        token_requester_principal_name: Str, in 3..;
        issue_timestamp_ms: i64;
        expiry_timestamp_ms: i64;
        max_timestamp_ms: i64;
        token_id: Str;
        hmac: Bytes;
        throttle_time_ms: i32;
    }
}
