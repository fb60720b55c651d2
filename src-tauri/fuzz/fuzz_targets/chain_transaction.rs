//! See `fuzzing::chain_transaction`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::chain_transaction(data));
