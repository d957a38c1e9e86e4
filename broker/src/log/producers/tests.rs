use proptest::prelude::*;

use super::*;

fn producer(epoch: i16, sequences: &[i32], txn: Option<i64>) -> Producer {
    let batches = sequences.iter().map(|&last_sequence| SentBatch {
        last_sequence,
        last_offset: 100 + i64::from(last_sequence),
        offset_delta: 0,
        timestamp: 77,
    });
    Producer {
        epoch,
        batches: batches.collect(),
        coordinator_epoch: 3,
        txn_first_offset: txn,
        last_timestamp: 77,
    }
}

#[test]
fn a_snapshot_has_kafkas_layout() {
    let two = BTreeMap::from([(1000, producer(0, &[4, 5], None)), (1001, producer(2, &[], Some(40)))]);
    let bytes = snapshot(&two);
    assert_eq!(bytes.len(), 102);
    assert_eq!(bytes[..2], [0, 1]);
    assert_eq!(bytes[2..6], crc32c::crc32c(&bytes[6..]).to_be_bytes());
    assert_eq!(bytes[6..10], 2_i32.to_be_bytes());
    assert_eq!(bytes[10..18], 1000_i64.to_be_bytes());
    assert_eq!(bytes[20..24], 5_i32.to_be_bytes(), "the last sequence");
    assert_eq!(bytes[24..32], 105_i64.to_be_bytes(), "the last offset");
    assert_eq!(bytes[48..56], (-1_i64).to_be_bytes(), "no transaction");
    let read = parse_snapshot(&bytes).expect("good");
    assert_eq!(read[&1000], producer(0, &[5], None), "of the batches the last is kept");
    assert_eq!(read[&1001], two[&1001]);
}

#[test]
fn a_damaged_snapshot_is_none() {
    let bytes = snapshot(&BTreeMap::from([(1, producer(0, &[4], None))]));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(parse_snapshot(&damaged).is_none(), "{at}");
        assert!(parse_snapshot(&bytes[..at]).is_none(), "{at}");
    }
}

proptest! {
    #[test]
    fn noise_is_no_snapshot(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse_snapshot(&noise).is_none());
    }
}
