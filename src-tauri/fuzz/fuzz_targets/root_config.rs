//! See `fuzzing::root_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::root_config(data));
