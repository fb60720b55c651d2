//! See `fuzzing::contract_data`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::contract_data(data));
