//! See `fuzzing::contract_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::contract_body(data));
