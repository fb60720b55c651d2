//! See `fuzzing::ratls_certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ratls_certificate(data));
