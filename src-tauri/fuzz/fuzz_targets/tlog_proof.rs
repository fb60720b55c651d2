//! See `fuzzing::tlog_proof`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::tlog_proof(data));
