//! Fetch: key 1.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Records, Str, Uuid};

schema! {
    /// Reads records from an offset on; consumers and following replicas use it alike.
    FetchRequest {
        /// The follower's broker id; -1 for consumers.
        replica_id: i32 = -1, in 0..=14;
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32;
        min_bytes: i32;
        /// Where to stop adding partitions; the first batch is sent even if it is larger.
        max_bytes: i32 = i32::MAX, in 3..;
        /// 0 reads everything below the high watermark, 1 only what is committed.
        isolation_level: i8, in 4..;
        /// Names an incremental fetch session; 0 for none.
        session_id: i32, in 7..;
        /// Counts the requests of the session; -1 for no session, 0 to begin one.
        session_epoch: i32 = -1, in 7..;
        topics: Vec<FetchTopic>;
        /// Partitions to drop from the session.
        forgotten_topics_data: Vec<ForgottenTopic>, in 7..;
        /// Where the consumer is, to be sent to a replica near it.
        rack_id: Str, in 11..;
        cluster_id: Option<Str>, in 12.., tag 0;
        replica_state: ReplicaState, in 15.., tag 1;
    }

    /// See [`FetchRequest::topics`].
    FetchTopic {
        topic: Str, in 0..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<FetchPartition>;
    }

    /// See [`FetchTopic::partitions`].
    FetchPartition {
        partition: i32;
        /// The epoch the asker believes in, to be refused if it is not current; -1 if it has none.
        current_leader_epoch: i32 = -1, in 9..;
        fetch_offset: i64;
        /// Epoch of the last record the follower has, so that the leader can tell where the logs part; -1
        /// if none.
        last_fetched_epoch: i32 = -1, in 12..;
        /// The first offset that the log still has; -1 if not told.
        log_start_offset: i64 = -1, in 5..;
        partition_max_bytes: i32;
        replica_directory_id: Uuid, in 17.., tag 0;
    }

    /// See [`FetchRequest::forgotten_topics_data`].
    ForgottenTopic {
        topic: Str, in 7..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<i32>;
    }

    /// See [`FetchRequest::replica_state`].
    ReplicaState {
        /// The follower's broker id; -1 for consumers.
        replica_id: i32 = -1;
        /// The follower's broker epoch.
        replica_epoch: i64 = -1;
    }

    /// Records, and how far they are safe to read.
    FetchResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode, in 7..;
        /// Names an incremental fetch session; 0 for none.
        session_id: i32, in 7..;
        responses: Vec<FetchableTopicResponse>;
        /// Addresses of the leaders that partitions name.
        node_endpoints: Vec<NodeEndpoint>, in 16.., tag 0;
    }

    /// See [`FetchResponse::responses`].
    FetchableTopicResponse {
        topic: Str, in 0..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<PartitionData>;
    }

    /// See [`FetchableTopicResponse::partitions`].
    PartitionData {
        partition_index: i32;
        error_code: ErrorCode;
        /// The first offset that not all in-sync replicas have.
        high_watermark: i64;
        /// The first offset that may belong to an open transaction.
        last_stable_offset: i64 = -1, in 4..;
        /// The first offset that the log still has; -1 if not told.
        log_start_offset: i64 = -1, in 5..;
        /// What a consumer of committed records has to leave out.
        aborted_transactions: Option<Vec<AbortedTransaction>>, in 4..;
        /// A nearer replica to read from; -1 for none.
        preferred_read_replica: i32 = -1, in 11..;
        records: Option<Records>;
        /// Where the follower's log parts from the leader's; it has to truncate first.
        diverging_epoch: EpochEndOffset, in 12.., tag 0;
        /// Where to go instead, with a NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH error.
        current_leader: LeaderIdAndEpoch, in 12.., tag 1;
        /// Only a raft leader sends it.
        snapshot_id: SnapshotId, in 12.., tag 2;
    }

    /// See [`PartitionData::aborted_transactions`].
    AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }

    /// See [`PartitionData::diverging_epoch`].
    EpochEndOffset {
        epoch: i32 = -1;
        end_offset: i64 = -1;
    }

    /// See [`PartitionData::current_leader`].
    LeaderIdAndEpoch {
        /// -1 if there is none.
        leader_id: i32 = -1;
        leader_epoch: i32 = -1;
    }

    /// See [`PartitionData::snapshot_id`].
    SnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }

    /// See [`FetchResponse::node_endpoints`].
    NodeEndpoint {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>;
    }
}
