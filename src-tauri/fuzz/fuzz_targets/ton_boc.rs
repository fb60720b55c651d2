//! See `fuzzing::ton_boc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ton_boc(data));
