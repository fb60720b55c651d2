//! See `fuzzing::payout_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::payout_address(data));
