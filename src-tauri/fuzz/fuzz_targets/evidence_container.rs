//! See `fuzzing::evidence_container`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_container(data));
