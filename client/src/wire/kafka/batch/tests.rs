use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const RECORD_BYTES_MAX: usize = 1 << 20;

fn sample(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { codec, ..Default::default() });
    builder.push(1000, Some(b"k1"), Some(b"v1"));
    builder.push(990, None, Some(b""));
    builder.push_with_headers(
        1010,
        Some(b""),
        None,
        &[(b"h", Some(b"1")), (b"h", None), (b"", Some(b"")), (b"h", Some(b"1"))],
    );
    builder.build().expect("built")
}

fn only(bytes: Bytes) -> Batch {
    let mut all = batches(bytes);
    let batch = all.next().expect("one").expect("good");
    assert!(all.next().is_none());
    batch
}

fn outline_error(batch: &Batch) -> BatchError {
    batch.outlines().and_then(|outlines| outlines.collect::<Result<Vec<_>, _>>()).expect_err("a complaint")
}

/// Puts another header on a batch, with a good checksum.
fn altered(bytes: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(bytes).expect("good");
    change(&mut header);
    header.crc = header.checksum(&bytes[HEADER_BYTES..]);
    let mut out = header.to_bytes().to_vec();
    out.extend_from_slice(&bytes[HEADER_BYTES..]);
    out.into()
}

#[test]
fn nulls_empties_and_repeated_headers_survive_every_codec() {
    for codec in Codec::ALL {
        let batch = only(sample(codec));
        batch.check_crc().expect("good");
        let header = batch.header();
        assert_eq!((header.base_timestamp, header.max_timestamp, header.last_offset_delta), (1000, 1010, 2));
        let records: Vec<Record> =
            batch.records(RECORD_BYTES_MAX).expect("readable").map(|record| record.expect("good")).collect();
        assert_eq!(records.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1000, 990, 1010]);
        assert_eq!((&records[1].key, records[1].value.as_deref()), (&None, Some(&b""[..])));
        assert_eq!((records[2].key.as_deref(), &records[2].value), (Some(&b""[..]), &None));
        let headers: Vec<_> = records[2].headers.iter().map(|header| (header.key, header.value)).collect();
        let (one, empty) = (Some(Bytes::from_static(b"1")), Some(Bytes::new()));
        let h = Bytes::from_static(b"h");
        assert_eq!(headers, [(h.clone(), one.clone()), (h.clone(), None), (Bytes::new(), empty), (h, one)]);
        let outlines: Vec<_> =
            batch.outlines().expect("readable").map(|outline| outline.expect("good")).collect();
        assert_eq!(
            outlines.iter().map(|o| (o.has_key, o.has_value)).collect::<Vec<_>>(),
            [(true, true), (false, true), (true, false)]
        );
    }
}

/// The bytes that Kafka's Java producer writes for one record: key "k", value "v", timestamp 1.
#[test]
fn a_batch_is_laid_out_as_kafka_does() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, Some(b"k"), Some(b"v"));
    let bytes = builder.build().expect("built");
    let record = [0x10, 0, 0, 0, 2, b'k', 2, b'v', 0];
    assert_eq!(bytes[HEADER_BYTES..], record);
    assert_eq!(bytes[8..12], 58_i32.to_be_bytes());
    assert_eq!(bytes[12..17], [0xff, 0xff, 0xff, 0xff, 2]);
    assert_eq!(bytes[17..21], crc32c::crc32c(&bytes[21..]).to_be_bytes());
    assert_eq!(bytes[57..61], 1_i32.to_be_bytes());
}

#[test]
fn a_marker_has_the_size_that_kafka_gives_it() {
    let bytes = control_batch(ControlType::Commit, 7, 3, 5, 1234);
    assert_eq!(bytes.len(), 78);
    let batch = only(bytes);
    assert_eq!(batch.header().attributes.0, 0x30);
    assert_eq!(batch.header().base_sequence, -1);
    let record = batch.records(100).expect("readable").next().expect("one").expect("good");
    assert_eq!(ControlType::from_key(&record.key.expect("a key")), Some(ControlType::Commit));
    assert_eq!(record.value.expect("a value")[..], [0, 0, 0, 0, 0, 5]);
}

#[test]
fn each_kind_of_damage_has_its_own_complaint() {
    let good = sample(Codec::None);
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.to_vec();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        batches(copy.into()).next().expect("one")
    };
    assert_eq!(with(16, &[7]), Err(BatchError::Magic(7)));
    assert_eq!(with(16, &[1]), Err(BatchError::Magic(1)));
    assert_eq!(with(8, &(-1_i32).to_be_bytes()), Err(BatchError::BadLength(-1)));
    assert_eq!(with(8, &48_i32.to_be_bytes()), Err(BatchError::BadLength(48)));
    let (needed, have) = (i32::MAX as usize + 12, good.len());
    assert_eq!(with(8, &i32::MAX.to_be_bytes()), Err(BatchError::Truncated { needed, have }));
    assert_eq!(with(23, &(-1_i32).to_be_bytes()), Err(BatchError::Count(3, -1)));
    assert_eq!(with(0, &i64::MAX.to_be_bytes()), Err(BatchError::Count(3, 2)));
    assert!(matches!(with(70, &[0xee]).expect("its shape is good").check_crc(), Err(BatchError::Crc { .. })));
    for cut in 1..good.len() {
        let error = batches(good.slice(..cut)).next().expect("one").expect_err("cut");
        assert!(matches!(error, BatchError::Truncated { .. }), "{cut}: {error}");
    }
}

