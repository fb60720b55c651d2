//! See `fuzzing::signed_note`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::signed_note(data));
