//! The proxy's file: how many adjusted tokens each worker has earned and each client has used.
//!
//! A total is on the disk before a payment for it is signed ([`Writer`] reports a write only after it is synced), so a proxy that loses
//! power has never signed for more than it remembers. Totals only ever go up. The file belongs to one proxy contract.

pub mod chain;
pub mod treasury;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::proxy::{AccountChange, Accounts, Side};
use rusqlite::{Connection, OptionalExtension, params};
use thiserror::Error;
use ton::Address;

/// Version of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 2;
/// Pause before a failed write is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why the accounts file cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error("{} was written by a newer version of this program (tables {found}, known {VERSION})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// It belongs to another proxy: another key, owner or network.
    #[error("{} holds the accounts of another proxy contract ({found}); use another --data folder, or the key, owner and network it was made with", path.display())]
    OtherProxy {
        /// The file.
        path: PathBuf,
        /// The contract in it.
        found: String,
    },
    /// It belongs to another wallet.
    #[error("{} holds the transfers of another wallet ({found}); use another --data folder, or the key it was made with", path.display())]
    OtherWallet {
        /// The file.
        path: PathBuf,
        /// The wallet in it.
        found: String,
    },
    /// A row cannot be what this program wrote.
    #[error("{}: an account that this program cannot have written; restore the file from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The open file.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the file of the proxy with this contract and reads what is in it.
    pub fn open(path: &Path, proxy_contract: &Address) -> Result<(Self, Accounts), StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        }
        let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        let store = Self { connection, path: path.to_owned() };
        store.prepare(proxy_contract)?;
        let accounts = store.read()?;
        Ok((store, accounts))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    fn prepare(&self, proxy_contract: &Address) -> Result<(), StoreError> {
        let connection = &self.connection;
        let failed = |source| self.failed(source);
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        // Write-ahead of payments: a commit must have reached the disk.
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        if found > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found });
        }
        if found == 0 {
            connection
                .execute_batch(&format!(
                    "BEGIN;
                     CREATE TABLE proxy (
                         contract BLOB NOT NULL,
                         writes INTEGER NOT NULL DEFAULT 0 -- how often accounts were written down: what the chain is told
                     ) STRICT;
                     CREATE TABLE accounts (
                         side INTEGER NOT NULL,   -- 0 worker, 1 client
                         owner BLOB NOT NULL,     -- workchain byte and 32 bytes of hash
                         tokens INTEGER NOT NULL, -- adjusted tokens, ever
                         PRIMARY KEY (side, owner)
                     ) STRICT, WITHOUT ROWID;
                     PRAGMA user_version = {VERSION};
                     COMMIT;"
                ))
                .map_err(failed)?;
        }
        if found == 1 {
            connection
                .execute_batch(&format!(
                    "BEGIN;
                     ALTER TABLE proxy ADD COLUMN writes INTEGER NOT NULL DEFAULT 0;
                     PRAGMA user_version = {VERSION};
                     COMMIT;"
                ))
                .map_err(failed)?;
        }
        let ours = blob(proxy_contract);
        let theirs: Option<Vec<u8>> =
            connection.query_row("SELECT contract FROM proxy", [], |row| row.get(0)).optional().map_err(failed)?;
        match theirs {
            None => {
                connection.execute("INSERT INTO proxy (contract) VALUES (?1)", [ours]).map_err(failed)?;
                Ok(())
            }
            Some(theirs) if theirs == ours => Ok(()),
            Some(theirs) => Err(StoreError::OtherProxy { path: self.path.clone(), found: hex_of(&theirs) }),
        }
    }

    fn read(&self) -> Result<Accounts, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self.connection.prepare("SELECT side, owner, tokens FROM accounts").map_err(failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?)))
            .map_err(failed)?;
        let mut accounts = Vec::new();
        for row in rows {
            let (side, owner, tokens) = row.map_err(failed)?;
            let damaged = || StoreError::Damaged { path: self.path.clone() };
            let side = match side {
                0 => Side::Worker,
                1 => Side::Client,
                _ => return Err(damaged()),
            };
            if tokens < 0 {
                return Err(damaged());
            }
            accounts.push(AccountChange { side, owner: from_blob(&owner).ok_or_else(damaged)?, tokens });
        }
        Ok(Accounts { accounts })
    }

    /// Writes changed accounts down in one transaction. When this returns, they are on the disk. Gives the write's number, which goes
    /// on from run to run.
    pub fn write(&mut self, changes: &[AccountChange]) -> Result<u64, StoreError> {
        write(&mut self.connection, changes).map_err(|source| self.failed(source))
    }

    /// Number of the last write.
    pub fn writes(&self) -> Result<u64, StoreError> {
        let number: i64 = self
            .connection
            .query_row("SELECT writes FROM proxy", [], |row| row.get(0))
            .map_err(|source| self.failed(source))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }
}

