//! See `fuzzing::evidence_statement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_statement(data));
