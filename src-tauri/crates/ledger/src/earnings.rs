//! What was earned: how far it has come, in which quarter of an hour, and what was paid.

use std::collections::BTreeMap;

use accounting::{Receipt, TransferId};
use rusqlite::{Connection, OptionalExtension as _};
use ton::{Address, Nanoton};

use crate::row::{self, address_bytes};
use crate::transfer::receipt;
use crate::write::{SessionId, whole};
use crate::{Ledger, LedgerError};

/// Milliseconds of a quarter of an hour: what is earned is summed up by these.
pub const QUARTER_MS: i64 = 900_000;
/// Most rows of one page.
const MAX_PAGE: u32 = 1_000;
/// Most bars of one chart.
const MAX_BARS: usize = 10_000;

/// A network that this file knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNetwork {
    /// Its root contract.
    pub root_contract: Address,
    /// Whether its money is worth nothing: practice and tests.
    pub pays_nothing: bool,
    /// When it was first served, Unix time in milliseconds.
    pub first_unix_ms: i64,
    /// When it was last begun to be served.
    pub last_unix_ms: i64,
}

/// How far what was earned in a network has come. No token is in two of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pipeline {
    /// Done, and not signed yet.
    pub counted: Nanoton,
    /// Signed, and neither cashed nor on the way, as far as this file and the chain say.
    pub signed: Nanoton,
    /// In transfers that are out and have not ended.
    pub on_the_way: Nanoton,
    /// How many transfers that is.
    pub flights: u64,
    /// What contracts have paid to the owner.
    pub paid: Nanoton,
    /// How often.
    pub payouts: u64,
    /// What transfers for payouts cost, as far as it is known.
    pub fees: Nanoton,
    /// Transfers whose cost is not known.
    pub unknown_fees: u64,
}

/// What was earned in one bar of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Earned {
    /// Jobs that ended in it with an answer.
    pub answered: u64,
    /// Worth of jobs that ended in it.
    pub counted: Nanoton,
    /// By how much signed running totals rose in it.
    pub signed: Nanoton,
    /// What contracts paid to the owner in it.
    pub paid: Nanoton,
}

/// Where a page of payouts ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PayoutCursor {
    lt: i64,
    seq: i64,
}

impl PayoutCursor {
    /// Its text, for a page that must hold it.
    pub fn to_text(self) -> String {
        format!("{}.{}", self.lt, self.seq)
    }

    /// The cursor of such a text. A foreign one leads to another page, never to harm.
    pub fn from_text(text: &str) -> Option<Self> {
        let (lt, seq) = text.split_once('.')?;
        Some(Self { lt: lt.parse().ok()?, seq: seq.parse().ok()? })
    }
}

/// What is known of the transfer that brought a payout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutTransfer {
    /// Its number.
    pub id: TransferId,
    /// At which contract it was cashed.
    pub worker_contract: Address,
    /// Running total that had been paid before.
    pub from_tokens: u64,
    /// Running total after it.
    pub to_tokens: u64,
    /// What it cost; `None`: not known.
    pub fees: Option<Nanoton>,
    /// Hash of the message that asked for it (TEP-467); `None`: it was never signed.
    pub message: Option<[u8; 32]>,
}

/// Money that a contract paid to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayoutEntry {
    /// Its place in the list.
    pub cursor: PayoutCursor,
    /// What the chain has.
    pub receipt: Receipt,
    /// The transfer that brought it; `None`: somebody else's, or of a ledger that was lost.
    pub transfer: Option<PayoutTransfer>,
}

/// Some payouts, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutPage {
    /// The payouts.
    pub payouts: Vec<PayoutEntry>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<PayoutCursor>,
}

/// What a transfer cost that brought no payout: it failed, or was the owner's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expense {
    /// The transfer.
    pub id: TransferId,
    /// When it was wanted, Unix time in milliseconds of this machine.
    pub planned_unix_ms: i64,
    /// Hash of its message (TEP-467).
    pub message: Option<[u8; 32]>,
    /// Whether it was for a payout.
    pub is_payout: bool,
    /// What it cost; `None`: not known.
    pub fees: Option<Nanoton>,
}

