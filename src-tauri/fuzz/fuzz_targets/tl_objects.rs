//! See `fuzzing::tl_objects`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::tl_objects(data));
