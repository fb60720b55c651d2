//! See `fuzzing::ratls_channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ratls_channel(data));
