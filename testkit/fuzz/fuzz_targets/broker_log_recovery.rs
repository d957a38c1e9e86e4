#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzzing::kafka::broker_log_recovery(data));
