//! See `fuzzing::evidence_tdx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_tdx(data));
