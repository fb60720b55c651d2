//! Prices of the practice network. They are made up: practice money is worth nothing.

use ton::Nanoton;

/// What a worker gets for an adjusted token.
pub const PRACTICE_FEE: Nanoton = Nanoton(1_000_000);
/// What a client pays for one.
pub const PRACTICE_PRICE: Nanoton = Nanoton(2_000_000);
