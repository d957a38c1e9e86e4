//! Records of `__transaction_state`: what became of each transactional id. A key without a value forgets it.

use crate::wire::kafka::Str;
use crate::wire::kafka::schema::schema;

schema! {
    /// Which transactional id it is.
    TransactionLogKey message 0..=0 {
        transactional_id: Str;
    }

    /// Its producer, and its transaction.
    TransactionLogValue message 0..=1 flexible 1 {
        producer_id: i64;
        producer_epoch: i16;
        transaction_timeout_ms: i32;
        /// 0 empty, 1 ongoing, 2 prepared to commit, 3 prepared to abort, 4 committed, 5 aborted, 6 dead, 7
        /// prepared to fence.
        transaction_status: i8;
        /// Null while there are none.
        transaction_partitions: Option<Vec<TransactionPartitions>>;
        transaction_last_update_timestamp_ms: i64;
        /// -1 if none has begun.
        transaction_start_timestamp_ms: i64;
    }

    /// See [`TransactionLogValue::transaction_partitions`].
    TransactionPartitions {
        topic: Str;
        partition_ids: Vec<i32>;
    }
}
