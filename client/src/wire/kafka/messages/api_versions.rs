//! ApiVersions: key 18.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks what the other side can do; the first request on a connection.
    ApiVersionsRequest {
        client_software_name: Str, in 3..;
        client_software_version: Str, in 3..;
    }

    /// Every key with its versions. Answered in version 0 when the version asked in is unknown.
    ApiVersionsResponse {
        error_code: ErrorCode;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32, in 1..;
        supported_features: Vec<SupportedFeatureKey>, in 3.., tag 0;
        /// -1 if unknown.
        finalized_features_epoch: i64 = -1, in 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, in 3.., tag 2;
        /// Whether a KRaft controller could take over.
        zk_migration_ready: bool, in 3.., tag 3;
    }

    /// See [`ApiVersionsResponse::api_keys`].
    ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    /// See [`ApiVersionsResponse::supported_features`].
    SupportedFeatureKey {
        name: Str;
        min_version: i16;
        max_version: i16;
    }

    /// See [`ApiVersionsResponse::finalized_features`].
    FinalizedFeatureKey {
        name: Str;
        max_version_level: i16;
        min_version_level: i16;
    }
}
