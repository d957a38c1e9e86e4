//! SaslAuthenticate: key 36.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// One step of the exchange of the chosen SASL mechanism.
    SaslAuthenticateRequest {
        auth_bytes: Bytes;
    }

    /// The server's step.
    SaslAuthenticateResponse {
        error_code: ErrorCode;
        error_message: Option<Str>;
        auth_bytes: Bytes;
        /// When to authenticate again; 0 for never.
        session_lifetime_ms: i64, in 1..;
    }
}