impl Ledger {
    /// Every network that was ever served, the one that was begun last first.
    pub fn networks(&self) -> Result<Vec<KnownNetwork>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT root_contract, max(coalesce(pays_nothing, 0)) AS pays_nothing, min(started_unix_ms) AS first,
                 max(started_unix_ms) AS last
             FROM session GROUP BY root_contract ORDER BY max(id) DESC",
        )?;
        let rows = query.query_map((), |row| {
            Ok(KnownNetwork {
                root_contract: row::address(row, "root_contract")?,
                pays_nothing: row.get("pays_nothing")?,
                first_unix_ms: row.get("first")?,
                last_unix_ms: row.get("last")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How far what was earned in a network has come; payouts since `since_unix`, in seconds (`None`: all). `chain` has the totals that
    /// worker contracts have paid for, where the chain was just looked at; where it was not, the last look is taken.
    pub fn pipeline(
        &self,
        root_contract: &Address,
        chain: &BTreeMap<Address, u64>,
        since_unix: Option<u32>,
    ) -> Result<Pipeline, LedgerError> {
        // One transaction, so that all of it is of the same moment.
        let reading = self.connection.unchecked_transaction()?;
        let root = address_bytes(root_contract);
        let mut pipeline = Pipeline::default();
        let mut unsigned = reading.prepare_cached("SELECT nanoton FROM unsigned WHERE root_contract = ?")?;
        for row in unsigned.query_map([root], |row| row.get::<_, u64>(0))? {
            pipeline.counted = sum(pipeline.counted, Nanoton(row?))?;
        }
        for contract in signed_contracts(&reading, &root)? {
            let seen = chain.get(&contract.address).copied();
            let cashed = cashed(&reading, &contract.address, seen)?;
            let open = contract.tokens.saturating_sub(cashed);
            let worth = contract.fee.checked_mul(open).ok_or(too_much())?;
            pipeline.signed = sum(pipeline.signed, worth)?;
            // The chain has paid for more than this file saw signed: it is of an old copy, and what it counts last was paid meanwhile.
            let ahead = contract.fee.checked_mul(cashed.saturating_sub(contract.tokens)).ok_or(too_much())?;
            pipeline.counted = pipeline.counted.checked_sub(ahead).unwrap_or_default();
        }
        // A payout that was found on the chain before its transfer has ended is paid, and not on the way any more.
        let mut away = reading.prepare_cached(
            "SELECT expected FROM transfer WHERE root_contract = ? AND stage = 1 AND expected IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM receipt WHERE receipt.transfer = transfer.id AND is_payout)",
        )?;
        for row in away.query_map([root], |row| row.get::<_, u64>(0))? {
            pipeline.on_the_way = sum(pipeline.on_the_way, Nanoton(row?))?;
            pipeline.flights = pipeline.flights.saturating_add(1);
        }
        let since = since_unix.unwrap_or(0);
        let mut paid = reading.prepare_cached(
            "SELECT nanoton, transfer IS NULL FROM receipt WHERE is_payout AND root_contract = ? AND unix >= ?",
        )?;
        for row in paid.query_map((root, since), |row| Ok((row.get::<_, u64>(0)?, row.get::<_, bool>(1)?)))? {
            let (nanoton, is_found) = row?;
            pipeline.paid = sum(pipeline.paid, Nanoton(nanoton))?;
            pipeline.payouts = pipeline.payouts.saturating_add(1);
            // What was found on the chain has cost something too, and this file does not know what.
            pipeline.unknown_fees = pipeline.unknown_fees.saturating_add(is_found.into());
        }
        // Whatever did not land costs nothing.
        let mut fees = reading.prepare_cached(
            "SELECT fees FROM transfer WHERE root_contract = ? AND stage = 2 AND planned_unix_ms >= ? AND outcome <= 1
             AND worker_contract IS NOT NULL",
        )?;
        for row in fees.query_map((root, i64::from(since) * 1_000), |row| row.get::<_, Option<u64>>(0))? {
            match row? {
                Some(fee) => pipeline.fees = sum(pipeline.fees, Nanoton(fee))?,
                None => pipeline.unknown_fees = pipeline.unknown_fees.saturating_add(1),
            }
        }
        Ok(pipeline)
    }

    /// What was earned between each edge and the next. Edges are Unix time in milliseconds, rising, each the beginning of a quarter of
    /// an hour.
    pub fn earned(&self, root_contract: &Address, edges: &[i64]) -> Result<Vec<Earned>, LedgerError> {
        let rising = edges.windows(2).all(|pair| matches!(pair, [one, next] if one < next));
        if !rising || edges.len() > MAX_BARS || edges.iter().any(|edge| edge.rem_euclid(QUARTER_MS) != 0) {
            return Err(LedgerError::OutOfRange { what: "the time of a bar" });
        }
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return Ok(Vec::new()) };
        let mut bars = vec![Earned::default(); edges.len() - 1];
        let reading = self.connection.unchecked_transaction()?;
        let root = address_bytes(root_contract);
        let mut quarters = reading.prepare_cached(
            "SELECT at, tokens, signed, fee_nanoton, answered FROM quarter JOIN session ON session.id = quarter.session
             WHERE at >= ? AND at < ? AND root_contract = ?",
        )?;
        let range = (first.div_euclid(QUARTER_MS), last.div_euclid(QUARTER_MS), root);
        let rows = quarters.query_map(range, |row| {
            let worth: (u64, u64, u64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((row.get::<_, i64>(0)?, worth, row.get::<_, u64>(4)?))
        })?;
        for row in rows {
            let (at, (tokens, signed, fee), answered) = row?;
            let Some(bar) = bar_of(&mut bars, edges, at.saturating_mul(QUARTER_MS)) else { continue };
            bar.answered = bar.answered.saturating_add(answered);
            bar.counted = sum(bar.counted, Nanoton(fee).checked_mul(tokens).ok_or(too_much())?)?;
            bar.signed = sum(bar.signed, Nanoton(signed))?;
        }
        let mut paid = reading.prepare_cached(
            "SELECT unix, nanoton FROM receipt WHERE is_payout AND root_contract = ? AND unix >= ? AND unix < ?",
        )?;
        let range = (root, first.div_euclid(1_000), last.div_euclid(1_000));
        let rows = paid.query_map(range, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))?;
        for row in rows {
            let (unix, nanoton) = row?;
            let Some(bar) = bar_of(&mut bars, edges, unix.saturating_mul(1_000)) else { continue };
            bar.paid = sum(bar.paid, Nanoton(nanoton))?;
        }
        Ok(bars)
    }

    /// From when to when something was earned or paid in a network, Unix time in milliseconds; the second is behind the last of it.
    pub fn earned_span(&self, root_contract: &Address) -> Result<Option<(i64, i64)>, LedgerError> {
        let root = address_bytes(root_contract);
        let reading = self.connection.unchecked_transaction()?;
        let end = |order: &str| {
            let sql = format!(
                "SELECT at FROM quarter JOIN session ON session.id = quarter.session WHERE root_contract = ?
                 ORDER BY at {order} LIMIT 1"
            );
            reading.query_row(&sql, [root], |row| row.get::<_, i64>(0)).optional()
        };
        let earned = end("ASC")?.zip(end("DESC")?);
        let earned = earned
            .map(|(first, last)| (first.saturating_mul(QUARTER_MS), last.saturating_add(1).saturating_mul(QUARTER_MS)));
        let paid: (Option<i64>, Option<i64>) = reading.query_row(
            "SELECT min(unix), max(unix) FROM receipt WHERE is_payout AND root_contract = ?",
            [root],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let paid = paid.0.zip(paid.1);
        let paid =
            paid.map(|(first, last)| (first.saturating_mul(1_000), last.saturating_add(1).saturating_mul(1_000)));
        Ok([earned, paid].into_iter().flatten().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))))
    }

    /// Payouts in a network from the newest to the oldest by the chain's time; `before` is where the page before ended. At most 1,000
    /// at once.
    pub fn payouts(
        &self,
        root_contract: &Address,
        before: Option<PayoutCursor>,
        limit: u32,
    ) -> Result<PayoutPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = self.connection.prepare_cached(
            "SELECT receipt.*, transfer.worker_contract, from_tokens, to_tokens, fees, message_hash
             FROM receipt LEFT JOIN transfer ON transfer.id = receipt.transfer
             WHERE is_payout AND receipt.root_contract = ? AND (lt, seq) < (?, ?)
             ORDER BY lt DESC, seq DESC LIMIT ?",
        )?;
        let before = before.unwrap_or(PayoutCursor { lt: i64::MAX, seq: i64::MAX });
        let rows = query.query_map((address_bytes(root_contract), before.lt, before.seq, limit + 1), payout)?;
        let mut payouts: Vec<PayoutEntry> = rows.collect::<Result<_, _>>()?;
        let more = payouts.len() > limit as usize;
        payouts.truncate(limit as usize);
        let next = payouts.last().filter(|_| more).map(|last| last.cursor);
        Ok(PayoutPage { payouts, next })
    }

    /// One payout of a network, by its transaction.
    pub fn payout(
        &self,
        root_contract: &Address,
        lt: u64,
        hash: &[u8; 32],
    ) -> Result<Option<PayoutEntry>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT receipt.*, transfer.worker_contract, from_tokens, to_tokens, fees, message_hash
             FROM receipt LEFT JOIN transfer ON transfer.id = receipt.transfer
             WHERE is_payout AND receipt.root_contract = ? AND lt = ? AND hash = ?",
        )?;
        let parameters = (address_bytes(root_contract), whole(lt, "a logical time")?, hash);
        Ok(query.query_row(parameters, payout).optional()?)
    }

    /// How many tokens jobs of this file were charged with that a proxy had been served until it signed this running total for a worker
    /// contract, under the same terms; `None`: the signature is not here.
    pub fn counted_until(&self, worker_contract: &Address, tokens: u64) -> Result<Option<u64>, LedgerError> {
        let found = self.connection.query_row(
            "SELECT (SELECT coalesce(sum(max(adjusted_total, 0)), 0) FROM job JOIN session AS own ON own.id = job.session
                     WHERE job.proxy_key = payment.proxy_key AND own.root_contract = session.root_contract
                         AND own.params_version = session.params_version AND finished_unix_ms <= received_unix_ms)
             FROM payment JOIN session ON session.id = payment.session WHERE worker_contract = ? AND tokens = ?",
            (address_bytes(worker_contract), whole(tokens, "a running total")?),
            |row| row.get(0),
        );
        Ok(found.optional()?)
    }

    /// What landed in a network without bringing a payout and so stands in no list of payouts: transfers that failed, and the owner's.
    pub fn expenses(&self, root_contract: &Address) -> Result<Vec<Expense>, LedgerError> {
        let mut query = self.connection.prepare_cached(
            "SELECT id, planned_unix_ms, message_hash, worker_contract IS NOT NULL AS is_payout, fees FROM transfer
             WHERE root_contract = ? AND stage = 2 AND outcome <= 1
             AND NOT EXISTS (SELECT 1 FROM receipt WHERE receipt.transfer = transfer.id AND is_payout) ORDER BY id",
        )?;
        let rows = query.query_map([address_bytes(root_contract)], |row| {
            Ok(Expense {
                id: TransferId(row.get("id")?),
                planned_unix_ms: row.get("planned_unix_ms")?,
                message: row.get("message_hash")?,
                is_payout: row.get("is_payout")?,
                fees: row.get::<_, Option<u64>>("fees")?.map(Nanoton),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A worker contract, and the highest running total that is signed for it.
struct SignedContract {
    address: Address,
    tokens: u64,
    fee: Nanoton,
}

/// The index is leapt through from contract to contract: there may be very many payments.
fn signed_contracts(reading: &Connection, root: &[u8; 33]) -> Result<Vec<SignedContract>, LedgerError> {
    let mut query = reading.prepare_cached(
        "WITH RECURSIVE contract (address) AS (
             SELECT min(worker_contract) FROM payment
             UNION ALL
             SELECT (SELECT min(worker_contract) FROM payment WHERE worker_contract > address) FROM contract
             WHERE address IS NOT NULL)
         SELECT best.worker_contract, best.tokens, fee_nanoton FROM contract
         JOIN payment AS best ON best.worker_contract = address
             AND best.tokens = (SELECT max(tokens) FROM payment WHERE worker_contract = address)
         JOIN session ON session.id = best.session
         WHERE root_contract = ?",
    )?;
    let rows = query.query_map([root], |row| {
        Ok(SignedContract {
            address: row::address(row, "worker_contract")?,
            tokens: row.get("tokens")?,
            fee: Nanoton(row.get("fee_nanoton")?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How much of a contract's running total is cashed or on the way, by whoever knows most of it. What the contract itself says may fall
/// again: a payout that the proxy's contract could not pay is due once more.
fn cashed(reading: &Connection, contract: &Address, seen: Option<u64>) -> Result<u64, LedgerError> {
    let address = address_bytes(contract);
    let looked: Option<u64> = match seen {
        Some(seen) => Some(seen),
        None => reading
            .query_row("SELECT tokens FROM cashed WHERE worker_contract = ?", [address], |row| row.get(0))
            .optional()?,
    };
    let done: Option<u64> = reading.query_row(
        "SELECT max(to_tokens) FROM transfer WHERE worker_contract = ? AND outcome = 0",
        [address],
        |row| row.get(0),
    )?;
    // It did not go as it should have, and the owner was paid all the same; or it is out.
    let other: Option<u64> = reading.query_row(
        "SELECT max(to_tokens) FROM transfer WHERE worker_contract = ? AND (outcome = 1
             AND EXISTS (SELECT 1 FROM receipt WHERE receipt.transfer = transfer.id AND is_payout)
             OR outcome IS NULL AND stage = 1)",
        [address],
        |row| row.get(0),
    )?;
    Ok([looked, done, other].into_iter().flatten().max().unwrap_or(0))
}

fn payout(row: &rusqlite::Row<'_>) -> rusqlite::Result<PayoutEntry> {
    let id: Option<u64> = row.get("transfer")?;
    let to_tokens: Option<u64> = row.get("to_tokens")?;
    let transfer = match (id, to_tokens) {
        (Some(id), Some(to_tokens)) => Some(PayoutTransfer {
            id: TransferId(id),
            worker_contract: row::address(row, "worker_contract")?,
            from_tokens: row.get("from_tokens")?,
            to_tokens,
            fees: row.get::<_, Option<u64>>("fees")?.map(Nanoton),
            message: row.get("message_hash")?,
        }),
        _ => None,
    };
    let cursor = PayoutCursor { lt: row.get("lt")?, seq: row.get("seq")? };
    Ok(PayoutEntry { cursor, receipt: receipt(row)?, transfer })
}

fn bar_of<'a>(bars: &'a mut [Earned], edges: &[i64], at: i64) -> Option<&'a mut Earned> {
    bars.get_mut(edges.partition_point(|edge| *edge <= at).checked_sub(1)?)
}

fn sum(one: Nanoton, other: Nanoton) -> Result<Nanoton, LedgerError> {
    one.checked_add(other).ok_or(too_much())
}

const fn too_much() -> LedgerError {
    LedgerError::OutOfRange { what: "a sum of money" }
}

/// What SQLite's integers hold of an amount.
pub(crate) fn capped(amount: Nanoton) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}

/// What happened in a quarter of an hour.
pub(crate) struct Quarter {
    /// Jobs that ended with an answer.
    pub(crate) answered: i64,
    /// What jobs were charged with.
    pub(crate) tokens: i64,
    /// By how many nanotons signed running totals rose.
    pub(crate) signed: i64,
}

/// Adds to what was earned in the quarter of an hour of that time, which stops at what can be held.
pub(crate) fn add_to_quarter(
    writing: &Connection,
    session: SessionId,
    unix_ms: i64,
    what: &Quarter,
) -> Result<(), LedgerError> {
    if (what.answered, what.tokens, what.signed) == (0, 0, 0) {
        return Ok(());
    }
    // Too large a sum is no integer any more; the lesser of both is.
    writing
        .prepare_cached(
            "INSERT INTO quarter (at, session, answered, tokens, signed) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (at, session) DO UPDATE SET
                 answered = answered + excluded.answered,
                 tokens = min(tokens + excluded.tokens, 9223372036854775807),
                 signed = min(signed + excluded.signed, 9223372036854775807)",
        )?
        .execute((unix_ms.div_euclid(QUARTER_MS), session.0, what.answered, what.tokens, what.signed))?;
    Ok(())
}

/// Adds to what a proxy has not signed, or takes off what it did, never below nothing.
pub(crate) fn add_unsigned(
    writing: &Connection,
    session: SessionId,
    proxy_key: &[u8; 32],
    change: i64,
) -> Result<(), LedgerError> {
    if change == 0 {
        return Ok(());
    }
    writing
        .prepare_cached(
            "INSERT INTO unsigned (root_contract, proxy_key, nanoton)
             SELECT root_contract, ?2, max(?3, 0) FROM session WHERE id = ?1
             ON CONFLICT (root_contract, proxy_key) DO UPDATE SET
                 nanoton = min(max(nanoton + ?3, 0), 9223372036854775807)",
        )?
        .execute((session.0, proxy_key, change))?;
    Ok(())
}
