//! See `fuzzing::chain_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::chain_request(data));
