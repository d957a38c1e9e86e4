//! DescribeUserScramCredentials: key 50.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks which SCRAM credentials users have. No users (null) stands for all of them.
    DescribeUserScramCredentialsRequest {
        users: Option<Vec<UserName>>;
    }

    /// See [`DescribeUserScramCredentialsRequest::users`].
    UserName {
        name: Str;
    }

    /// Mechanisms and iterations, never the secret.
    DescribeUserScramCredentialsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        results: Vec<DescribeUserScramCredentialsResult>;
    }

    /// See [`DescribeUserScramCredentialsResponse::results`].
    DescribeUserScramCredentialsResult {
        user: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
        credential_infos: Vec<CredentialInfo>;
    }

    /// See [`DescribeUserScramCredentialsResult::credential_infos`].
    CredentialInfo {
        /// 1 SHA-256, 2 SHA-512.
        mechanism: i8;
        iterations: i32;
    }
}
