//! See `fuzzing::owner_rates`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::owner_rates(data));
