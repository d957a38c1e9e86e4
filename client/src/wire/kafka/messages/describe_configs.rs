//! DescribeConfigs: key 32.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for settings of topics or brokers.
    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool, in 1..;
        include_documentation: bool, in 3..;
    }

    /// See [`DescribeConfigsRequest::resources`].
    DescribeConfigsResource {
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
        configuration_keys: Option<Vec<Str>>;
    }

    /// The settings, where they come from, and what they override.
    DescribeConfigsResponse {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    /// See [`DescribeConfigsResponse::results`].
    DescribeConfigsResult {
        error_code: ErrorCode;
        error_message: Option<Str>;
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics.
        resource_type: i8;
        resource_name: Str;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// See [`DescribeConfigsResult::configs`].
    DescribeConfigsResourceResult {
        name: Str;
        value: Option<Str>;
        read_only: bool;
        /// Replaced by the setting's source.
        is_default: bool, in 0..=0;
        /// 1 topic, 2 broker, 3 default of all brokers, 4 file, 5 built in, 6 broker logger.
        config_source: i8 = -1, in 1..;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>, in 1..;
        /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8, in 3..;
        documentation: Option<Str>, in 3..;
    }

    /// See [`DescribeConfigsResourceResult::synonyms`].
    DescribeConfigsSynonym {
        name: Str;
        value: Option<Str>;
        /// As `config_source`.
        source: i8;
    }
}
