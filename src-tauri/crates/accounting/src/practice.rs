//! Prices of the practice network. They are made up: practice money is worth nothing.

use std::time::Duration;
use ton::Nanoton;

/// What a worker gets for an adjusted token.
pub const PRACTICE_FEE: Nanoton = Nanoton(1_000_000);
/// What a client pays for one.
pub const PRACTICE_PRICE: Nanoton = Nanoton(2_000_000);
/// From how much on practice cashes by itself: some ten answers, and many times the fee.
pub const PRACTICE_THRESHOLD: Nanoton = Nanoton(1_000_000_000);
/// What practice keeps in the wallet for fees.
pub const PRACTICE_RESERVE: Nanoton = Nanoton(50_000_000);
/// How often the practice proxy commits and signs. Genuine proxies take 30 to 60 seconds.
pub const PRACTICE_COMMIT: Duration = Duration::from_secs(1);
