//! What was found out about graphics cards.

use crate::{Ledger, LedgerError, Recorded};
use rusqlite::TransactionBehavior;

/// Most bytes of a card's or a driver's name.
const MAX_NAME: usize = 256;
/// Most bytes of a choice.
const MAX_CHOICE: usize = 2_048;
/// Most that are kept, the newest: cards and models come and go.
const MAX_KEPT: u32 = 64;

/// How kernels are cut for a card, its driver and a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The driver's name of the card, at most 256 bytes.
    pub card: String,
    /// The driver and its version, at most 256 bytes.
    pub driver: String,
    /// SHA-256 of the model's file.
    pub model: [u8; 32],
    /// As the worker said it and wants it back, 1 to 2048 bytes.
    pub choice: Vec<u8>,
    /// When it was found out, Unix time in milliseconds.
    pub found_unix_ms: i64,
}

impl Ledger {
    /// Writes down what was found out. It takes the place of what is there for the same card, driver and model.
    pub fn record_tuning(&mut self, tuning: &Tuning) -> Result<Recorded, LedgerError> {
        if tuning.card.len() > MAX_NAME || tuning.driver.len() > MAX_NAME {
            return Err(LedgerError::OutOfRange { what: "a card's name" });
        }
        if !(1..=MAX_CHOICE).contains(&tuning.choice.len()) {
            return Err(LedgerError::OutOfRange { what: "a card's tuning" });
        }
        let Tuning { card, driver, model, choice, found_unix_ms } = tuning;
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        writing.execute(
            "INSERT INTO tuning (card, driver, model, choice, found_unix_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (card, driver, model) DO UPDATE SET choice = excluded.choice, found_unix_ms = excluded.found_unix_ms",
            (card, driver, model, choice, found_unix_ms),
        )?;
        writing.execute(
            "DELETE FROM tuning WHERE rowid NOT IN (SELECT rowid FROM tuning ORDER BY found_unix_ms DESC, rowid DESC LIMIT ?)",
            [MAX_KEPT],
        )?;
        writing.commit()?;
        Ok(Recorded::New)
    }

    /// What was found out for a model, the newest first, at most `limit`.
    pub fn tunings(&self, model: &[u8; 32], limit: u32) -> Result<Vec<Tuning>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT card, driver, model, choice, found_unix_ms FROM tuning WHERE model = ?
             ORDER BY found_unix_ms DESC, rowid DESC LIMIT ?",
        )?;
        let rows = query.query_map((model, limit.min(MAX_KEPT)), |row| {
            Ok(Tuning {
                card: row.get(0)?,
                driver: row.get(1)?,
                model: row.get(2)?,
                choice: row.get(3)?,
                found_unix_ms: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning(card: &str, driver: &str, found_unix_ms: i64) -> Tuning {
        let (card, driver) = (card.to_owned(), driver.to_owned());
        Tuning { card, driver, model: [7; 32], choice: vec![1, 2], found_unix_ms }
    }

    #[test]
    fn a_cards_tuning_is_kept_for_each_driver_and_model_and_replaced_by_a_newer_one() {
        let mut ledger = Ledger::in_memory(0).unwrap();
        let (old, other) = (tuning("a", "1", 5), tuning("a", "2", 6));
        let of_another_model = Tuning { model: [8; 32], ..tuning("a", "1", 9) };
        for one in [&old, &other, &of_another_model] {
            ledger.record_tuning(one).unwrap();
        }
        assert_eq!(ledger.tunings(&[7; 32], 8).unwrap(), [other.clone(), old.clone()]);
        let new = Tuning { choice: vec![9; 2048], found_unix_ms: 8, ..old };
        ledger.record_tuning(&new).unwrap();
        assert_eq!(ledger.tunings(&[7; 32], 8).unwrap(), [new.clone(), other]);
        assert_eq!(ledger.tunings(&[7; 32], 1).unwrap(), [new]);
        assert_eq!(ledger.tunings(&[8; 32], 8).unwrap(), [of_another_model]);
        assert_eq!(ledger.tunings(&[9; 32], 8).unwrap(), []);
    }

    #[test]
    fn only_the_newest_are_kept_and_none_that_is_too_long() {
        let mut ledger = Ledger::in_memory(0).unwrap();
        for number in 0..100 {
            ledger.record_tuning(&tuning(&number.to_string(), "", number)).unwrap();
        }
        let kept = ledger.tunings(&[7; 32], 1_000).unwrap();
        assert_eq!((kept.len(), kept[0].card.as_str(), kept[63].card.as_str()), (64, "99", "36"));
        for wrong in [
            Tuning { choice: Vec::new(), ..tuning("a", "b", 0) },
            Tuning { choice: vec![0; 2049], ..tuning("a", "b", 0) },
            tuning(&"a".repeat(257), "b", 0),
            tuning("a", &"b".repeat(257), 0),
        ] {
            assert!(matches!(ledger.record_tuning(&wrong), Err(LedgerError::OutOfRange { .. })));
        }
    }
}
