//! Envelope: key 58.

use bytes::Bytes;

use crate::wire::kafka::ErrorCode;
use crate::wire::kafka::schema::schema;

schema! {
    /// A broker passes on a client's request, with the client's identity.
    EnvelopeRequest {
        request_data: Bytes;
        request_principal: Option<Bytes>;
        client_host_address: Bytes;
    }

    /// The answer to pass back.
    EnvelopeResponse {
        response_data: Option<Bytes>;
        error_code: ErrorCode;
    }
}
