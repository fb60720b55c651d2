//! Reads what an endpoint answers. Nothing is believed that can be recomputed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use ton::{Address, Cell, Nanoton};

use super::policy::Failure;
use crate::account::{AccountState, AccountStatus, TransactionId};
use crate::transaction::Transaction;
use crate::{ChainConfig, cells};

/// Longest part of an endpoint's words that is passed on.
const MOST_WORDS: usize = 300;

/// The result in an answer, or why there is none.
pub fn envelope(status: u16, body: &[u8]) -> Result<Value, Failure> {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let words = || {
        let text = parsed.as_ref().and_then(|parsed| parsed.get("error").or_else(|| parsed.get("result")));
        let text = text.and_then(Value::as_str).unwrap_or("no reason given");
        let plain: String = text.chars().filter(|letter| !letter.is_control()).take(MOST_WORDS).collect();
        format!("{status}: {plain}")
    };
    let says_no = parsed.as_ref().and_then(|parsed| parsed.get("ok")) == Some(&Value::Bool(false));
    match status {
        429 => Err(Failure::Busy(None)),
        400 | 401 | 403 | 404 | 405 | 409 | 413 | 422 => Err(Failure::Denied(words())),
        // Its own machinery says no; a gateway in front of it (502, 504) only that it has heard nothing.
        500 | 503 if says_no => Err(Failure::Refused(words())),
        200 => match parsed {
            Some(Value::Object(mut fields)) if fields.get("ok") == Some(&Value::Bool(true)) => {
                fields.remove("result").ok_or_else(|| Failure::Nonsense("an answer without a result".to_owned()))
            }
            Some(_) if says_no => Err(Failure::Refused(words())),
            Some(_) | None => Err(Failure::Nonsense("an answer that is no JSON of toncenter's".to_owned())),
        },
        _ => Err(Failure::NoAnswer(format!("status {status}"))),
    }
}

fn nonsense(what: &str) -> Failure {
    Failure::Nonsense(what.to_owned())
}

/// A number that may come as text.
fn number(value: &Value, name: &str) -> Result<u64, Failure> {
    let field = value.get(name);
    let read = match field {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| nonsense(&format!("no number in {name}")))
}

fn narrow(value: &Value, name: &str) -> Result<u32, Failure> {
    u32::try_from(number(value, name)?).map_err(|_| nonsense(&format!("{name} is out of range")))
}

fn bytes(value: &Value, name: &str) -> Result<Vec<u8>, Failure> {
    let text = value.get(name).and_then(Value::as_str).ok_or_else(|| nonsense(&format!("no text in {name}")))?;
    if text.len() > cells::MAX_BYTES * 2 {
        return Err(nonsense(&format!("{name} is too large")));
    }
    STANDARD.decode(text).map_err(|_| nonsense(&format!("{name} is no base64")))
}

fn hash(value: &Value, name: &str) -> Result<[u8; 32], Failure> {
    bytes(value, name)?.try_into().map_err(|_| nonsense(&format!("{name} is no hash")))
}

fn cell(value: &Value, name: &str) -> Result<Option<Cell>, Failure> {
    let bytes = bytes(value, name)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let wrong = |error: cells::CellsError| Failure::Nonsense(format!("{name}: {error}"));
    cells::from_tycho(&cells::decode(&bytes).map_err(wrong)?).map(Some).map_err(wrong)
}

/// Number of the newest masterchain block, from `getMasterchainInfo`.
pub fn newest_block(value: &Value) -> Result<u32, Failure> {
    narrow(value.get("last").ok_or_else(|| nonsense("no last block"))?, "seqno")
}

/// When a block was made, from `getBlockHeader`.
pub fn block_time(value: &Value) -> Result<u32, Failure> {
    narrow(value, "gen_utime")
}

