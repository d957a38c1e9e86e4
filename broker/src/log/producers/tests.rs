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
    assert_eq!(bytes.len(), 148);
    assert_eq!(bytes[..2], [0, 1]);
    assert_eq!(bytes[2..6], crc32c::crc32c(&bytes[6..]).to_be_bytes());
    assert_eq!(bytes[6..10], 3_i32.to_be_bytes(), "entries");
    for (entry, sequence) in [(&bytes[10..56], 4_i32), (&bytes[56..102], 5)] {
        assert_eq!(entry[..8], 1000_i64.to_be_bytes());
        assert_eq!(entry[10..14], sequence.to_be_bytes(), "the last sequence");
        assert_eq!(entry[14..22], (100 + i64::from(sequence)).to_be_bytes(), "the last offset");
        assert_eq!(entry[38..46], (-1_i64).to_be_bytes(), "no transaction");
    }
    assert_eq!(parse_snapshot(&bytes).expect("good"), two);
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
