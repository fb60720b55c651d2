//! Opening the file and bringing it to the newest schema.

use crate::LedgerError;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// "Chry".
const APPLICATION_ID: i64 = 0x4368_7279;
/// How long to wait for another process.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to try within that time what SQLite does not wait for.
const ATTEMPTS: u32 = 250;
/// The schema's steps; the first brings an empty file to version 1.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_jobs_and_payments.sql"),
    include_str!("../migrations/0002_how_jobs_were_priced.sql"),
    include_str!("../migrations/0003_how_cards_were_tuned.sql"),
    include_str!("../migrations/0004_how_money_moved.sql"),
    include_str!("../migrations/0005_running_totals.sql"),
    include_str!("../migrations/0006_what_can_be_cashed.sql"),
    include_str!("../migrations/0007_what_was_earned.sql"),
    include_str!("../migrations/0008_what_empties_a_wallet.sql"),
    include_str!("../migrations/0009_what_was_drawn.sql"),
    include_str!("../migrations/0010_owner_of_a_transfer.sql"),
    include_str!("../migrations/0011_who_was_refused.sql"),
];

/// The open file. Dropping it closes it; nothing needs to be flushed.
pub struct Ledger {
    pub(crate) connection: Connection,
}

impl Ledger {
    /// Opens the file, which is made if it is not there (its folder must be), and brings it to the newest schema. `now_unix_ms` is
    /// noted beside the migration.
    pub fn open(path: &Path, now_unix_ms: i64) -> Result<Self, LedgerError> {
        Self::prepare(Connection::open(path)?, now_unix_ms)
    }

    /// Opens a file that is there for reading alone, while the app may be writing to it. One that an older program wrote and no
    /// present one has opened yet is refused: reading would need what is not in it.
    pub fn open_for_reading(path: &Path) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        let known = MIGRATIONS.len() as i64;
        let found = version(&*connection.unchecked_transaction()?)?;
        if found > known {
            return Err(LedgerError::NewerVersion { found, known });
        }
        if found < known {
            return Err(LedgerError::OlderVersion { found, known });
        }
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(Self { connection })
    }

    /// A ledger that is gone when it is dropped, for tests and trials.
    pub fn in_memory(now_unix_ms: i64) -> Result<Self, LedgerError> {
        Self::prepare(Connection::open_in_memory()?, now_unix_ms)
    }

    fn prepare(mut connection: Connection, now_unix_ms: i64) -> Result<Self, LedgerError> {
        connection.busy_timeout(PATIENCE)?;
        let known = MIGRATIONS.len() as i64;
        // Before anything is written: is the file ours, and not newer than we are?
        let found = version(&*connection.unchecked_transaction()?)?;
        if found > known {
            return Err(LedgerError::NewerVersion { found, known });
        }
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        keep_a_log(&connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        if found < known {
            // Another process may do the same at this moment: the version counts once the lock is held.
            let migration = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (step, sql) in MIGRATIONS.iter().enumerate().skip(version(&migration)? as usize) {
                let step = step as i64 + 1;
                migration.execute_batch(sql)?;
                migration.execute("INSERT INTO migration VALUES (?, ?)", (step, now_unix_ms))?;
                migration.pragma_update(None, "user_version", step)?;
            }
            migration.pragma_update(None, "application_id", APPLICATION_ID)?;
            migration.commit()?;
        }
        Ok(Self { connection })
    }
}

/// Switches to the write-ahead log, unless the file has it. SQLite does not wait by itself if another process does the same just now.
fn keep_a_log(connection: &Connection) -> Result<(), LedgerError> {
    for _ in 0..ATTEMPTS {
        match connection.pragma_update(None, "journal_mode", "WAL").map_err(LedgerError::from) {
            Err(LedgerError::Busy) => std::thread::sleep(PATIENCE / ATTEMPTS),
            other => return other,
        }
    }
    Err(LedgerError::Busy)
}

/// The version of a file of ours; 0 of an empty one. The caller's transaction makes the answers be of one moment.
fn version(connection: &Connection) -> Result<i64, LedgerError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let ours = application == APPLICATION_ID && version >= 1;
    let empty = application == 0 && version == 0 && tables == 0;
    if ours || empty { Ok(version) } else { Err(LedgerError::NotALedger) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_opened_again_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        drop(Ledger::open(&path, 7).unwrap());
        let ledger = Ledger::open(&path, 8).unwrap();
        let applied: i64 =
            ledger.connection.query_row("SELECT applied_unix_ms FROM migration", (), |row| row.get(0)).unwrap();
        assert_eq!(applied, 7);
        let pragma = |name: &str| ledger.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("user_version"), MIGRATIONS.len() as i64);
        assert_eq!(pragma("synchronous"), 2, "FULL");
        assert_eq!(pragma("foreign_keys"), 1);
        let journal: String = ledger.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(journal, "wal");
    }

    #[test]
    fn every_table_is_strict_and_has_no_column_for_a_prompt_or_an_answer() {
        let ledger = Ledger::in_memory(0).unwrap();
        let mut tables = ledger
            .connection
            .prepare("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite%'")
            .unwrap();
        let tables: Vec<(String, bool)> =
            tables.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        assert_eq!(tables.len(), 16);
        assert!(tables.iter().all(|(_, strict)| *strict), "{tables:?}");
        let mut texts = Vec::new();
        let mut blobs = Vec::new();
        for (table, _) in &tables {
            let mut columns = ledger.connection.prepare("SELECT name, type FROM pragma_table_info(?)").unwrap();
            let columns = columns.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            for (column, kind) in columns.map(Result::<(String, String), _>::unwrap) {
                match kind.as_str() {
                    "INTEGER" => {}
                    "TEXT" => texts.push(format!("{table}.{column}")),
                    "BLOB" => blobs.push(format!("{table}.{column}")),
                    other => panic!("{table}.{column} is {other}"),
                }
            }
        }
        texts.sort();
        assert_eq!(
            texts,
            [
                "proxy.endpoint",
                "refusal.endpoint",
                "refusal.reason",
                "session.served_as",
                "transfer.why",
                "tuning.card",
                "tuning.driver"
            ]
        );
        // Every BLOB has its size checked by the schema, so that text can't be hidden in one.
        let schema: String =
            ledger.connection.query_row("SELECT group_concat(sql) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
        for blob in blobs {
            let column = blob.split('.').nth(1).unwrap();
            assert!(schema.contains(&format!("CHECK (length({column})")), "{blob} has no checked length");
        }
    }
}
