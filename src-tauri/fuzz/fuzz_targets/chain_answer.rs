//! See `fuzzing::chain_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::chain_answer(data));
