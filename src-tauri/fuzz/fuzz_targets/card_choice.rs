//! See `fuzzing::card_choice`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::card_choice(data));
