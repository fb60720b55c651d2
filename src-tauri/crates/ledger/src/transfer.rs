//! Money on its way, and money that came in.

use accounting::{Errand, Forecast, Outcome, Outgoing, Receipt, SignedMessage, Stage, Transfer, TransferId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, named_params};
use ton::cocoon::WorkerData;
use ton::{Address, Nanoton};

use crate::row::{address, address_bytes, address_if_any};
use crate::write::whole;
use crate::{Ledger, LedgerError, Recorded};

/// Most rows of one page.
const MAX_PAGE: u32 = 1_000;
/// Most characters of a reason.
const MAX_WHY: usize = 400;
/// Most bytes of a bag of cells.
const MAX_BOC: usize = 65_536;

/// Where a page of transfers or receipts ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MoneyCursor(i64);

impl MoneyCursor {
    /// Its number, for a page that must hold it as text.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The cursor of such a number. Any number is one; a foreign one leads to another page, never to harm.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// Some transfers, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferPage {
    /// The transfers.
    pub transfers: Vec<Transfer>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<MoneyCursor>,
}

/// Money that came in, and by which transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// What the chain has.
    pub receipt: Receipt,
    /// The transfer that brought it; `None`: somebody else's, or of a ledger that was lost.
    pub transfer: Option<TransferId>,
}

/// Some receipts, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPage {
    /// The receipts.
    pub receipts: Vec<ReceiptEntry>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<MoneyCursor>,
}

/// What came in and what it cost, over a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paid {
    /// How often a contract paid.
    pub payouts: u64,
    /// What contracts paid to the owner.
    pub income: Nanoton,
    /// What transfers of this machine cost, as far as it is known.
    pub fees: Nanoton,
}

