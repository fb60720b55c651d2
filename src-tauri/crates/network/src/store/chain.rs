//! The embedded chain's file: accounts, transactions, messages on their way, blocks.
//!
//! A block is one SQLite transaction: a program that is killed has either all of a block or nothing of it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use ton::{Address, Nanoton};

use super::{StoreError, blob, from_blob};

/// Version of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 1;

/// Where a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What all chance is drawn from.
    pub seed: u64,
    /// Number of the last block that was written down. Empty blocks are not.
    pub seqno: u32,
    /// When it was made, in Unix milliseconds by the chain's clock.
    pub time_ms: i64,
    /// How far the chain's clock is ahead of the machine's, in milliseconds.
    pub ahead_ms: i64,
    /// First logical time that is free.
    pub lt: u64,
    /// Hash of the last block.
    pub hash: [u8; 32],
    /// Money that was ever made.
    pub minted: Nanoton,
    /// Money that was ever taken as fees.
    pub fees: Nanoton,
}

/// An account as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Whose.
    pub address: Address,
    /// Its state: a bag of cells.
    pub state: Vec<u8>,
    /// Logical time of its last transaction.
    pub last_lt: u64,
    /// Hash of its last transaction.
    pub last_hash: [u8; 32],
    /// Its money; beside the state so that it can be added up.
    pub balance: Nanoton,
}

/// A transaction as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRow {
    /// Whose.
    pub address: Address,
    /// Its logical time.
    pub lt: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// The block it is in.
    pub seqno: u32,
    /// Its cells: a bag.
    pub cells: Vec<u8>,
}

/// A message on its way between accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its cells: a bag.
    pub cells: Vec<u8>,
    /// The money with it, what is left of its forward fee included.
    pub carries: Nanoton,
}

/// Everything that changes with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where the chain stands after it.
    pub standing: Standing,
    /// Accounts that changed.
    pub accounts: Vec<AccountRow>,
    /// Transactions in it.
    pub transactions: Vec<TransactionRow>,
    /// Numbers of the messages that arrived.
    pub arrived: Vec<i64>,
    /// Messages that set out, in order.
    pub departed: Vec<Passage>,
}

/// All money there is, by where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// Ever made.
    pub minted: Nanoton,
    /// In accounts.
    pub balances: Nanoton,
    /// In messages on their way.
    pub in_flight: Nanoton,
    /// Taken as fees.
    pub fees: Nanoton,
}

impl Audit {
    /// Whether nothing appeared and nothing vanished.
    pub fn adds_up(&self) -> bool {
        self.balances.checked_add(self.in_flight).and_then(|sum| sum.checked_add(self.fees)) == Some(self.minted)
    }
}

/// The open file.
pub struct ChainStore {
    connection: Connection,
    path: PathBuf,
}

