//! WriteTxnMarkers: key 27.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// The transaction's coordinator tells leaders to write how it ended.
    WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker>;
    }

    /// See [`WriteTxnMarkersRequest::markers`].
    WritableTxnMarker {
        producer_id: i64;
        producer_epoch: i16;
        /// Whether it committed.
        transaction_result: bool;
        topics: Vec<WritableTxnMarkerTopic>;
        coordinator_epoch: i32;
    }

    /// See [`WritableTxnMarker::topics`].
    WritableTxnMarkerTopic {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// Written or not, partition by partition.
    WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult>;
    }

    /// See [`WriteTxnMarkersResponse::markers`].
    WritableTxnMarkerResult {
        producer_id: i64;
        topics: Vec<WritableTxnMarkerTopicResult>;
    }

    /// See [`WritableTxnMarkerResult::topics`].
    WritableTxnMarkerTopicResult {
        name: Str;
        partitions: Vec<WritableTxnMarkerPartitionResult>;
    }

    /// See [`WritableTxnMarkerTopicResult::partitions`].
    WritableTxnMarkerPartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
