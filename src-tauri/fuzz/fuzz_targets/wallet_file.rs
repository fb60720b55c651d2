//! See `fuzzing::wallet_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::wallet_file(data));
