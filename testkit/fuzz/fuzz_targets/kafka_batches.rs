#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzzing::kafka::kafka_batches(data));