#[test]
fn counts_that_are_not_the_records_are_found() {
    for codec in Codec::ALL {
        let good = sample(codec);
        let with_count = |count| outline_error(&only(altered(&good, |header| header.record_count = count)));
        assert_eq!(with_count(2), BatchError::Surplus(2));
        assert!(matches!(with_count(4), BatchError::Record { index: 3, .. }));
        assert_eq!(with_count(-3), BatchError::Count(-3, 2));
        assert!(matches!(with_count(i32::MAX), BatchError::Record { index: 3, .. }));
    }
    let endless = only(altered(&sample(Codec::None), |header| header.record_count = i32::MAX));
    assert_eq!(endless.outlines().expect("readable").count(), 4, "three records and one complaint");
    let unknown = altered(&sample(Codec::None), |header| header.attributes = Attributes(7));
    assert_eq!(outline_error(&only(unknown)), BatchError::Compression(CompressionError::UnknownCodec(7)));
}

#[test]
fn the_leader_changes_offsets_and_times_and_the_checksum_follows() {
    let good = sample(Codec::Lz4);
    let mut header = *only(good.clone()).header();
    header.base_offset = 500;
    header.leader_epoch = 9;
    header.set_max_timestamp(TimestampType::LogAppend, 77, &good[HEADER_BYTES..]);
    let bytes = [&header.to_bytes()[..], &good[HEADER_BYTES..]].concat();
    let batch = only(bytes.into());
    batch.check_crc().expect("good");
    let records: Vec<_> = batch.records(RECORD_BYTES_MAX).expect("readable").map(Result::unwrap).collect();
    assert_eq!(
        records.iter().map(|r| (r.offset, r.timestamp)).collect::<Vec<_>>(),
        [(500, 77), (501, 77), (502, 77)]
    );
}

#[test]
fn a_record_may_not_be_larger_than_the_reader_allows() {
    let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..Default::default() });
    builder.push(0, None, Some(&vec![0; 10 << 20]));
    let batch = only(builder.build().expect("built"));
    assert!(batch.bytes().len() < 10_000);
    let error =
        batch.records(RECORD_BYTES_MAX).expect("readable").next().expect("one").expect_err("too large");
    assert_eq!(error, BatchError::Record { index: 0, problem: "it is larger than allowed" });
    assert_eq!(batch.outlines().expect("readable").count(), 1, "checking it needs no memory");
}

#[test]
fn sequence_numbers_wrap_around() {
    assert_eq!(next_sequence(i32::MAX, 1), 0);
    assert_eq!(next_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(next_sequence(5, 2), 7);
}

type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

fn pairs() -> impl Strategy<Value = Vec<(i64, Pair, Vec<Pair>)>> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..40));
    let headers = prop::collection::vec((bytes(), bytes()), 0..3);
    prop::collection::vec((0..i64::MAX / 2, (bytes(), bytes()), headers), 1..20)
}

proptest! {
    #[test]
    fn what_is_built_is_read(input in pairs(), codec in prop::sample::select(&Codec::ALL[..]), base in 0..1_i64 << 40) {
        let mut builder = BatchBuilder::new(BatchOptions { codec, base_offset: base, ..Default::default() });
        for (timestamp, (key, value), headers) in &input {
            let headers: Vec<(&[u8], Option<&[u8]>)> = headers
                .iter()
                .map(|(key, value)| (key.as_deref().unwrap_or_default(), value.as_deref()))
                .collect();
            builder.push_with_headers(*timestamp, key.as_deref(), value.as_deref(), &headers);
        }
        let batch = only(builder.build().expect("built"));
        batch.check_crc().expect("good");
        let records: Vec<_> = batch.records(RECORD_BYTES_MAX).expect("readable").collect();
        prop_assert_eq!(records.len(), input.len());
        let mut copy = BatchBuilder::new(BatchOptions::of(batch.header()).expect("known"));
        for (at, (record, (timestamp, (key, value), headers))) in records.into_iter().zip(&input).enumerate() {
            let record = record.expect("good");
            prop_assert_eq!(record.offset, base + at as i64);
            prop_assert_eq!(record.timestamp, *timestamp);
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            prop_assert_eq!(record.headers.len(), headers.len());
            copy.push_record(&record);
        }
        prop_assert_eq!(&copy.build().expect("built"), batch.bytes());
    }

    #[test]
    fn noise_and_flipped_bits_never_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        codec in prop::sample::select(&Codec::ALL[..]),
        at in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let look = |bytes: Bytes| {
            for batch in batches(bytes).flatten() {
                let _ = batch.check_crc();
                let _ = batch.outlines().map(Iterator::count);
                let _ = batch.records(RECORD_BYTES_MAX).map(Iterator::count);
            }
        };
        let good = sample(codec);
        let mut behind_header = good[..HEADER_BYTES].to_vec();
        behind_header.extend_from_slice(&noise);
        let length = (behind_header.len() - PREFIX_BYTES) as i32;
        behind_header[8..12].copy_from_slice(&length.to_be_bytes());
        look(behind_header.into());
        look(noise.into());
        let mut flipped = good.to_vec();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        look(flipped.into());
    }
}
