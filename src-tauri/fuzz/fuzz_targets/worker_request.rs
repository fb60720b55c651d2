//! See `fuzzing::worker_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::worker_request(data));
