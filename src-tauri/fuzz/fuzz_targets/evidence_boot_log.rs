//! See `fuzzing::evidence_boot_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::evidence_boot_log(data));
