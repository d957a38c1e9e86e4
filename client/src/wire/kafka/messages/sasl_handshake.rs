//! SaslHandshake: key 17.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Names the SASL mechanism to authenticate with.
    SaslHandshakeRequest {
        mechanism: Str;
    }

    /// Whether it is enabled, and which are.
    SaslHandshakeResponse {
        error_code: ErrorCode;
        mechanisms: Vec<Str>;
    }
}
