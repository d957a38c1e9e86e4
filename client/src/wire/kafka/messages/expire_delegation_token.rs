//! ExpireDelegationToken: key 40.

use bytes::Bytes;

use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::schema::schema;

schema! {
    /// Lets a token expire, at once or at a time.
    ExpireDelegationTokenRequest {
        hmac: Bytes;
        expiry_time_period_ms: i64;
    }

    /// When it now expires.
    ExpireDelegationTokenResponse {
        error_code: ErrorCode;
        expiry_timestamp_ms: i64;
        throttle_time_ms: i32;
    }
}
