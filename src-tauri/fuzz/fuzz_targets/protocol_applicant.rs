//! See `fuzzing::protocol_applicant`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::protocol_applicant(data));