fn write(connection: &mut Connection, changes: &[AccountChange]) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO accounts (side, owner, tokens) VALUES (?1, ?2, ?3)
             ON CONFLICT (side, owner) DO UPDATE SET tokens = max(tokens, excluded.tokens)",
        )?;
        for change in changes {
            let side = match change.side {
                Side::Worker => 0,
                Side::Client => 1,
            };
            statement.execute(params![side, blob(&change.owner), change.tokens])?;
        }
    }
    let number: i64 =
        transaction.query_row("UPDATE proxy SET writes = writes + 1 RETURNING writes", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// A thread that writes one set of changes after another and reports each when it is on the disk. A disk that is full or gone stops
/// new payments, not the proxy: the write is tried again every second.
pub struct Writer {
    sender: mpsc::Sender<(u64, Vec<AccountChange>)>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread. `done` is called on it with the number of each write that reached the disk, and its number in the file; it
    /// returns whether anybody still listens.
    pub fn start(mut store: Store, done: impl Fn(u64, u64) -> bool + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel::<(u64, Vec<AccountChange>)>();
        let thread = std::thread::spawn(move || {
            while let Ok((seq, changes)) = receiver.recv() {
                let number = loop {
                    match store.write(&changes) {
                        Ok(number) => break number,
                        Err(error) => {
                            tracing::error!(%error, "accounts cannot be written down; no payment is signed until they can");
                        }
                    }
                    match receiver.recv_timeout(AGAIN_AFTER) {
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                        // One write is under way at a time, so nothing else is sent meanwhile.
                        Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                    }
                };
                if !done(seq, number) {
                    return;
                }
            }
        });
        Self { sender, thread }
    }

    /// Queues a write.
    pub fn write(&self, seq: u64, changes: Vec<AccountChange>) {
        // A thread that ended has said why.
        let _ = self.sender.send((seq, changes));
    }

    /// Waits until the thread has written what was queued and ended.
    pub fn finish(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}

/// An address out of a file, for people.
fn hex_of(blob: &[u8]) -> String {
    blob.get(1..).map(hex::encode).unwrap_or_default()
}

fn blob(address: &Address) -> Vec<u8> {
    let mut bytes = vec![address.workchain.cast_unsigned()];
    bytes.extend_from_slice(&address.hash);
    bytes
}

fn from_blob(bytes: &[u8]) -> Option<Address> {
    let (workchain, hash) = bytes.split_first()?;
    Some(Address { workchain: workchain.cast_signed(), hash: hash.try_into().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(byte: u8) -> Address {
        Address { workchain: 0, hash: [byte; 32] }
    }

    fn change(side: Side, byte: u8, tokens: i64) -> AccountChange {
        AccountChange { side, owner: address(byte), tokens }
    }

    #[test]
    fn totals_survive_and_never_go_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/proxy.sqlite");
        let (mut store, accounts) = Store::open(&path, &address(9)).unwrap();
        assert!(accounts.accounts.is_empty());
        store.write(&[change(Side::Worker, 1, 5), change(Side::Client, 1, 7)]).unwrap();
        store.write(&[change(Side::Worker, 1, 3), change(Side::Client, 2, 1)]).unwrap();
        drop(store);
        let (_, accounts) = Store::open(&path, &address(9)).unwrap();
        let wanted = [change(Side::Worker, 1, 5), change(Side::Client, 1, 7), change(Side::Client, 2, 1)];
        assert_eq!(accounts.accounts, wanted);
    }

    #[test]
    fn the_accounts_of_another_proxy_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sqlite");
        drop(Store::open(&path, &address(1)).unwrap());
        let error = Store::open(&path, &address(2)).err().unwrap();
        assert!(matches!(error, StoreError::OtherProxy { .. }), "{error}");
        assert!(error.to_string().contains("--data"), "{error}");
    }

    #[test]
    fn a_file_of_a_newer_program_and_a_file_that_is_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let newer = folder.path().join("newer.sqlite");
        drop(Store::open(&newer, &address(1)).unwrap());
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&newer, &address(1)), Err(StoreError::Newer { found: 99, .. })));
        let text = folder.path().join("text.sqlite");
        std::fs::write(&text, "no database at all, just words that go on for a while".repeat(100)).unwrap();
        assert!(matches!(Store::open(&text, &address(1)), Err(StoreError::Sqlite { .. })));
    }

    #[test]
    fn a_damaged_row_is_not_taken_for_money() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sqlite");
        drop(Store::open(&path, &address(1)).unwrap());
        let raw = Connection::open(&path).unwrap();
        raw.execute("INSERT INTO accounts VALUES (0, x'00', 5)", []).unwrap();
        drop(raw);
        assert!(matches!(Store::open(&path, &address(1)), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_write_that_fails_is_reported_only_once_it_succeeded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sqlite");
        let (store, _) = Store::open(&path, &address(1)).unwrap();
        // Somebody else holds the file, as a full disk would fail the write.
        store.connection.busy_timeout(Duration::from_millis(1)).unwrap();
        let blocker = Connection::open(&path).unwrap();
        blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start(store, move |seq, _| sender.send(seq).is_ok());
        writer.write(1, vec![change(Side::Worker, 1, 5)]);
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "reported before it was written");
        blocker.execute_batch("COMMIT").unwrap();
        assert_eq!(receiver.recv_timeout(Duration::from_secs(30)), Ok(1));
        writer.finish();
        let (_, accounts) = Store::open(&path, &address(1)).unwrap();
        assert_eq!(accounts.accounts, [change(Side::Worker, 1, 5)]);
    }
}