impl Ledger {
    /// Writes a transfer down as it is now, with the receipts it ends with. A row that has ended does not change any more; a signed one
    /// keeps the bytes it has. The same again is known.
    pub fn record_transfer(&mut self, root_contract: &Address, transfer: &Transfer) -> Result<Recorded, LedgerError> {
        let Columns { outgoing, payout, forecast, signed, stage, outcome } = Columns::of(transfer)?;
        let id = whole(transfer.id.0, "a transfer's number")?;
        let root = address_bytes(root_contract);
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = one(&writing, id)?;
        if let Some(before) = &before {
            match step(&before.stage, &transfer.stage) {
                Step::On => {}
                Step::Same => return Ok(Recorded::Known),
                Step::Back => return Err(LedgerError::TransferGoesBack { id: transfer.id.0 }),
            }
        }
        // The bytes stay in the row of an ended transfer: a receipt can be checked against them.
        writing.execute(
            "INSERT INTO transfer (id, root_contract, planned_unix_ms, payer, recipient, nanoton, everything, bounce, body, state_init,
                 worker_contract, proxy_contract, owner, from_tokens, to_tokens, expected,
                 forecast_fees, forecast_income, forecast_balance,
                 stage, message, message_hash, seqno, valid_until, outcome, why, fees)
             VALUES (:id, :root, :planned, :payer, :recipient, :nanoton, :everything, :bounce, :body, :state_init,
                 :worker, :proxy, :owner, :from_tokens, :to_tokens, :expected,
                 :forecast_fees, :forecast_income, :forecast_balance,
                 :stage, :message, :message_hash, :seqno, :valid_until, :outcome, :why, :fees)
             ON CONFLICT (id) DO UPDATE SET
                 forecast_fees = excluded.forecast_fees, forecast_income = excluded.forecast_income,
                 forecast_balance = excluded.forecast_balance, stage = excluded.stage,
                 owner = coalesce(owner, excluded.owner),
                 message = coalesce(message, excluded.message), message_hash = coalesce(message_hash, excluded.message_hash),
                 seqno = coalesce(seqno, excluded.seqno), valid_until = coalesce(valid_until, excluded.valid_until),
                 outcome = excluded.outcome, why = excluded.why, fees = excluded.fees",
            named_params! {
                ":id": id,
                ":root": root,
                ":planned": transfer.planned_unix_ms,
                ":payer": address_bytes(&transfer.payer),
                ":recipient": address_bytes(&outgoing.to),
                ":nanoton": whole(outgoing.value.0, "an amount")?,
                ":everything": outgoing.everything,
                ":bounce": outgoing.bounce,
                ":body": outgoing.body,
                ":state_init": outgoing.state_init,
                ":worker": payout.map(|payout| payout.worker),
                ":proxy": payout.map(|payout| payout.proxy),
                ":owner": payout.and_then(|payout| payout.owner),
                ":from_tokens": payout.map(|payout| payout.from),
                ":to_tokens": payout.map(|payout| payout.to),
                ":expected": payout.map(|payout| payout.expected),
                ":forecast_fees": forecast.map(|forecast| forecast.0),
                ":forecast_income": forecast.map(|forecast| forecast.1),
                ":forecast_balance": forecast.map(|forecast| forecast.2),
                ":stage": stage,
                ":message": signed.map(|message| &message.boc),
                ":message_hash": signed.map(|message| message.hash),
                ":seqno": signed.map(|message| message.seqno),
                ":valid_until": signed.map(|message| message.valid_until),
                ":outcome": outcome.as_ref().map(|outcome| outcome.code),
                ":why": outcome.as_ref().and_then(|outcome| outcome.why.as_deref()),
                ":fees": outcome.as_ref().and_then(|outcome| outcome.fees),
            },
        )?;
        for receipt in outcome.iter().flat_map(|outcome| outcome.receipts) {
            insert_receipt(&writing, &root, receipt, Some(id))?;
        }
        writing.commit()?;
        Ok(Recorded::New)
    }

    /// Writes down money that was found on the owner's account. One that is known stays as it is.
    pub fn record_receipt(&mut self, root_contract: &Address, receipt: &Receipt) -> Result<Recorded, LedgerError> {
        insert_receipt(&self.connection, &address_bytes(root_contract), receipt, None)
    }

    /// Transfers of a network that have not ended, in the order of their numbers.
    pub fn open_transfers(&self, root_contract: &Address) -> Result<Vec<Transfer>, LedgerError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT * FROM transfer WHERE root_contract = ? AND stage < 2 ORDER BY id")?;
        let rows = query.query_map([address_bytes(root_contract)], read)?;
        let mut open: Vec<Transfer> = rows.collect::<Result<_, _>>()?;
        for transfer in &mut open {
            fill_owner(&self.connection, transfer)?;
        }
        Ok(open)
    }

    /// The highest number a transfer ever had.
    pub fn last_transfer(&self) -> Result<Option<TransferId>, LedgerError> {
        let id: Option<u64> = self.connection.query_row("SELECT max(id) FROM transfer", (), |row| row.get(0))?;
        Ok(id.map(TransferId))
    }

    /// One transfer.
    pub fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, LedgerError> {
        one(&self.connection, whole(id.0, "a transfer's number")?)
    }

    /// Transfers of a network from the newest to the oldest; `before` is where the page before ended. At most 1,000 at once.
    pub fn transfers(
        &self,
        root_contract: &Address,
        before: Option<MoneyCursor>,
        limit: u32,
    ) -> Result<TransferPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = self
            .connection
            .prepare_cached("SELECT * FROM transfer WHERE root_contract = ? AND id < ? ORDER BY id DESC LIMIT ?")?;
        let before = before.map_or(i64::MAX, MoneyCursor::number);
        let rows = query.query_map((address_bytes(root_contract), before, limit + 1), read)?;
        let mut transfers: Vec<Transfer> = rows.collect::<Result<_, _>>()?;
        let more = transfers.len() > limit as usize;
        transfers.truncate(limit as usize);
        for transfer in &mut transfers {
            fill_receipts(&self.connection, transfer)?;
            fill_owner(&self.connection, transfer)?;
        }
        let last = transfers.last().filter(|_| more).map(|last| whole(last.id.0, "a transfer's number"));
        Ok(TransferPage { transfers, next: last.transpose()?.map(MoneyCursor) })
    }

    /// Money that came to an owner from the newest to the oldest. At most 1,000 at once.
    pub fn receipts(
        &self,
        owner: &Address,
        before: Option<MoneyCursor>,
        limit: u32,
    ) -> Result<ReceiptPage, LedgerError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut query = self
            .connection
            .prepare_cached("SELECT * FROM receipt WHERE owner = ? AND seq < ? ORDER BY seq DESC LIMIT ?")?;
        let before = before.map_or(i64::MAX, MoneyCursor::number);
        let rows = query.query_map((address_bytes(owner), before, limit + 1), |row| {
            let transfer: Option<u64> = row.get("transfer")?;
            let entry = ReceiptEntry { receipt: receipt(row)?, transfer: transfer.map(TransferId) };
            Ok((MoneyCursor(row.get("seq")?), entry))
        })?;
        let mut rows: Vec<(MoneyCursor, ReceiptEntry)> = rows.collect::<Result<_, _>>()?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|(cursor, _)| *cursor);
        Ok(ReceiptPage { receipts: rows.into_iter().map(|(_, entry)| entry).collect(), next })
    }

    /// Sums over payouts to an owner on a network, of a time: from `since_unix` on, seconds; `None`: all.
    pub fn paid(&self, root_contract: &Address, owner: &Address, since_unix: Option<u32>) -> Result<Paid, LedgerError> {
        let reading = self.connection.unchecked_transaction()?;
        let root = address_bytes(root_contract);
        let (payouts, income) = reading.query_row(
            "SELECT count(*), coalesce(sum(nanoton), 0) FROM receipt
             WHERE root_contract = ? AND owner = ? AND is_payout AND unix >= ?",
            (root, address_bytes(owner), since_unix.unwrap_or(0)),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let since_unix_ms = i64::from(since_unix.unwrap_or(0)) * 1_000;
        let fees = reading.query_row(
            "SELECT coalesce(sum(fees), 0) FROM transfer WHERE root_contract = ? AND planned_unix_ms >= ?",
            (root, since_unix_ms),
            |row| row.get(0),
        )?;
        Ok(Paid { payouts, income: Nanoton(income), fees: Nanoton(fees) })
    }
}

