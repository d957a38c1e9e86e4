//! DeleteTopics: key 20.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// Deletes topics.
    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, in 6..;
        topic_names: Vec<Str>, in 0..=5;
        timeout_ms: i32;
    }

    /// See [`DeleteTopicsRequest::topics`].
    DeleteTopicState {
        name: Option<Str>;
        topic_id: Uuid;
    }

    /// Deleted or not, topic by topic.
    DeleteTopicsResponse {
        throttle_time_ms: i32, in 1..;
        responses: Vec<DeletableTopicResult>;
    }

    /// See [`DeleteTopicsResponse::responses`].
    DeletableTopicResult {
        name: Option<Str>, null 6..;
        topic_id: Uuid, in 6..;
        error_code: ErrorCode;
        error_message: Option<Str>, in 5..;
    }
}
