//! See `fuzzing::protocol_proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::protocol_proxy(data));
