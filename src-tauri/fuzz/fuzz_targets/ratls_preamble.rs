//! See `fuzzing::ratls_preamble`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ratls_preamble(data));