/// An account, from `getAddressInformation`.
pub fn account(value: &Value, address: Address) -> Result<AccountState, Failure> {
    // Lite-servers say -1 of an account that never was.
    let never = value.get("balance").is_some_and(|balance| balance == &Value::from(-1) || balance == "-1");
    let balance = if never { Nanoton(0) } else { Nanoton(number(value, "balance")?) };
    let status = match value.get("state").and_then(Value::as_str) {
        Some("uninitialized") => AccountStatus::Uninitialised,
        Some("active") => AccountStatus::Active,
        Some("frozen") => AccountStatus::Frozen,
        _ => return Err(nonsense("no known state")),
    };
    let last = value.get("last_transaction_id").ok_or_else(|| nonsense("no last transaction"))?;
    let last = match number(last, "lt")? {
        0 => None,
        lt => Some(TransactionId { lt, hash: hash(last, "hash")? }),
    };
    let (code, data) = (cell(value, "code")?, cell(value, "data")?);
    let frozen = match status {
        AccountStatus::Frozen => Some(hash(value, "frozen_hash")?),
        AccountStatus::Uninitialised | AccountStatus::Active => None,
    };
    if status == AccountStatus::Active && (code.is_none() || last.is_none()) {
        return Err(nonsense("a contract without code, or that never had a transaction"));
    }
    if last.is_none() && balance != Nanoton(0) {
        return Err(nonsense("money that never came"));
    }
    Ok(AccountState { address, balance, status, code, data, frozen, last, seen_at: narrow(value, "sync_utime")? })
}

/// Transactions of an account, from `getTransactions`: one behind the other from `from` on, each with the hash that the one before it
/// names. What comes twice is taken once.
pub fn transactions(
    value: &Value,
    address: Address,
    from: TransactionId,
    limit: usize,
) -> Result<Vec<Transaction>, Failure> {
    let items = value.as_array().ok_or_else(|| nonsense("no list of transactions"))?;
    let mut found: Vec<Transaction> = Vec::new();
    let mut wanted = Some(from);
    for item in items.iter().take(2 * limit.saturating_add(1)) {
        let Some(next) = wanted.filter(|_| found.len() < limit) else { break };
        let id = item.get("transaction_id").ok_or_else(|| nonsense("a transaction without a name"))?;
        let claimed = hash(id, "hash")?;
        if found.iter().any(|known| known.id.hash == claimed) {
            continue;
        }
        let read = Transaction::from_boc(&bytes(item, "data")?, address, Some(next.hash))
            .map_err(|error| Failure::Nonsense(error.to_string()))?;
        if read.id != next {
            return Err(nonsense("a transaction at another time than its successor says"));
        }
        wanted = read.previous;
        found.push(read);
    }
    if found.is_empty() && limit > 0 {
        return Err(nonsense("a transaction that is known is not there"));
    }
    Ok(found)
}

/// All parameters, from `getConfigAll`. `now` in Unix seconds.
pub fn config(value: &Value, now: u32) -> Result<ChainConfig, Failure> {
    let inner = value.get("config").ok_or_else(|| nonsense("no parameters"))?;
    ChainConfig::from_dictionary(&bytes(inner, "bytes")?, now).map_err(|error| Failure::Nonsense(error.to_string()))
}

/// One parameter, from `getConfigParam`.
pub fn parameter(value: &Value) -> Result<Cell, Failure> {
    let inner = value.get("config").ok_or_else(|| nonsense("no parameter"))?;
    cell(inner, "bytes")?.ok_or_else(|| nonsense("an empty parameter"))
}

/// The network's id, from `getConfigParam` for parameter 19: 32 bits with a sign.
pub fn network_id(value: &Value) -> Result<i32, Failure> {
    let cell = parameter(value)?;
    let mut slice = cell.slice().map_err(|error| Failure::Nonsense(error.to_string()))?;
    let bits = slice.uint(32).map_err(|error| Failure::Nonsense(error.to_string()))?;
    u32::try_from(bits).map(u32::cast_signed).map_err(|_| nonsense("no network's id"))
}

/// The parameters one by one.
pub fn config_of(parameters: &BTreeMap<u32, Cell>, now: u32) -> Result<ChainConfig, Failure> {
    ChainConfig::from_parameters(parameters, now).map_err(|error| Failure::Nonsense(error.to_string()))
}
