//! Control records: how a transaction ended, written into every partition it touched.

use crate::wire::kafka::schema::schema;

schema! {
    /// Says what kind of control record it is.
    ControlRecordKey message 0..=0 {
        /// 0 abort, 1 commit; others are not for consumers to see.
        kind: i16;
    }

    /// The end of a transaction.
    EndTxnMarker message 0..=0 {
        /// Of the coordinator that decided; an older one is fenced by it.
        coordinator_epoch: i32;
    }
}

impl ControlRecordKey {
    pub const ABORT: i16 = 0;
    pub const COMMIT: i16 = 1;
}
