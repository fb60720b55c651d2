//! Unpredictable ids from the operating system.

use protocol::Randomness;

/// The operating system's random numbers, by system call.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn long(&mut self) -> i64 {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        i64::from_le_bytes(bytes)
    }

    fn int256(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        bytes
    }
}

fn fill(bytes: &mut [u8]) {
    // Without randomness nothing here is safe to send, so nothing goes on.
    if getrandom::fill(bytes).is_err() {
        std::process::abort();
    }
}