/// A transfer's columns, one group each.
struct Columns<'a> {
    outgoing: &'a Outgoing,
    payout: Option<PayoutColumns>,
    forecast: Option<(i64, i64, i64)>,
    signed: Option<&'a SignedMessage>,
    stage: i64,
    outcome: Option<OutcomeColumns<'a>>,
}

#[derive(Clone, Copy)]
struct PayoutColumns {
    worker: [u8; 33],
    proxy: [u8; 33],
    owner: Option<[u8; 33]>,
    from: i64,
    to: i64,
    expected: i64,
}

struct OutcomeColumns<'a> {
    code: i64,
    why: Option<String>,
    fees: Option<i64>,
    receipts: &'a [Receipt],
}

impl<'a> Columns<'a> {
    fn of(transfer: &'a Transfer) -> Result<Self, LedgerError> {
        let Transfer { errand, outgoing, forecast, stage, .. } = transfer;
        let payout = match errand {
            Errand::Send => None,
            Errand::Payout { worker_contract, proxy_contract, owner, from_tokens, to_tokens, expected } => {
                Some(PayoutColumns {
                    worker: address_bytes(worker_contract),
                    proxy: address_bytes(proxy_contract),
                    owner: owner.as_ref().map(address_bytes),
                    from: whole(*from_tokens, "a running total")?,
                    to: whole(*to_tokens, "a running total")?,
                    expected: whole(expected.0, "an amount")?,
                })
            }
        };
        let amount = |nanoton: Nanoton| whole(nanoton.0, "an amount");
        let forecast = match forecast {
            None => None,
            Some(Forecast { fees, income, balance_after, .. }) => {
                Some((amount(*fees)?, amount(*income)?, amount(*balance_after)?))
            }
        };
        let (stage, signed, outcome) = match stage {
            Stage::Planned => (0, None, None),
            Stage::Signed(message) => (1, Some(message), None),
            Stage::Ended(outcome) => (2, None, Some(OutcomeColumns::of(outcome)?)),
        };
        let bags = [outgoing.body.as_ref(), outgoing.state_init.as_ref(), signed.map(|message| &message.boc)];
        if bags.into_iter().flatten().any(|bag| !(1..=MAX_BOC).contains(&bag.len())) {
            return Err(LedgerError::OutOfRange { what: "a bag of cells" });
        }
        Ok(Self { outgoing, payout, forecast, signed, stage, outcome })
    }
}

