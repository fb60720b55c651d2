//! What a wallet of this program was told to send: written down before it is sent, so that a program that is stopped at any moment
//! sends the same bytes again and nothing else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use ton::{Address, Nanoton};

use super::{StoreError, blob, from_blob, hex_of};
use crate::treasury::{Outcome, Transfer};

/// Version of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// Ended transfers that are kept; older ones are of no use to anybody.
const KEPT: i64 = 1000;

/// The open file. Behind a lock only so that tasks may lend it to each other.
pub struct TransferStore {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl TransferStore {
    /// Opens or makes the file of this wallet.
    pub fn open(path: &Path, wallet: &Address) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        }
        let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let connection = Mutex::new(Connection::open(path).map_err(failed)?);
        let store = Self { connection, path: path.to_owned() };
        store.prepare(wallet)?;
        Ok(store)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // SQLite is whole after every statement.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare(&self, wallet: &Address) -> Result<(), StoreError> {
        let failed = |source| self.failed(source);
        let mut connection = self.connection();
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        // Nothing is sent that has not reached the disk.
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found });
        }
        let ours = blob(wallet);
        if found == 0 {
            let mut make = || -> rusqlite::Result<()> {
                let transaction = connection.transaction()?;
                transaction.execute_batch(
                    "CREATE TABLE wallet (
                         address BLOB NOT NULL,      -- workchain byte and 32 bytes of hash
                         spent INTEGER NOT NULL      -- nanotons of all transfers that ended and may have moved money
                     ) STRICT;
                     CREATE TABLE transfer (
                         number INTEGER PRIMARY KEY, -- in the order in which they were signed
                         seqno INTEGER NOT NULL,     -- the wallet's count
                         valid_until INTEGER NOT NULL,
                         hash BLOB NOT NULL,         -- the message's normalised hash
                         message BLOB NOT NULL,      -- what is sent: a bag of cells
                         spends INTEGER NOT NULL,    -- nanotons that may not come back
                         what TEXT NOT NULL,         -- for people
                         outcome INTEGER             -- NULL while it is under way
                     ) STRICT;
                     CREATE TABLE proxy (            -- of a client: where it has put money in
                         contract BLOB PRIMARY KEY,
                         owner BLOB NOT NULL,
                         key BLOB NOT NULL
                     ) STRICT, WITHOUT ROWID;",
                )?;
                transaction.execute("INSERT INTO wallet (address, spent) VALUES (?1, 0)", [&ours])?;
                transaction.pragma_update(None, "user_version", VERSION)?;
                transaction.commit()
            };
            make().map_err(failed)?;
        }
        let theirs: Vec<u8> =
            connection.query_row("SELECT address FROM wallet", [], |row| row.get(0)).map_err(failed)?;
        if theirs == ours {
            return Ok(());
        }
        Err(StoreError::OtherWallet { path: self.path.clone(), found: hex_of(&theirs) })
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    /// The transfer that is under way, if one is, with its number.
    pub fn under_way(&self) -> Result<Option<(i64, Transfer)>, StoreError> {
        let row = self.connection().query_row(
            "SELECT number, seqno, valid_until, hash, message, spends, what FROM transfer
             WHERE outcome IS NULL ORDER BY number LIMIT 1",
            [],
            read,
        );
        row.optional().map_err(|source| self.failed(source))
    }

    /// Writes a transfer down. When this returns, it is on the disk and may be sent.
    pub fn record(&self, transfer: &Transfer) -> Result<i64, StoreError> {
        let connection = self.connection();
        let written = connection.execute(
            "INSERT INTO transfer (seqno, valid_until, hash, message, spends, what) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                transfer.seqno,
                transfer.valid_until,
                transfer.hash,
                transfer.message,
                transfer.spends.0.cast_signed(),
                transfer.what
            ],
        );
        written.map_err(|source| self.failed(source))?;
        Ok(connection.last_insert_rowid())
    }

    /// Writes down how it ended.
    pub fn end(&self, number: i64, outcome: Outcome) -> Result<(), StoreError> {
        let write = || -> rusqlite::Result<()> {
            let mut connection = self.connection();
            let transaction = connection.transaction()?;
            if outcome != Outcome::Lost {
                transaction.execute(
                    "UPDATE wallet SET spent = spent +
                         (SELECT coalesce(sum(spends), 0) FROM transfer WHERE number = ?1 AND outcome IS NULL)",
                    [number],
                )?;
            }
            transaction.execute(
                "UPDATE transfer SET outcome = ?2 WHERE number = ?1 AND outcome IS NULL",
                params![number, outcome.code()],
            )?;
            transaction.execute("DELETE FROM transfer WHERE outcome IS NOT NULL AND number <= ?1", [number - KEPT])?;
            transaction.commit()
        };
        write().map_err(|source| self.failed(source))
    }

    /// Nanotons that this wallet has ever spent, what is under way included.
    pub fn spent(&self) -> Result<Nanoton, StoreError> {
        let sum: i64 = self
            .connection()
            .query_row(
                "SELECT spent + (SELECT coalesce(sum(spends), 0) FROM transfer WHERE outcome IS NULL) FROM wallet",
                [],
                |row| row.get(0),
            )
            .map_err(|source| self.failed(source))?;
        Ok(Nanoton(sum.max(0).cast_unsigned()))
    }
}

