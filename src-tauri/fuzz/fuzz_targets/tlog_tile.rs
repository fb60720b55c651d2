//! See `fuzzing::tlog_tile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::tlog_tile(data));
