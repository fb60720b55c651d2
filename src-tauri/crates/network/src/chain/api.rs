//! The methods of toncenter's API, version 2, as JSON in and JSON out. Field names and `@type`s are those that `@ton/ton` checks.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use chain::{Message, MessageKind, StackValue, Transaction, cells, getter};
use num_bigint::BigInt;
use serde_json::{Map, Value, json};
use ton::{Address, AddressText, Cell, CellBuilder, Nanoton, boc};
use tycho_types::boc::Boc;
use tycho_types::cell::Cell as TychoCell;

use super::embedded::{Embedded, EmbeddedError, Shown, message, message_of};
use crate::store::chain::TransactionRow;

/// Most transactions that are given at once.
const MOST_TRANSACTIONS: u64 = 100;
/// Most arguments of a get-method.
const MOST_ARGUMENTS: usize = 64;
/// Deepest tuples that are written out.
const DEEPEST: usize = 16;
/// The only shard: all of a workchain.
const SHARD: &str = "-9223372036854775808";

/// Why a request gets no result: a status of HTTP and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 404, 422 or 500.
    pub status: u16,
    /// Why.
    pub words: String,
}

impl Refusal {
    pub(super) fn question(words: impl Into<String>) -> Self {
        Self { status: 422, words: words.into() }
    }
}

impl From<EmbeddedError> for Refusal {
    fn from(error: EmbeddedError) -> Self {
        let words = match &error {
            // The words that clients know from lite-servers.
            EmbeddedError::Refused(why) => format!("LITE_SERVER_UNKNOWN: {why}"),
            EmbeddedError::Store(_) | EmbeddedError::Config(_) | EmbeddedError::Damaged(_) => error.to_string(),
        };
        Self { status: 500, words }
    }
}

/// Answers a request.
pub fn call(chain: &mut Embedded, method: &str, params: &Value, wall_ms: i64) -> Result<Value, Refusal> {
    match method {
        "getMasterchainInfo" => Ok(masterchain(chain, wall_ms)),
        "getAddressInformation" => Ok(information(&chain.shown(&address(params)?, wall_ms)?, chain, wall_ms)),
        "getAddressBalance" => Ok(json!(chain.shown(&address(params)?, wall_ms)?.account.balance.0.to_string())),
        "getAddressState" => Ok(json!(state_word(&chain.shown(&address(params)?, wall_ms)?))),
        "getTransactions" => transactions(chain, params),
        "runGetMethod" => run_get_method(chain, params, wall_ms),
        "sendBoc" => {
            chain.send(message(&bytes(params, "boc")?)?, wall_ms)?;
            Ok(json!({ "@type": "ok" }))
        }
        "sendBocReturnHash" => {
            let cell = message(&bytes(params, "boc")?)?;
            let normalised = Message::from_tycho(&cell).map(|message| message.normalised_hash);
            let hash = chain.send(cell, wall_ms)?;
            let normalised = normalised.unwrap_or(hash);
            Ok(json!({
                "@type": "raw.extMessageInfo", "hash": STANDARD.encode(hash), "hash_norm": STANDARD.encode(normalised),
            }))
        }
        "estimateFee" => estimate(chain, params, wall_ms),
        "getConfigParam" => config_param(chain, params),
        "getConfigAll" => Ok(config_info(chain.config().parsed().raw.params.as_dict().root().as_ref())),
        "getBlockHeader" => block_header(chain, params, wall_ms),
        "shards" => {
            let seqno = seqno(params)?;
            chain.time_of(seqno, wall_ms)?.ok_or_else(|| Refusal::question("no such block"))?;
            Ok(json!({ "@type": "blocks.shards", "shards": [block_id(0, seqno)] }))
        }
        "getBlockTransactions" => block_transactions(chain, params, wall_ms),
        _ => Err(Refusal { status: 404, words: format!("no method is named {}", cut(method)) }),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).filter(char::is_ascii_graphic).collect()
}

fn address(params: &Value) -> Result<Address, Refusal> {
    let text = params.get("address").and_then(Value::as_str).ok_or_else(|| Refusal::question("address is missing"))?;
    let read = AddressText::parse(text).map_err(|error| Refusal::question(format!("address: {error}")))?;
    Ok(read.address)
}

