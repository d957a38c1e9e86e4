//! IncrementalAlterConfigs: key 44.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Changes single settings of topics, brokers or client metrics: set 0, delete 1, append 2, subtract 3.
    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource>;
        /// Check, but change nothing.
        validate_only: bool;
    }

    /// See [`IncrementalAlterConfigsRequest::resources`].
    AlterConfigsResource {
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    /// See [`AlterConfigsResource::configs`].
    AlterableConfig {
        name: Str;
        config_operation: i8;
        value: Option<Str>;
    }

    /// Changed or not, resource by resource.
    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// See [`IncrementalAlterConfigsResponse::responses`].
    AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str>;
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
    }
}
