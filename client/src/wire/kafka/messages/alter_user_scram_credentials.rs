//! AlterUserScramCredentials: key 51.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Sets and removes SCRAM credentials.
    AlterUserScramCredentialsRequest {
        deletions: Vec<ScramCredentialDeletion>;
        upsertions: Vec<ScramCredentialUpsertion>;
    }

    /// See [`AlterUserScramCredentialsRequest::deletions`].
    ScramCredentialDeletion {
        name: Str;
        /// 1 SHA-256, 2 SHA-512.
        mechanism: i8;
    }

    /// See [`AlterUserScramCredentialsRequest::upsertions`].
    ScramCredentialUpsertion {
        name: Str;
        /// 1 SHA-256, 2 SHA-512.
        mechanism: i8;
        iterations: i32;
        salt: Bytes;
        salted_password: Bytes;
    }

    /// Changed or not, user by user.
    AlterUserScramCredentialsResponse {
        throttle_time_ms: i32;
        results: Vec<AlterUserScramCredentialsResult>;
    }

    /// See [`AlterUserScramCredentialsResponse::results`].
    AlterUserScramCredentialsResult {
        user: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