impl ChainStore {
    /// Opens or makes the file. `first` is where a new chain stands.
    pub fn open(path: &Path, first: Standing) -> Result<(Self, Standing), StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        }
        let failed = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(failed)?;
        let mut store = Self { connection, path: path.to_owned() };
        let standing = store.prepare(&first).map_err(failed)?;
        match standing {
            Ok(standing) => Ok((store, standing)),
            Err(found) => Err(StoreError::Newer { path: path.to_owned(), found }),
        }
    }

    fn prepare(&mut self, first: &Standing) -> rusqlite::Result<Result<Standing, i64>> {
        let connection = &mut self.connection;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > VERSION {
            return Ok(Err(found));
        }
        if found == 0 {
            let transaction = connection.transaction()?;
            transaction.execute_batch(TABLES)?;
            let seed = first.seed.cast_signed();
            transaction.execute("INSERT INTO chain (one, seed) VALUES (1, ?1)", [seed])?;
            write_standing(&transaction, first)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
        let standing = connection.query_row(
            "SELECT seed, seqno, time_ms, ahead_ms, lt, hash, minted, fees FROM chain",
            [],
            |row| {
                Ok(Standing {
                    seed: row.get::<_, i64>(0)?.cast_unsigned(),
                    seqno: row.get(1)?,
                    time_ms: row.get(2)?,
                    ahead_ms: row.get(3)?,
                    lt: row.get::<_, i64>(4)?.cast_unsigned(),
                    hash: row.get(5)?,
                    minted: Nanoton(row.get::<_, i64>(6)?.cast_unsigned()),
                    fees: Nanoton(row.get::<_, i64>(7)?.cast_unsigned()),
                })
            },
        )?;
        Ok(Ok(standing))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }

    /// Writes a block down. When this returns, it is on the disk.
    pub fn write(&mut self, block: &Block) -> Result<(), StoreError> {
        write_block(&mut self.connection, block).map_err(|source| self.failed(source))
    }

    /// An account, if it ever was.
    pub fn account(&self, address: &Address) -> Result<Option<AccountRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT state, last_lt, last_hash, balance FROM account WHERE address = ?1")
            .map_err(|source| self.failed(source))?;
        let row = statement
            .query_row([blob(address)], |row| {
                Ok(AccountRow {
                    address: *address,
                    state: row.get(0)?,
                    last_lt: row.get::<_, i64>(1)?.cast_unsigned(),
                    last_hash: row.get(2)?,
                    balance: Nanoton(row.get::<_, i64>(3)?.cast_unsigned()),
                })
            })
            .optional();
        row.map_err(|source| self.failed(source))
    }

    /// Transactions of an account with a logical time of at most `from`, newest first.
    pub fn transactions(&self, address: &Address, from: u64, limit: u32) -> Result<Vec<TransactionRow>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT lt, hash, seqno, cells FROM transactions WHERE address = ?1 AND lt <= ?2 ORDER BY lt DESC LIMIT ?3",
            )?;
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![blob(address), from, limit], |row| {
                Ok(TransactionRow {
                    address: *address,
                    lt: row.get::<_, i64>(0)?.cast_unsigned(),
                    hash: row.get(1)?,
                    seqno: row.get(2)?,
                    cells: row.get(3)?,
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// Owner, logical time and hash of a block's transactions, in order.
    pub fn transactions_in(&self, seqno: u32, limit: u32) -> Result<Vec<(Address, u64, [u8; 32])>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT address, lt, hash FROM transactions WHERE seqno = ?1 ORDER BY lt LIMIT ?2")?;
            let rows = statement.query_map(params![seqno, limit], |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, [u8; 32]>(2)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(|source| self.failed(source))?;
        rows.into_iter()
            .map(|(address, lt, hash)| {
                let damaged = || StoreError::Damaged { path: self.path.clone() };
                Ok((from_blob(&address).ok_or_else(damaged)?, lt, hash))
            })
            .collect()
    }

    /// The oldest messages on their way, with their numbers.
    pub fn passages(&self, limit: u32) -> Result<Vec<(i64, Passage)>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT number, cells, carries FROM passage ORDER BY number LIMIT ?1")?;
            let rows = statement.query_map([limit], |row| {
                let carries = Nanoton(row.get::<_, i64>(2)?.cast_unsigned());
                Ok((row.get(0)?, Passage { cells: row.get(1)?, carries }))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.failed(source))
    }

    /// Number and time of the newest written block that is not after this one.
    pub fn block_before(&self, seqno: u32) -> Result<Option<(u32, i64)>, StoreError> {
        self.connection
            .query_row(
                "SELECT seqno, time_ms FROM block WHERE seqno <= ?1 ORDER BY seqno DESC LIMIT 1",
                [seqno],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|source| self.failed(source))
    }

    /// Adds all money up.
    pub fn audit(&self) -> Result<Audit, StoreError> {
        self.connection
            .query_row(
                "SELECT minted, fees, (SELECT COALESCE(SUM(balance), 0) FROM account),
                    (SELECT COALESCE(SUM(carries), 0) FROM passage) FROM chain",
                [],
                |row| {
                    let amount = |at: usize| row.get::<_, i64>(at).map(|sum| Nanoton(sum.cast_unsigned()));
                    Ok(Audit { minted: amount(0)?, fees: amount(1)?, balances: amount(2)?, in_flight: amount(3)? })
                },
            )
            .map_err(|source| self.failed(source))
    }
}

const TABLES: &str = "
CREATE TABLE chain (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seed INTEGER NOT NULL,
    seqno INTEGER NOT NULL DEFAULT 0,
    time_ms INTEGER NOT NULL DEFAULT 0,
    ahead_ms INTEGER NOT NULL DEFAULT 0,
    lt INTEGER NOT NULL DEFAULT 0,
    hash BLOB NOT NULL DEFAULT x'',
    minted INTEGER NOT NULL DEFAULT 0, -- nanotons
    fees INTEGER NOT NULL DEFAULT 0    -- nanotons
) STRICT;
CREATE TABLE block (seqno INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE account (
    address BLOB PRIMARY KEY, -- workchain byte and 32 bytes of hash
    state BLOB NOT NULL,
    last_lt INTEGER NOT NULL,
    last_hash BLOB NOT NULL,
    balance INTEGER NOT NULL  -- nanotons
) STRICT, WITHOUT ROWID;
CREATE TABLE transactions (
    address BLOB NOT NULL,
    lt INTEGER NOT NULL,
    hash BLOB NOT NULL,
    seqno INTEGER NOT NULL,
    cells BLOB NOT NULL,
    PRIMARY KEY (address, lt)
) STRICT;
CREATE INDEX transactions_of_a_block ON transactions (seqno);
CREATE TABLE passage (number INTEGER PRIMARY KEY AUTOINCREMENT, cells BLOB NOT NULL, carries INTEGER NOT NULL) STRICT;
";

fn write_standing(transaction: &rusqlite::Transaction<'_>, standing: &Standing) -> rusqlite::Result<()> {
    let money = |amount: Nanoton| {
        i64::try_from(amount.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    transaction.execute(
        "UPDATE chain SET seqno = ?1, time_ms = ?2, ahead_ms = ?3, lt = ?4, hash = ?5, minted = ?6, fees = ?7",
        params![
            standing.seqno,
            standing.time_ms,
            standing.ahead_ms,
            standing.lt.cast_signed(),
            standing.hash,
            money(standing.minted)?,
            money(standing.fees)?
        ],
    )?;
    transaction.execute(
        "INSERT INTO block (seqno, time_ms, hash) VALUES (?1, ?2, ?3) ON CONFLICT (seqno) DO NOTHING",
        params![standing.seqno, standing.time_ms, standing.hash],
    )?;
    Ok(())
}

fn write_block(connection: &mut Connection, block: &Block) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    write_standing(&transaction, &block.standing)?;
    {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO account (address, state, last_lt, last_hash, balance) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (address) DO UPDATE SET state = excluded.state, last_lt = excluded.last_lt,
                last_hash = excluded.last_hash, balance = excluded.balance",
        )?;
        for row in &block.accounts {
            let lt = row.last_lt.cast_signed();
            statement.execute(params![
                blob(&row.address),
                row.state,
                lt,
                row.last_hash,
                row.balance.0.cast_signed()
            ])?;
        }
        let mut statement = transaction
            .prepare_cached("INSERT INTO transactions (address, lt, hash, seqno, cells) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for row in &block.transactions {
            statement.execute(params![blob(&row.address), row.lt.cast_signed(), row.hash, row.seqno, row.cells])?;
        }
        let mut statement = transaction.prepare_cached("DELETE FROM passage WHERE number = ?1")?;
        for number in &block.arrived {
            statement.execute([number])?;
        }
        let mut statement = transaction.prepare_cached("INSERT INTO passage (cells, carries) VALUES (?1, ?2)")?;
        for passage in &block.departed {
            statement.execute(params![passage.cells, passage.carries.0.cast_signed()])?;
        }
    }
    transaction.commit()
}