/// A proxy that a client has put money in at: what its contract's address follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProxy {
    /// Its contract.
    pub contract: Address,
    /// Its owner.
    pub owner: Address,
    /// The key that it signs with.
    pub key: [u8; 32],
}

impl TransferStore {
    /// Keeps a proxy for the day on which it does not answer any more.
    pub fn remember_proxy(&self, proxy: &KnownProxy) -> Result<(), StoreError> {
        let row = params![blob(&proxy.contract), blob(&proxy.owner), proxy.key];
        let written =
            self.connection().execute("INSERT OR REPLACE INTO proxy (contract, owner, key) VALUES (?1, ?2, ?3)", row);
        written.map(drop).map_err(|source| self.failed(source))
    }

    /// All of them.
    pub fn known_proxies(&self) -> Result<Vec<KnownProxy>, StoreError> {
        let failed = |source| self.failed(source);
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT contract, owner, key FROM proxy").map_err(failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?)))
            .map_err(failed)?;
        let mut proxies = Vec::new();
        for row in rows {
            let (contract, owner, key) = row.map_err(failed)?;
            let damaged = || StoreError::Damaged { path: self.path.clone() };
            let (contract, owner) = (from_blob(&contract).ok_or_else(damaged)?, from_blob(&owner).ok_or_else(damaged)?);
            proxies.push(KnownProxy { contract, owner, key });
        }
        Ok(proxies)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Transfer)> {
    let transfer = Transfer {
        seqno: row.get(1)?,
        valid_until: row.get(2)?,
        hash: row.get(3)?,
        message: row.get(4)?,
        spends: Nanoton(row.get::<_, i64>(5)?.max(0).cast_unsigned()),
        what: row.get(6)?,
    };
    Ok((row.get(0)?, transfer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    fn transfer(seqno: u32, spends: u64) -> Transfer {
        Transfer {
            seqno,
            valid_until: 100,
            hash: [7; 32],
            message: vec![1, 2, 3],
            spends: Nanoton(spends),
            what: "a test".to_owned(),
        }
    }

    #[test]
    fn a_transfer_is_there_again_until_it_has_ended_and_what_it_spent_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("treasury.sqlite");
        let mut store = TransferStore::open(&path, &address(1)).unwrap();
        assert_eq!(store.under_way().unwrap(), None);
        let number = store.record(&transfer(0, 5)).unwrap();
        assert_eq!(store.spent().unwrap(), Nanoton(5), "what is under way may be gone");
        drop(store);
        store = TransferStore::open(&path, &address(1)).unwrap();
        assert_eq!(store.under_way().unwrap(), Some((number, transfer(0, 5))));
        store.end(number, Outcome::Done).unwrap();
        // Said twice it counts once.
        store.end(number, Outcome::Done).unwrap();
        let lost = store.record(&transfer(1, 7)).unwrap();
        assert_eq!(store.spent().unwrap(), Nanoton(12));
        store.end(lost, Outcome::Lost).unwrap();
        assert_eq!((store.spent().unwrap(), store.under_way().unwrap()), (Nanoton(5), None));
    }

    #[test]
    fn the_file_of_another_wallet_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("treasury.sqlite");
        drop(TransferStore::open(&path, &address(1)).unwrap());
        let error = TransferStore::open(&path, &address(2)).err().unwrap();
        assert!(matches!(error, StoreError::OtherWallet { .. }), "{error}");
    }
}
