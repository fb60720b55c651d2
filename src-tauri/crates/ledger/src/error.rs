//! Why something could not be written down or read.

use rusqlite::ErrorCode;
use ton::Address;

/// Why the ledger could not do what was asked. Whatever is returned, what was written before is still there.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No room on the disk. Nothing of this write is kept; it can be tried again when there is room.
    #[error("the disk is full: free some space, the ledger goes on by itself")]
    Full,
    /// Another process writes for too long. It can be tried again.
    #[error("the ledger is in use by another program")]
    Busy,
    /// The file is damaged.
    #[error("the ledger's file is damaged: move it away (keep it, it may hold payments) and start again")]
    Corrupt,
    /// The file is of another kind.
    #[error("the file is not a ledger of this program")]
    NotALedger,
    /// The file was written by a newer program. It has not been touched.
    #[error("the ledger has version {found}, this program knows up to {known}: use the newer program")]
    NewerVersion {
        /// Version of the file.
        found: i64,
        /// Newest version that is known.
        known: i64,
    },
    /// The file is of an older program and was to be read only. It has not been touched.
    #[error("the ledger has version {found} of an older program: start Chrysalis once, it is brought to {known} then")]
    OlderVersion {
        /// Version of the file.
        found: i64,
        /// Version that is wanted.
        known: i64,
    },
    /// The file can't be opened or written: rights, a missing folder, a failing disk.
    #[error("the ledger's file can't be opened or written: {0}")]
    File(#[source] rusqlite::Error),
    /// The proxy at this endpoint had another payment key before. Nothing was written.
    #[error("the proxy at {endpoint} shows another key than before")]
    ProxyKeyChanged {
        /// Where it is dialled.
        endpoint: std::net::SocketAddrV4,
        /// The key it was first met with.
        pinned: [u8; 32],
    },
    /// The same key, but other contracts than under the same parameters and for the same owner before. Nothing was written.
    #[error("the proxy at {endpoint} names other contracts than before")]
    ProxyContractsChanged {
        /// Where it is dialled.
        endpoint: std::net::SocketAddrV4,
    },
    /// A running total that is lower than one signed before. Nothing was written.
    #[error("a payment of {offered} tokens for {worker_contract} is below the {highest} signed before")]
    PaymentDecreased {
        /// The contract it is for.
        worker_contract: Address,
        /// Highest total so far.
        highest: u64,
        /// The total that was refused.
        offered: u64,
    },
    /// A transfer that was signed or is over can't be as it was before. Nothing was written.
    #[error("transfer {id} is further than that already")]
    TransferGoesBack {
        /// Its number.
        id: u64,
    },
    /// A number, or text, beyond what is written down. Nothing was written.
    #[error("{what} is out of range")]
    OutOfRange {
        /// Which.
        what: &'static str,
    },
    /// No such session in this file.
    #[error("the ledger has no such session")]
    UnknownSession,
    /// Anything else that SQLite says.
    #[error("the ledger's database: {0}")]
    Database(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt,
            Some(ErrorCode::NotADatabase) => Self::NotALedger,
            Some(
                ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::PermissionDenied,
            ) => Self::File(error),
            _ => Self::Database(error),
        }
    }
}
