//! See `fuzzing::release_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::release_entry(data));
