//! AlterConfigs: key 33.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Replaces all settings of topics or brokers.
    AlterConfigsRequest {
        resources: Vec<AlterConfigsResource>;
        /// Check, but change nothing.
        validate_only: bool;
    }

    /// See [`AlterConfigsRequest::resources`].
    AlterConfigsResource {
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    /// See [`AlterConfigsResource::configs`].
    AlterableConfig {
        name: Str;
        value: Option<Str>;
    }

    /// Replaced or not, resource by resource.
    AlterConfigsResponse {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// See [`AlterConfigsResponse::responses`].
    AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str>;
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
    }
}
