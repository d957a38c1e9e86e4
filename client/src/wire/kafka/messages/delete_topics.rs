//! DeleteTopics: key 20.

use crate::wire::kafka::message::schema;
use crate::wire::kafka::{ErrorCode, Str, Uuid};

schema! {
    /// Deletes topics.
    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, in 6..;
        topic_names: Vec<Str>, in 0..=5;
        /// How long the server may take before it answers with what is done so far.
        timeout_ms: i32;
    }

    /// See [`DeleteTopicsRequest::topics`].
    DeleteTopicState {
        name: Option<Str>;
        /// All zero if there is none.
        topic_id: Uuid;
    }

    /// Deleted or not, topic by topic.
    DeleteTopicsResponse {
        /// How long the client has been, or is to be, slowed down by a quota.
        throttle_time_ms: i32, in 1..;
        responses: Vec<DeletableTopicResult>;
    }

    /// See [`DeleteTopicsResponse::responses`].
    DeletableTopicResult {
        name: Option<Str>, null 6..;
        /// All zero if there is none.
        topic_id: Uuid, in 6..;
        error_code: ErrorCode;
        /// For people; may say more than the code.
        error_message: Option<Str>, in 5..;
    }
}