fn bytes(params: &Value, name: &str) -> Result<Vec<u8>, Refusal> {
    let text =
        params.get(name).and_then(Value::as_str).ok_or_else(|| Refusal::question(format!("{name} is missing")))?;
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|_| Refusal::question(format!("{name} is no base64")))
}

/// A number, also where it comes as text.
fn number(params: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            number.as_u64().map(Some).ok_or_else(|| Refusal::question(format!("{name} is out of range")))
        }
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|_| Refusal::question(format!("{name} is no number")))
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::question(format!("{name} is no number")))
        }
    }
}

fn seqno(params: &Value) -> Result<u32, Refusal> {
    let seqno = number(params, "seqno")?.ok_or_else(|| Refusal::question("seqno is missing"))?;
    u32::try_from(seqno).map_err(|_| Refusal::question("seqno is out of range"))
}

fn block_id(workchain: i32, seqno: u32) -> Value {
    let mut hash = [0; 32];
    for (slot, byte) in hash.iter_mut().zip(seqno.to_be_bytes()) {
        *slot = byte;
    }
    json!({
        "@type": "ton.blockIdExt", "workchain": workchain, "shard": SHARD, "seqno": seqno,
        "root_hash": STANDARD.encode(hash), "file_hash": STANDARD.encode(hash),
    })
}

fn masterchain(chain: &Embedded, wall_ms: i64) -> Value {
    let head = chain.shown_head(wall_ms);
    json!({
        "@type": "blocks.masterchainInfo", "last": block_id(-1, head.seqno),
        "state_root_hash": STANDARD.encode([0; 32]), "init": block_id(-1, 0),
    })
}

fn state_word(shown: &Shown) -> &'static str {
    match shown.account.status {
        chain::AccountStatus::Uninitialised => "uninitialized",
        chain::AccountStatus::Active => "active",
        chain::AccountStatus::Frozen => "frozen",
    }
}

fn transaction_id(lt: u64, hash: &[u8; 32]) -> Value {
    json!({ "@type": "internal.transactionId", "lt": lt.to_string(), "hash": STANDARD.encode(hash) })
}

fn information(shown: &Shown, chain: &Embedded, wall_ms: i64) -> Value {
    let account = &shown.account;
    let (lt, hash) = account.last.map_or((0, [0; 32]), |last| (last.lt, last.hash));
    json!({
        "@type": "raw.fullAccountState",
        "balance": account.balance.0.to_string(),
        "extra_currencies": [],
        "code": STANDARD.encode(&shown.code),
        "data": STANDARD.encode(&shown.data),
        "last_transaction_id": transaction_id(lt, &hash),
        "block_id": block_id(-1, chain.shown_head(wall_ms).seqno),
        "frozen_hash": account.frozen.map(|hash| STANDARD.encode(hash)).unwrap_or_default(),
        "sync_utime": account.seen_at,
        "state": state_word(shown),
    })
}

fn transactions(chain: &Embedded, params: &Value) -> Result<Value, Refusal> {
    let owner = address(params)?;
    let limit = number(params, "limit")?.unwrap_or(10).min(MOST_TRANSACTIONS) as u32;
    let from = number(params, "lt")?;
    let to = number(params, "to_lt")?.unwrap_or(0);
    let rows = chain.transactions(&owner, from, limit)?;
    if let (Some(from), Some(hash)) = (from, params.get("hash").and_then(Value::as_str))
        && !hash.is_empty()
    {
        let mut wanted = [0; 32];
        let known = hex::decode_to_slice(hash, &mut wanted).is_ok()
            || STANDARD.decode(hash).or_else(|_| URL_SAFE.decode(hash)).is_ok_and(|decoded| {
                let fits = decoded.len() == wanted.len();
                if fits {
                    wanted.copy_from_slice(&decoded);
                }
                fits
            });
        if !known {
            return Err(Refusal::question("hash is neither hex nor base64 of 32 bytes"));
        }
        if rows.first().is_none_or(|row| row.lt != from || row.hash != wanted) {
            return Err(Refusal { status: 500, words: "LITE_SERVER_UNKNOWN: no such transaction".to_owned() });
        }
    }
    rows.iter().take_while(|row| row.lt > to).map(transaction).collect::<Result<_, _>>().map(Value::Array)
}

