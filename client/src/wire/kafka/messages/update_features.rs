//! UpdateFeatures: key 57.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Raises or lowers the cluster's feature levels.
    UpdateFeaturesRequest {
        timeout_ms: i32 = 60000;
        feature_updates: Vec<FeatureUpdateKey>;
        /// Check, but change nothing.
        validate_only: bool, in 1..;
    }

    /// See [`UpdateFeaturesRequest::feature_updates`].
    FeatureUpdateKey {
        feature: Str;
        max_version_level: i16;
        allow_downgrade: bool, in 0..=0;
        upgrade_type: i8 = 1, in 1..;
    }

    /// Changed or not.
    UpdateFeaturesResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        results: Vec<UpdatableFeatureResult>;
    }

    /// See [`UpdateFeaturesResponse::results`].
    UpdatableFeatureResult {
        feature: Str;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
