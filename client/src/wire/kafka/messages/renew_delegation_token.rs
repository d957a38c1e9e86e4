//! RenewDelegationToken: key 39.

use bytes::Bytes;

use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::schema::schema;

schema! {
    /// Puts off a token's expiry.
    RenewDelegationTokenRequest {
        hmac: Bytes;
        renew_period_ms: i64;
    }

    /// When it now expires.
    RenewDelegationTokenResponse {
        error_code: ErrorCode;
        expiry_timestamp_ms: i64;
        throttle_time_ms: i32;
    }
}
