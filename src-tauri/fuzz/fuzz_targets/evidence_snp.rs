//! See `fuzzing::evidence_snp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_snp(data));
