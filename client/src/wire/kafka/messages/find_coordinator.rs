//! FindCoordinator: key 10.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks which broker looks after a group (key type 0) or a transactional id (1).
    FindCoordinatorRequest {
        key: Str, in 0..=3;
        key_type: i8, in 1..;
        coordinator_keys: Vec<Str>, in 4..;
    }

    /// The coordinators.
    FindCoordinatorResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode, in 0..=3;
        error_message: Option<Str>, in 1..=3;
        node_id: i32, in 0..=3;
        host: Str, in 0..=3;
        port: i32, in 0..=3;
        coordinators: Vec<Coordinator>, in 4..;
    }

    /// See [`FindCoordinatorResponse::coordinators`].
    Coordinator {
        key: Str;
        node_id: i32;
        host: Str;
        port: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
    }
}
