//! See `fuzzing::protocol_worker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::protocol_worker(data));
