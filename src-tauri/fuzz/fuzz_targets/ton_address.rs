//! See `fuzzing::ton_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ton_address(data));
