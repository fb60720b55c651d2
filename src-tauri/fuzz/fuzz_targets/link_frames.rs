//! See `fuzzing::link_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::link_frames(data));
