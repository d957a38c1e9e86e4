//! DescribeCluster: key 60.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for brokers and controller.
    DescribeClusterRequest {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8 = 1, in 1..;
    }

    /// Brokers and controller.
    DescribeClusterResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        endpoint_type: i8 = 1, in 1..;
        cluster_id: Str;
        /// The controller's broker id; -1 if there is none.
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// See [`DescribeClusterResponse::brokers`].
    DescribeClusterBroker {
        broker_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
    }
}
