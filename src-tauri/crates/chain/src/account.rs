//! What an account is at one moment.

use serde::{Deserialize, Serialize};
use ton::{Address, Cell, Nanoton};

/// The newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number in the masterchain.
    pub seqno: u32,
    /// When it was made, in Unix seconds by the chain's clock.
    pub time: u32,
}

/// Names a transaction of an account, and is the cursor into its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransactionId {
    /// Logical time: grows from transaction to transaction.
    pub lt: u64,
    /// Hash of the transaction's cell.
    pub hash: [u8; 32],
}

/// Whether an account has a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountStatus {
    /// No contract: never used, or holding money only.
    Uninitialised,
    /// A contract.
    Active,
    /// A contract that was put away because it did not pay for its storage.
    Frozen,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountState {
    /// Whose.
    pub address: Address,
    /// Its money.
    pub balance: Nanoton,
    /// Whether it has a contract.
    pub status: AccountStatus,
    /// The contract's code; opaque where it is kept in a library.
    pub code: Option<Cell>,
    /// The contract's data.
    pub data: Option<Cell>,
    /// Hash of what a frozen contract was.
    pub frozen: Option<[u8; 32]>,
    /// Its last transaction; `None` if it never had one.
    pub last: Option<TransactionId>,
    /// The chain's time at which it was so, in Unix seconds.
    pub seen_at: u32,
}

impl AccountState {
    /// An account that never was.
    pub fn absent(address: Address, seen_at: u32) -> Self {
        Self {
            address,
            balance: Nanoton(0),
            status: AccountStatus::Uninitialised,
            code: None,
            data: None,
            frozen: None,
            last: None,
            seen_at,
        }
    }

    /// Whether two endpoints mean the same state. When they looked does not matter.
    pub fn agrees_with(&self, other: &Self) -> bool {
        Self { seen_at: 0, ..self.clone() } == Self { seen_at: 0, ..other.clone() }
    }

    /// Logical time of the last transaction; 0 if there is none.
    pub fn last_lt(&self) -> u64 {
        self.last.map_or(0, |last| last.lt)
    }
}
