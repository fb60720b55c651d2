//! See `fuzzing::wallet_words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::wallet_words(data));