impl<'a> OutcomeColumns<'a> {
    fn of(outcome: &'a Outcome) -> Result<Self, LedgerError> {
        let whole_fees = |fees: &Option<Nanoton>| fees.map(|fees| whole(fees.0, "a fee")).transpose();
        let cut = |why: &str| Some(why.chars().take(MAX_WHY).collect());
        Ok(match outcome {
            Outcome::Done { receipts, fees } => Self { code: 0, why: None, fees: whole_fees(fees)?, receipts },
            Outcome::Failed { why, receipts, fees } => {
                Self { code: 1, why: cut(why), fees: whole_fees(fees)?, receipts }
            }
            Outcome::Expired => Self { code: 2, why: None, fees: None, receipts: &[] },
            Outcome::Overtaken => Self { code: 3, why: None, fees: None, receipts: &[] },
            Outcome::NotBegun { why } => Self { code: 4, why: cut(why), fees: None, receipts: &[] },
        })
    }
}

enum Step {
    On,
    Same,
    Back,
}

/// Planned, signed, ended: never back, and what is signed stays as it is.
fn step(before: &Stage, now: &Stage) -> Step {
    match (before, now) {
        (Stage::Planned, Stage::Planned) => Step::Same,
        (Stage::Planned, _) | (Stage::Signed(_), Stage::Ended(_)) => Step::On,
        (Stage::Signed(before), Stage::Signed(now)) if before == now => Step::Same,
        (Stage::Ended(before), Stage::Ended(now)) if std::mem::discriminant(before) == std::mem::discriminant(now) => {
            Step::Same
        }
        (Stage::Signed(_) | Stage::Ended(_), _) => Step::Back,
    }
}

pub(crate) fn insert_receipt(
    connection: &Connection,
    root: &[u8; 33],
    receipt: &Receipt,
    transfer: Option<i64>,
) -> Result<Recorded, LedgerError> {
    // Found on the account before the transfer was over: the transfer is noted then.
    let written = connection.execute(
        "INSERT INTO receipt (root_contract, owner, sender, nanoton, is_payout, lt, hash, unix, transfer)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (owner, lt, hash) DO UPDATE SET transfer = excluded.transfer
         WHERE transfer IS NULL AND excluded.transfer IS NOT NULL",
        (
            root,
            address_bytes(&receipt.to),
            address_bytes(&receipt.from),
            whole(receipt.value.0, "an amount")?,
            receipt.is_payout,
            whole(receipt.lt, "a logical time")?,
            receipt.hash,
            receipt.unix,
            transfer,
        ),
    )?;
    Ok(if written == 0 { Recorded::Known } else { Recorded::New })
}

fn one(connection: &Connection, id: i64) -> Result<Option<Transfer>, LedgerError> {
    let mut query = connection.prepare_cached("SELECT * FROM transfer WHERE id = ?")?;
    let Some(mut transfer) = query.query_row([id], read).optional()? else { return Ok(None) };
    fill_receipts(connection, &mut transfer)?;
    fill_owner(connection, &mut transfer)?;
    Ok(Some(transfer))
}

/// Whom a payout pays, where the row does not say: whom the worker contract's first state names, which went along with the payout or
/// stands beside the contract. Neither may be there, and then it stays unknown.
fn fill_owner(connection: &Connection, transfer: &mut Transfer) -> Result<(), LedgerError> {
    let Transfer { errand: Errand::Payout { worker_contract, owner: owner @ None, .. }, outgoing, .. } = transfer
    else {
        return Ok(());
    };
    let beside = || {
        let mut query = connection.prepare_cached("SELECT state_init FROM contract WHERE worker_contract = ?")?;
        query.query_row([address_bytes(worker_contract)], |row| row.get::<_, Option<Vec<u8>>>(0)).optional()
    };
    let state = match &outgoing.state_init {
        Some(along) => Some(along.clone()),
        None => beside()?.flatten(),
    };
    *owner = state.and_then(|state| WorkerData::owner_of(&state, worker_contract));
    Ok(())
}

