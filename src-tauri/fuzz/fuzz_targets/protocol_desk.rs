//! See `fuzzing::protocol_desk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::protocol_desk(data));
