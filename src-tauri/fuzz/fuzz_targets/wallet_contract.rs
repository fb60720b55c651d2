//! See `fuzzing::wallet_contract`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::wallet_contract(data));
