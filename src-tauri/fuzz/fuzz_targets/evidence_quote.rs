//! See `fuzzing::evidence_quote`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_quote(data));