fn transaction(row: &TransactionRow) -> Result<Value, Refusal> {
    let damaged = |error: &dyn std::fmt::Display| Refusal { status: 500, words: error.to_string() };
    let read = Transaction::from_boc(&row.cells, row.address, Some(row.hash)).map_err(|error| damaged(&error))?;
    let out: Vec<Value> = read.out_messages.iter().map(described).collect();
    let other = read.total_fees.0.saturating_sub(read.storage_fees.0);
    let mut value = json!({
        "@type": "raw.transaction",
        "address": { "@type": "accountAddress", "account_address": friendly(&row.address) },
        "utime": read.now,
        "data": STANDARD.encode(&row.cells),
        "transaction_id": transaction_id(row.lt, &row.hash),
        "fee": read.total_fees.0.to_string(),
        "storage_fee": read.storage_fees.0.to_string(),
        "other_fee": other.to_string(),
        "out_msgs": out,
    });
    if let (Some(message), Some(fields)) = (&read.in_message, value.as_object_mut()) {
        fields.insert("in_msg".to_owned(), described(message));
    }
    Ok(value)
}

fn friendly(address: &Address) -> String {
    AddressText { address: *address, bounceable: true, testnet: false }.to_text()
}

fn described(message: &Message) -> Value {
    let forward_fee = match message.kind {
        MessageKind::Internal { forward_fee, .. } => forward_fee,
        MessageKind::ExternalIn { .. } | MessageKind::ExternalOut { .. } => Nanoton(0),
    };
    let body = boc::encode(&message.body).map(|bytes| STANDARD.encode(bytes)).unwrap_or_default();
    json!({
        "@type": "raw.message",
        "hash": STANDARD.encode(message.hash),
        "source": message.source().as_ref().map(friendly).unwrap_or_default(),
        "destination": message.destination().as_ref().map(friendly).unwrap_or_default(),
        "value": message.value().0.to_string(),
        "extra_currencies": [],
        "fwd_fee": forward_fee.0.to_string(),
        "ihr_fee": "0",
        "created_lt": message.created_lt.to_string(),
        "body_hash": STANDARD.encode(message.body.hash()),
        "msg_data": { "@type": "msg.dataRaw", "body": body, "init_state": "" },
    })
}

fn run_get_method(chain: &Embedded, params: &Value, wall_ms: i64) -> Result<Value, Refusal> {
    let shown = chain.shown(&address(params)?, wall_ms)?;
    let method = params.get("method").ok_or_else(|| Refusal::question("method is missing"))?;
    let method = method.as_str().ok_or_else(|| Refusal::question("method is no text"))?;
    let arguments = match params.get("stack") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) if items.len() <= MOST_ARGUMENTS => {
            items.iter().map(argument).collect::<Result<Vec<_>, _>>()?
        }
        Some(_) => return Err(Refusal::question("stack is no short list")),
    };
    let result = getter::run(&shown.account, chain.config(), shown.account.seen_at, method, &arguments);
    let (gas_used, exit_code, stack) = match result {
        Ok(result) => {
            let stack = result.stack.iter().map(item).collect::<Result<Vec<_>, _>>()?;
            (result.gas_used, result.exit_code, stack)
        }
        // What lite-servers say where there is no contract.
        Err(chain::ChainError::NoCode) => (0, -13, Vec::new()),
        Err(error) => return Err(Refusal { status: 500, words: error.to_string() }),
    };
    Ok(json!({
        "@type": "smc.runResult", "gas_used": gas_used, "stack": stack, "exit_code": exit_code,
        "block_id": block_id(-1, chain.shown_head(wall_ms).seqno),
        "last_transaction_id": transaction_id(shown.account.last_lt(), &shown.account.last.map_or([0; 32], |last| last.hash)),
    }))
}

