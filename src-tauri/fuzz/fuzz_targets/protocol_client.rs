//! See `fuzzing::protocol_client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::protocol_client(data));
