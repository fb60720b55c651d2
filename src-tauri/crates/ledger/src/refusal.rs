//! Who was refused, and why.

use crate::row::{address, address_bytes};
use crate::{Ledger, LedgerError, Recorded};
use rusqlite::types::Type;
use rusqlite::{Row, TransactionBehavior};
use std::net::SocketAddrV4;
use ton::Address;

/// Most characters of a reason.
const MAX_REASON: usize = 320;
/// Most that are kept for one proxy of a network, the newest.
const MAX_OF_A_PROXY: u32 = 8;
/// Most that are kept, the newest.
const MAX_KEPT: u32 = 256;

/// Who refused whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// This PC does not trust the proxy.
    ThisPc,
    /// The proxy gives this PC no jobs.
    Proxy,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which network.
    pub root_contract: Address,
    /// Where workers dial the proxy.
    pub endpoint: SocketAddrV4,
    /// By whom.
    pub by: RefusedBy,
    /// Why, 1 to 320 characters.
    pub reason: String,
    /// When it was so first and last, Unix time in milliseconds.
    pub seen_unix_ms: (i64, i64),
    /// How often it was written down.
    pub times: u32,
}

impl Ledger {
    /// Writes down that somebody was refused at this time. The same reason again is counted.
    pub fn record_refusal(
        &mut self,
        root_contract: &Address,
        endpoint: SocketAddrV4,
        by: RefusedBy,
        reason: &str,
        seen_unix_ms: i64,
    ) -> Result<Recorded, LedgerError> {
        if !(1..=MAX_REASON).contains(&reason.chars().count()) {
            return Err(LedgerError::OutOfRange { what: "the reason of a refusal" });
        }
        let (root, endpoint, by_proxy) = (address_bytes(root_contract), endpoint.to_string(), by == RefusedBy::Proxy);
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let times: u32 = writing.query_row(
            "INSERT INTO refusal (root_contract, endpoint, by_proxy, reason, first_unix_ms, last_unix_ms, times)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1)
             ON CONFLICT (root_contract, endpoint, by_proxy, reason) DO UPDATE SET
                 last_unix_ms = max(last_unix_ms, excluded.last_unix_ms), times = min(times + 1, 4294967295)
             RETURNING times",
            (root, &endpoint, by_proxy, reason, seen_unix_ms),
            |row| row.get(0),
        )?;
        writing.execute(
            "DELETE FROM refusal WHERE root_contract = ?1 AND endpoint = ?2 AND id NOT IN
                 (SELECT id FROM refusal WHERE root_contract = ?1 AND endpoint = ?2
                  ORDER BY last_unix_ms DESC, id DESC LIMIT ?3)",
            (root, &endpoint, MAX_OF_A_PROXY),
        )?;
        writing.execute(
            "DELETE FROM refusal WHERE id NOT IN (SELECT id FROM refusal ORDER BY last_unix_ms DESC, id DESC LIMIT ?)",
            [MAX_KEPT],
        )?;
        writing.commit()?;
        Ok(if times == 1 { Recorded::New } else { Recorded::Known })
    }

    /// Who was refused, the newest first, at most `limit`.
    pub fn refusals(&self, limit: u32) -> Result<Vec<Refusal>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT root_contract, endpoint, by_proxy, reason, first_unix_ms, last_unix_ms, times FROM refusal
             ORDER BY last_unix_ms DESC, id DESC LIMIT ?",
        )?;
        let rows = query.query_map([limit.min(MAX_KEPT)], refusal)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn refusal(row: &Row<'_>) -> rusqlite::Result<Refusal> {
    let endpoint: String = row.get("endpoint")?;
    Ok(Refusal {
        root_contract: address(row, "root_contract")?,
        endpoint: endpoint
            .parse()
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?,
        by: if row.get("by_proxy")? { RefusedBy::Proxy } else { RefusedBy::ThisPc },
        reason: row.get("reason")?,
        seen_unix_ms: (row.get("first_unix_ms")?, row.get("last_unix_ms")?),
        times: row.get("times")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Address = Address { workchain: 0, hash: [1; 32] };

    fn place(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([192, 0, 2, 7].into(), port)
    }

    #[test]
    fn who_was_refused_and_why_is_kept_and_the_same_again_is_counted() {
        let mut ledger = Ledger::in_memory(0).unwrap();
        let mut note = |by, reason: &str, at| ledger.record_refusal(&ROOT, place(1), by, reason, at).unwrap();
        assert_eq!(note(RefusedBy::ThisPc, "another key", 5), Recorded::New);
        assert_eq!(note(RefusedBy::Proxy, "another key", 6), Recorded::New);
        assert_eq!(note(RefusedBy::ThisPc, "another key", 9), Recorded::Known);
        let kept = ledger.refusals(10).unwrap();
        let first = Refusal {
            root_contract: ROOT,
            endpoint: place(1),
            by: RefusedBy::ThisPc,
            reason: "another key".to_owned(),
            seen_unix_ms: (5, 9),
            times: 2,
        };
        assert_eq!(kept[0], first);
        assert_eq!((kept.len(), kept[1].by, kept[1].seen_unix_ms), (2, RefusedBy::Proxy, (6, 6)));
        assert_eq!(ledger.refusals(1).unwrap(), [first]);
    }

    #[test]
    fn only_the_newest_of_a_proxy_and_of_all_are_kept_and_none_that_is_empty_or_too_long() {
        let mut ledger = Ledger::in_memory(0).unwrap();
        let mut note = |port, reason: &str, at| ledger.record_refusal(&ROOT, place(port), RefusedBy::Proxy, reason, at);
        for number in 0..20 {
            note(1, &format!("reason {number}"), number).unwrap();
        }
        for wrong in ["", &"x".repeat(321)] {
            assert!(matches!(note(1, wrong, 1), Err(LedgerError::OutOfRange { .. })));
        }
        let reasons: Vec<_> = ledger.refusals(100).unwrap().into_iter().map(|one| one.reason).collect();
        assert_eq!(reasons, (12..20).rev().map(|number| format!("reason {number}")).collect::<Vec<_>>());
        for port in 2..400 {
            ledger
                .record_refusal(&ROOT, place(port), RefusedBy::ThisPc, &"\u{fc}".repeat(320), i64::from(port))
                .unwrap();
        }
        let kept = ledger.refusals(1_000).unwrap();
        assert_eq!((kept.len(), kept[0].endpoint, kept[255].endpoint), (256, place(399), place(144)));
    }
}