fn argument(item: &Value) -> Result<StackValue, Refusal> {
    let wrong = || Refusal::question("an argument is not [\"num\" | \"cell\" | \"slice\", value]");
    let kind = item.get(0).and_then(Value::as_str).ok_or_else(wrong)?;
    let value = item.get(1).unwrap_or(&Value::Null);
    match kind {
        "num" | "int" => {
            let text = match value {
                Value::String(text) if text.len() <= 80 => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
            let read = match digits.strip_prefix("0x") {
                Some(digits) => BigInt::parse_bytes(digits.as_bytes(), 16),
                None => BigInt::parse_bytes(digits.as_bytes(), 10),
            };
            let read = read.filter(|read| read.bits() <= 256).ok_or_else(wrong)?;
            Ok(StackValue::Int(if negative { -read } else { read }))
        }
        "null" => Ok(StackValue::Null),
        "cell" | "tvm.Cell" => Ok(StackValue::Cell(cell_of(value).ok_or_else(wrong)?)),
        "slice" | "tvm.Slice" => Ok(StackValue::Slice(cell_of(value).ok_or_else(wrong)?)),
        _ => Err(wrong()),
    }
}

fn cell_of(value: &Value) -> Option<Cell> {
    let text = value.as_str().or_else(|| value.get("bytes").and_then(Value::as_str))?;
    boc::decode(&STANDARD.decode(text).ok()?).ok()
}

fn cell_text(cell: &Cell) -> Result<String, Refusal> {
    let written = cells::to_tycho(cell).map_err(|error| Refusal { status: 500, words: error.to_string() })?;
    Ok(STANDARD.encode(Boc::encode(&written)))
}

fn item(value: &StackValue) -> Result<Value, Refusal> {
    Ok(match value {
        StackValue::Null => json!(["null", null]),
        StackValue::Int(number) if number.sign() == num_bigint::Sign::Minus => {
            json!(["num", format!("-0x{:x}", -number)])
        }
        StackValue::Int(number) => json!(["num", format!("0x{number:x}")]),
        StackValue::Cell(cell) => json!(["cell", { "bytes": cell_text(cell)? }]),
        StackValue::Slice(cell) => json!(["slice", { "bytes": cell_text(cell)? }]),
        StackValue::Tuple(values) => json!(["tuple", { "@type": "tvm.tuple", "elements": elements(values, 0)? }]),
    })
}

fn elements(values: &[StackValue], depth: usize) -> Result<Vec<Value>, Refusal> {
    if depth > DEEPEST {
        return Err(Refusal { status: 500, words: "the answer is nested too deeply".to_owned() });
    }
    values
        .iter()
        .map(|value| {
            Ok(match value {
                StackValue::Null => {
                    json!({ "@type": "tvm.stackEntryList", "list": { "@type": "tvm.list", "elements": [] } })
                }
                StackValue::Int(number) => json!({
                    "@type": "tvm.stackEntryNumber",
                    "number": { "@type": "tvm.numberDecimal", "number": number.to_string() },
                }),
                StackValue::Cell(cell) => json!({
                    "@type": "tvm.stackEntryCell", "cell": { "@type": "tvm.cell", "bytes": cell_text(cell)? },
                }),
                StackValue::Slice(cell) => json!({
                    "@type": "tvm.stackEntrySlice", "slice": { "@type": "tvm.slice", "bytes": cell_text(cell)? },
                }),
                StackValue::Tuple(values) => json!({
                    "@type": "tvm.stackEntryTuple",
                    "tuple": { "@type": "tvm.tuple", "elements": elements(values, depth + 1)? },
                }),
            })
        })
        .collect()
}

fn estimate(chain: &Embedded, params: &Value, wall_ms: i64) -> Result<Value, Refusal> {
    let to = address(params)?;
    let part = |name: &str| -> Result<Option<Cell>, Refusal> {
        match params.get(name).and_then(Value::as_str) {
            None | Some("") => Ok(None),
            Some(_) => boc::decode(&bytes(params, name)?)
                .map(Some)
                .map_err(|error| Refusal::question(format!("{name}: {error}"))),
        }
    };
    let body = part("body")?.ok_or_else(|| Refusal::question("body is missing"))?;
    let (code, data) = (part("init_code")?, part("init_data")?);
    let mut built = CellBuilder::new().uint(0b1000, 4).address(&to).amount(Nanoton(0));
    built = match (code, data) {
        (Some(code), Some(data)) => {
            let init = ton::StateInit { code, data }.to_cell().map_err(|error| Refusal::question(error.to_string()))?;
            built.uint(0b11, 2).reference(init)
        }
        (None, None) => built.uint(0, 1),
        _ => return Err(Refusal::question("init_code and init_data come together")),
    };
    let cell = built.uint(1, 1).reference(body).build().map_err(|error| Refusal::question(error.to_string()))?;
    let done = chain.estimate(message_of(&cell)?, wall_ms)?;
    let gas = match done.compute {
        Some(chain::ComputePhase::Executed { gas_fees, .. }) => gas_fees.0,
        Some(chain::ComputePhase::Skipped(_)) | None => 0,
    };
    let forward = done.action.map_or(0, |action| action.forward_fees.0);
    // Of the forward fees, only a part is taken here; the rest goes with the messages.
    let carried: u64 = done
        .out_messages
        .iter()
        .map(|message| match message.kind {
            MessageKind::Internal { forward_fee, .. } => forward_fee.0,
            MessageKind::ExternalIn { .. } | MessageKind::ExternalOut { .. } => 0,
        })
        .fold(0, u64::saturating_add);
    let here = forward.saturating_sub(carried);
    let import = done.total_fees.0.saturating_sub(done.storage_fees.0).saturating_sub(gas).saturating_sub(here);
    Ok(json!({
        "@type": "query.fees",
        "source_fees": {
            "@type": "fees", "in_fwd_fee": import, "storage_fee": done.storage_fees.0, "gas_fee": gas, "fwd_fee": forward,
        },
        "destination_fees": [],
    }))
}

fn config_info(cell: Option<&TychoCell>) -> Value {
    let bytes = cell.map(|cell| STANDARD.encode(Boc::encode(cell))).unwrap_or_default();
    json!({ "@type": "configInfo", "config": { "@type": "tvm.cell", "bytes": bytes } })
}

fn config_param(chain: &Embedded, params: &Value) -> Result<Value, Refusal> {
    let asked = match number(params, "config_id")? {
        Some(asked) => Some(asked),
        None => number(params, "param")?,
    };
    let asked = asked.and_then(|asked| u32::try_from(asked).ok());
    let asked = asked.ok_or_else(|| Refusal::question("config_id is missing"))?;
    let raw = &chain.config().parsed().raw.params;
    let found = raw.get_raw_cell(asked).map_err(|error| Refusal { status: 500, words: error.to_string() })?;
    let found = found.ok_or_else(|| Refusal { status: 500, words: "no such parameter".to_owned() })?;
    Ok(config_info(Some(&found)))
}

fn block_header(chain: &Embedded, params: &Value, wall_ms: i64) -> Result<Value, Refusal> {
    let seqno = seqno(params)?;
    let time = chain.time_of(seqno, wall_ms)?.ok_or_else(|| Refusal::question("no such block"))?;
    let workchain = params.get("workchain").and_then(Value::as_i64).unwrap_or(-1);
    Ok(json!({
        "@type": "blocks.header", "id": block_id(if workchain == 0 { 0 } else { -1 }, seqno), "gen_utime": time,
        "global_id": chain.config().network_id(), "version": 0, "vert_seqno": 0, "is_key_block": false,
        "prev_blocks": [],
    }))
}

fn block_transactions(chain: &Embedded, params: &Value, wall_ms: i64) -> Result<Value, Refusal> {
    let seqno = seqno(params)?;
    chain.time_of(seqno, wall_ms)?.ok_or_else(|| Refusal::question("no such block"))?;
    let workchain = params.get("workchain").and_then(Value::as_i64).unwrap_or(0);
    // Everything happens in the basechain.
    let rows = if workchain == 0 { chain.transactions_in(seqno)? } else { Vec::new() };
    let list: Vec<Value> = rows
        .iter()
        .map(|(address, lt, hash)| {
            json!({
                "@type": "blocks.shortTxId", "mode": 135, "account": address.to_string(), "lt": lt.to_string(),
                "hash": STANDARD.encode(hash),
            })
        })
        .collect();
    Ok(json!({
        "@type": "blocks.transactions", "id": block_id(if workchain == 0 { 0 } else { -1 }, seqno),
        "req_count": list.len(), "incomplete": false, "transactions": list,
    }))
}

/// Parameters of a GET request: all of them texts.
pub(super) fn from_query(query: &str) -> Value {
    let mut map = Map::new();
    for pair in query.split('&').take(32) {
        if let Some((name, value)) = pair.split_once('=') {
            map.insert(name.to_owned(), Value::String(unescaped(value)));
        }
    }
    Value::Object(map)
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = (byte == b'%').then(|| rest.clone().take(2).collect::<Vec<u8>>());
        match escaped.and_then(|digits| hex::decode(digits).ok()).as_deref() {
            Some([one]) => {
                bytes.push(*one);
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
