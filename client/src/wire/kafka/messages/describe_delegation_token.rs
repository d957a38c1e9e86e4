//! DescribeDelegationToken: key 41.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for tokens by owner. No owners (null) stands for all that the asker may see.
    DescribeDelegationTokenRequest {
        owners: Option<Vec<DescribeDelegationTokenOwner>>;
    }

    /// See [`DescribeDelegationTokenRequest::owners`].
    DescribeDelegationTokenOwner {
        principal_type: Str;
        principal_name: Str;
    }

    /// The tokens.
    DescribeDelegationTokenResponse {
        error_code: ErrorCode;
        tokens: Vec<DescribedDelegationToken>;
        throttle_time_ms: i32;
    }

    /// See [`DescribeDelegationTokenResponse::tokens`].
    DescribedDelegationToken {
        principal_type: Str;
        principal_name: Str;
        token_requester_principal_type: Str, in 3..;
        token_requester_principal_name: Str, in 3..;
        issue_timestamp: i64;
        expiry_timestamp: i64;
        max_timestamp: i64;
        token_id: Str;
        hmac: Bytes;
        renewers: Vec<DescribedDelegationTokenRenewer>;
    }

    /// See [`DescribedDelegationToken::renewers`].
    DescribedDelegationTokenRenewer {
        principal_type: Str;
        principal_name: Str;
    }
}
