//! What consumers tell each other through JoinGroup and SyncGroup. Brokers pass it along unread, tools show it.
//!
//! Later versions only ever append fields, so a blob from the future is read as the latest version known here.

use bytes::Bytes;

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{DecodeError, Message, Reader, Str};

schema! {
    /// What a member wants, and what it has.
    ConsumerProtocolSubscription message 0..=3 {
        topics: Vec<Str>;
        /// Whatever the assignor adds.
        user_data: Option<Bytes>;
        /// What the member holds on to while it joins.
        owned_partitions: Vec<OwnedPartitions>, in 1..;
        /// The generation in which it got them; -1 if unknown.
        generation_id: i32 = -1, in 2..;
        /// Where the consumer is.
        rack_id: Option<Str>, in 3..;
    }

    /// See [`ConsumerProtocolSubscription::owned_partitions`].
    OwnedPartitions {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// What a member gets.
    ConsumerProtocolAssignment message 0..=3 {
        assigned_partitions: Vec<AssignedPartitions>;
        /// Whatever the assignor adds.
        user_data: Option<Bytes>;
    }

    /// See [`ConsumerProtocolAssignment::assigned_partitions`].
    AssignedPartitions {
        topic: Str;
        partitions: Vec<i32>;
    }
}

/// Reads a subscription or an assignment, whatever its version, and leaves out what newer consumers have appended.
pub fn decode<M: Message>(blob: Bytes) -> Result<M, DecodeError> {
    // It came from a member, which is a stranger.
    let mut reader = Reader::of_request(blob);
    let version = reader.int16().map_err(|problem| DecodeError { field: M::NAME, problem })?;
    M::decode(&mut reader, version.min(*M::VERSIONS.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_from_the_future_is_read_as_far_as_known() {
        let blob = b"\0\x09\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\0\x01r and more";
        let read: ConsumerProtocolSubscription = decode(Bytes::from_static(blob)).unwrap();
        let expected = ConsumerProtocolSubscription {
            topics: vec!["t".into()],
            generation_id: 7,
            rack_id: Some("r".into()),
            ..Default::default()
        };
        assert_eq!(read, expected);
    }
}
