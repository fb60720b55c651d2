//! The owner's wallet: the only code that sees a private key.
//!
//! What lives here: words, keys, signatures, the encrypted file, the keychain of the system, and the rules that guard them. What may
//! not: the network, a database, a clock (time comes in).
//!
//! Walk-through: [`Words`] are made or typed; [`Candidate`]s say which addresses they have, before anything is saved. A [`Vault`]
//! saves them: a random key in a [`Keychain`] (the system's is
//! [`OsKeychain`]), a password, or both, wrap one encrypted file. What it unlocks is a
//! [`Wallet`], which signs a [`ton::Unsigned`] and nothing else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may unwrap"))]

mod exchanges;
mod file;
mod key;
mod keychain;
mod password;
mod payouts;
mod policy;
mod quiz;
mod recipient;
mod vault;
mod words;

pub use file::{FileError, Header, MAX_FILE, Protection, Public};
pub use key::{Signed, Wallet};
pub use keychain::{Keychain, KeychainError, OsKeychain, WrappingKey};
pub use password::Password;
pub use payouts::{Earlier, MAX_PAYOUT_FILE, PAYOUT_FILE, PayoutBook, PayoutFileError};
pub use policy::{AutoLock, DailyLimit, LimitDecision, PAYOUT_CHANGE_WAITS, PayoutAddress, PayoutChange, Reminder};
pub use quiz::Quiz;
pub use recipient::{Finding, Known, Seen, exchange, findings, read_recipient};
pub use vault::{LEAST_PASSWORD, Save, Vault, VaultError, VaultState};
pub use words::{Candidate, Scheme, Words, WordsError};
