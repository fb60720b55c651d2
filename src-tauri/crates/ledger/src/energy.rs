//! What cards drew, by quarters of an hour.

use std::collections::BTreeMap;

use accounting::statement::{Date, Energy};
use ton::Address;

use crate::row::address_bytes;
use crate::{Ledger, LedgerError, QUARTER_MS};

const SECOND_MS: i64 = 1_000;

impl Ledger {
    /// Adds what was drawn while a network was served, in the quarter of an hour of that time. What was not measured is not written.
    pub fn record_energy(&mut self, root_contract: &Address, unix_ms: i64, energy: Energy) -> Result<(), LedgerError> {
        if energy.measured_ms == 0 {
            return Ok(());
        }
        let capped = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Too large a sum is no integer any more; the lesser of both is.
        self.connection
            .prepare_cached(
                "INSERT INTO energy VALUES (?, ?, ?, ?)
                 ON CONFLICT (root_contract, at) DO UPDATE SET
                     millijoules = min(millijoules + excluded.millijoules, 9223372036854775807),
                     measured_ms = min(measured_ms + excluded.measured_ms, 9223372036854775807)",
            )?
            .execute((
                address_bytes(root_contract),
                unix_ms.div_euclid(QUARTER_MS),
                capped(energy.millijoules),
                capped(energy.measured_ms),
            ))?;
        Ok(())
    }

    /// What was drawn between each edge and the next, by days of UTC. Edges are Unix time in milliseconds and rise; a quarter belongs to
    /// where it begins. A day that is not there was not measured.
    pub fn energy(&self, root_contract: &Address, edges: &[i64]) -> Result<Vec<BTreeMap<Date, Energy>>, LedgerError> {
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return Ok(Vec::new()) };
        let mut bars = vec![BTreeMap::<Date, Energy>::new(); edges.len().saturating_sub(1)];
        let mut query = self.connection.prepare_cached(
            "SELECT at, millijoules, measured_ms FROM energy WHERE root_contract = ? AND at >= ? AND at < ?",
        )?;
        let edge = |unix_ms: i64| unix_ms.saturating_add(QUARTER_MS - 1).div_euclid(QUARTER_MS);
        let rows = query.query_map((address_bytes(root_contract), edge(*first), edge(*last)), |row| {
            Ok((row.get::<_, i64>(0)?, Energy { millijoules: row.get(1)?, measured_ms: row.get(2)? }))
        })?;
        for row in rows {
            let (at, energy) = row?;
            let begins = at.saturating_mul(QUARTER_MS);
            let bar = edges.partition_point(|edge| *edge <= begins).checked_sub(1).and_then(|bar| bars.get_mut(bar));
            if let Some(bar) = bar {
                let day = bar.entry(Date::of_unix(begins.div_euclid(SECOND_MS))).or_default();
                *day = day.plus(energy);
            }
        }
        Ok(bars)
    }
}
