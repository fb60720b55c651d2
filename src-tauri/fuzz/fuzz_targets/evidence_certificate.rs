//! See `fuzzing::evidence_certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_certificate(data));