/// What came in by it stands in a table of its own.
fn fill_receipts(connection: &Connection, transfer: &mut Transfer) -> Result<(), LedgerError> {
    let id = whole(transfer.id.0, "a transfer's number")?;
    if let Stage::Ended(Outcome::Done { receipts, .. } | Outcome::Failed { receipts, .. }) = &mut transfer.stage {
        let mut query = connection.prepare_cached("SELECT * FROM receipt WHERE transfer = ? ORDER BY seq")?;
        *receipts = query.query_map([id], receipt)?.collect::<Result<_, _>>()?;
    }
    Ok(())
}

pub(crate) fn receipt(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        from: address(row, "sender")?,
        to: address(row, "owner")?,
        value: Nanoton(row.get("nanoton")?),
        is_payout: row.get("is_payout")?,
        lt: row.get("lt")?,
        hash: row.get("hash")?,
        unix: row.get("unix")?,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Transfer> {
    let to_tokens: Option<u64> = row.get("to_tokens")?;
    let errand = match to_tokens {
        None => Errand::Send,
        Some(to_tokens) => Errand::Payout {
            worker_contract: address(row, "worker_contract")?,
            proxy_contract: address(row, "proxy_contract")?,
            owner: address_if_any(row, "owner")?,
            from_tokens: row.get("from_tokens")?,
            to_tokens,
            expected: Nanoton(row.get("expected")?),
        },
    };
    let forecast_fees: Option<u64> = row.get("forecast_fees")?;
    let forecast = match forecast_fees {
        None => None,
        Some(fees) => Some(Forecast {
            failure: None,
            fees: Nanoton(fees),
            income: Nanoton(row.get("forecast_income")?),
            balance_after: Nanoton(row.get("forecast_balance")?),
        }),
    };
    Ok(Transfer {
        id: TransferId(row.get("id")?),
        payer: address(row, "payer")?,
        errand,
        outgoing: Outgoing {
            to: address(row, "recipient")?,
            value: Nanoton(row.get("nanoton")?),
            everything: row.get("everything")?,
            bounce: row.get("bounce")?,
            body: row.get("body")?,
            state_init: row.get("state_init")?,
        },
        forecast,
        stage: stage(row)?,
        planned_unix_ms: row.get("planned_unix_ms")?,
    })
}

fn stage(row: &Row<'_>) -> rusqlite::Result<Stage> {
    let why = || row.get::<_, Option<String>>("why").map(Option::unwrap_or_default);
    let fees = || Ok::<_, rusqlite::Error>(row.get::<_, Option<u64>>("fees")?.map(Nanoton));
    let outcome = match (row.get::<_, i64>("stage")?, row.get::<_, Option<i64>>("outcome")?) {
        (0, None) => return Ok(Stage::Planned),
        (1, None) => {
            return Ok(Stage::Signed(SignedMessage {
                boc: row.get("message")?,
                hash: row.get("message_hash")?,
                seqno: row.get("seqno")?,
                valid_until: row.get("valid_until")?,
            }));
        }
        (2, Some(0)) => Outcome::Done { receipts: Vec::new(), fees: fees()? },
        (2, Some(1)) => Outcome::Failed { why: why()?, receipts: Vec::new(), fees: fees()? },
        (2, Some(2)) => Outcome::Expired,
        (2, Some(3)) => Outcome::Overtaken,
        (2, Some(4)) => Outcome::NotBegun { why: why()? },
        (stage, outcome) => {
            let index = row.as_ref().column_index("stage").unwrap_or(0);
            let words = format!("stage {stage} with outcome {outcome:?}");
            return Err(rusqlite::Error::FromSqlConversionFailure(index, Type::Integer, words.into()));
        }
    };
    Ok(Stage::Ended(outcome))
}
