//! A network's parameters: what its root contract says, or a file in its place.

use crate::boc::{self, BocError};
use crate::cocoon::{ClientData, ProxyData, WorkerData};
use crate::dictionary::{self, DictionaryError};
use crate::params::{MULTIPLIER, NEWEST_STRUCT, Params, ParamsError, STAKE};
use crate::{Address, AddressError, AddressText, Cell, CellBuilder, CellError, Nanoton, StateInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

/// Longest file that is read, in bytes.
const MAX_JSON: usize = 4 << 20;
/// Most entries of a list.
const MAX_LIST: usize = 4_096;

/// Why a text is no network's parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootConfigError {
    /// Not JSON.
    #[error("line {line}, column {column} is not valid JSON")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// More than is looked at.
    #[error("{length} bytes are more than a network's parameters can have")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// A field is not there.
    #[error("the field {field} is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field is of another type or out of range.
    #[error("the field {field} should be {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An address is wrong.
    #[error("the address in {field} is wrong: {source}")]
    Address {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: AddressError,
    },
    /// A contract's code is wrong.
    #[error("the code in {field} is wrong: {source}")]
    Code {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: CodeError,
    },
}

/// Why a cell is no root contract's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootDataError {
    /// The parameters are wrong, or newer than this program.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A list is wrong.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// A contract's code is wrong.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The cells do not hold what they should.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// Why a text is no contract's code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Neither hex of a bag of cells nor `hash:depth`.
    #[error("it is neither a bag of cells in hex nor a hash, a colon and a depth")]
    Form,
    /// The bag of cells is wrong.
    #[error(transparent)]
    Bag(#[from] BocError),
    /// So deep that a contract's cells could not refer to it.
    #[error("its cells are nested {depth} deep")]
    TooDeep {
        /// Its depth.
        depth: u16,
    },
}

/// Deepest code: parameters, data and initial state stand above it.
const DEEPEST_CODE: u16 = crate::MAX_DEPTH - 3;

/// A contract's code. Where only its hash and depth are known, addresses can be computed all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(Cell);

impl Code {
    /// Code in a cell, possibly an opaque one.
    pub fn new(cell: Cell) -> Result<Self, CodeError> {
        let depth = cell.depth();
        if depth > DEEPEST_CODE { Err(CodeError::TooDeep { depth }) } else { Ok(Self(cell)) }
    }

    /// The cell, possibly an opaque one.
    pub fn cell(&self) -> &Cell {
        &self.0
    }

    /// Reads a bag of cells in hex (nothing at all is the empty cell), or `hash:depth`.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if text.is_empty() {
            return Ok(Self(Cell::empty()));
        }
        if let Some((hash, depth)) = text.split_once(':') {
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes).map_err(|_| CodeError::Form)?;
            let depth = depth.parse().map_err(|_| CodeError::Form)?;
            return Self::new(Cell::opaque(bytes, depth));
        }
        if text.len() > 2 * boc::MAX_BYTES {
            return Err(BocError::TooLong { length: text.len() / 2 }.into());
        }
        Self::new(boc::decode(&hex::decode(text).map_err(|_| CodeError::Form)?)?)
    }

    /// The text that [`Self::parse`] reads.
    pub fn to_text(&self) -> String {
        if self.0 == Cell::empty() {
            return String::new();
        }
        match boc::encode(&self.0) {
            Ok(bytes) => hex::encode(bytes),
            Err(_) => format!("{}:{}", hex::encode(self.0.hash()), self.0.depth()),
        }
    }
}

impl TryFrom<String> for Code {
    type Error = CodeError;

    fn try_from(text: String) -> Result<Self, CodeError> {
        Self::parse(&text)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.to_text()
    }
}

/// A proxy that a network admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredProxy {
    /// Its number; never given to another.
    pub seqno: u32,
    /// Where workers dial.
    pub worker_endpoint: SocketAddrV4,
    /// Where clients dial.
    pub client_endpoint: SocketAddrV4,
}

/// A network's parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootConfig {
    /// Owner of the root contract.
    pub root_owner_address: Address,
    /// Image hashes of proxies that are admitted.
    pub proxy_hashes: Vec<[u8; 32]>,
    /// Proxies that are admitted. Entries that can't be read are left out, as the genuine programs do.
    pub registered_proxies: Vec<RegisteredProxy>,
    /// Highest number given to a proxy.
    pub last_proxy_seqno: u32,
    /// Image hashes of workers that are admitted.
    pub worker_hashes: Vec<[u8; 32]>,
    /// SHA-256 of the full names of models that are admitted.
    pub model_hashes: Vec<[u8; 32]>,
    /// Grows with every change.
    pub version: u32,
    /// Layout of the parameters, 0 to 3.
    pub struct_version: u8,
    /// Grows with every change of the parameters that contracts hold.
    pub params_version: u32,
    /// Tells networks apart.
    pub unique_id: u32,
    /// Test network?
    pub is_test: bool,
    /// What a client pays for an adjusted token.
    pub price_per_token: Nanoton,
    /// What a worker gets for one.
    pub worker_fee_per_token: Nanoton,
    /// What a prompt token counts, ten-thousandths.
    pub prompt_tokens_price_multiplier: u32,
    /// What a cached prompt token counts, ten-thousandths.
    pub cached_tokens_price_multiplier: u32,
    /// What a token of the answer counts, ten-thousandths.
    pub completion_tokens_price_multiplier: u32,
    /// What a reasoning token counts, ten-thousandths.
    pub reasoning_tokens_price_multiplier: u32,
    /// Seconds between a proxy's announcement that it closes and its close.
    pub proxy_delay_before_close: u32,
    /// The same for a client.
    pub client_delay_before_close: u32,
    /// Least stake of a proxy.
    pub min_proxy_stake: Nanoton,
    /// Least stake of a client.
    pub min_client_stake: Nanoton,
    /// Code of a proxy's contract.
    pub proxy_sc_code: Code,
    /// Code of a worker's contract.
    pub worker_sc_code: Code,
    /// Code of a client's contract.
    pub client_sc_code: Code,
    /// The root contract's own address, where the file names it. Ours only; the genuine programs are told in another file.
    pub root_contract: Option<Address>,
}

impl RootConfig {
    /// Reads the file that stands in for a chain (`rootConfig.pseudo` of the schema), or one with the fields of
    /// `rootConfig.configV5`. What is absent is what the genuine programs take for it.
    pub fn from_json(text: &str) -> Result<Self, RootConfigError> {
        if text.len() > MAX_JSON {
            return Err(RootConfigError::TooLong { length: text.len() });
        }
        let map: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| RootConfigError::Json { line: error.line(), column: error.column() })?;
        let fields = Fields(&map);
        Ok(Self {
            root_owner_address: fields
                .address("root_owner_address")?
                .ok_or(RootConfigError::Missing { field: "root_owner_address" })?,
            proxy_hashes: fields.hashes("proxy_hashes")?,
            registered_proxies: fields.proxies("registered_proxies")?,
            last_proxy_seqno: fields.number("last_proxy_seqno", 0)?,
            worker_hashes: fields.hashes("worker_hashes")?,
            model_hashes: fields.hashes("model_hashes")?,
            version: fields.number("version", 0)?,
            struct_version: fields.number("struct_version", 1).and_then(|version: u8| {
                let wrong = RootConfigError::Field { field: "struct_version", expected: "0, 1, 2 or 3" };
                if version > NEWEST_STRUCT { Err(wrong) } else { Ok(version) }
            })?,
            params_version: fields.number("params_version", 0)?,
            unique_id: fields.number("unique_id", 13)?,
            is_test: fields.truth("is_test", true)?,
            price_per_token: Nanoton(fields.number("price_per_token", 0)?),
            worker_fee_per_token: Nanoton(fields.number("worker_fee_per_token", 0)?),
            prompt_tokens_price_multiplier: fields.number("prompt_tokens_price_multiplier", MULTIPLIER)?,
            cached_tokens_price_multiplier: fields.number("cached_tokens_price_multiplier", MULTIPLIER)?,
            completion_tokens_price_multiplier: fields.number("completion_tokens_price_multiplier", MULTIPLIER)?,
            reasoning_tokens_price_multiplier: fields.number("reasoning_tokens_price_multiplier", MULTIPLIER)?,
            proxy_delay_before_close: fields.number("proxy_delay_before_close", 600)?,
            client_delay_before_close: fields.number("client_delay_before_close", 300)?,
            min_proxy_stake: Nanoton(fields.number("min_proxy_stake", STAKE.0)?),
            min_client_stake: Nanoton(fields.number("min_client_stake", STAKE.0)?),
            proxy_sc_code: fields.code("proxy_sc_code")?,
            worker_sc_code: fields.code("worker_sc_code")?,
            client_sc_code: fields.code("client_sc_code")?,
            root_contract: fields.address("root_contract_address")?,
        })
    }

    /// The text that [`Self::from_json`] reads, every field in it.
    pub fn to_json(&self) -> String {
        let hashes = |list: &[[u8; 32]]| list.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>();
        let address = |address: &Address| AddressText { address: *address, bounceable: true, testnet: false }.to_text();
        let proxies: Vec<Value> = self
            .registered_proxies
            .iter()
            .map(|proxy| {
                let address = format!("{} {}", proxy.worker_endpoint, proxy.client_endpoint);
                json!({ "seqno": proxy.seqno, "address": address })
            })
            .collect();
        let mut text = json!({
            "root_owner_address": address(&self.root_owner_address),
            "proxy_hashes": hashes(&self.proxy_hashes),
            "registered_proxies": proxies,
            "last_proxy_seqno": self.last_proxy_seqno,
            "worker_hashes": hashes(&self.worker_hashes),
            "model_hashes": hashes(&self.model_hashes),
            "version": self.version,
            "struct_version": self.struct_version,
            "params_version": self.params_version,
            "unique_id": self.unique_id,
            "is_test": self.is_test,
            "price_per_token": self.price_per_token.0,
            "worker_fee_per_token": self.worker_fee_per_token.0,
            "prompt_tokens_price_multiplier": self.prompt_tokens_price_multiplier,
            "cached_tokens_price_multiplier": self.cached_tokens_price_multiplier,
            "completion_tokens_price_multiplier": self.completion_tokens_price_multiplier,
            "reasoning_tokens_price_multiplier": self.reasoning_tokens_price_multiplier,
            "proxy_delay_before_close": self.proxy_delay_before_close,
            "client_delay_before_close": self.client_delay_before_close,
            "min_proxy_stake": self.min_proxy_stake.0,
            "min_client_stake": self.min_client_stake.0,
            "proxy_sc_code": self.proxy_sc_code.to_text(),
            "worker_sc_code": self.worker_sc_code.to_text(),
            "client_sc_code": self.client_sc_code.to_text(),
        });
        if let Some(root) = &self.root_contract {
            text["root_contract_address"] = address(root).into();
        }
        text.to_string()
    }

    /// Reads the root contract's data. `root_contract` is where they were read. Parameters in a layout that is newer than
    /// this program, and whatever is malformed, are refused; proxies that can't be read are left out, as the genuine programs do.
    pub fn from_cell(cell: &Cell, root_contract: Option<Address>) -> Result<Self, RootDataError> {
        let mut slice = cell.slice()?;
        let root_owner_address = slice.address()?;
        let version = slice.uint(32)? as u32;
        let mut data = slice.reference()?.slice()?;
        let params = Params::from_cell(slice.reference()?)?;
        slice.end()?;
        let proxy_hashes = hashes(data.maybe_reference()?)?;
        let proxies = dictionary::read::<4>(data.maybe_reference()?)?;
        let last_proxy_seqno = data.uint(32)? as u32;
        let worker_hashes = hashes(data.maybe_reference()?)?;
        let model_hashes = hashes(data.maybe_reference()?)?;
        data.end()?;
        let registered_proxies =
            proxies.iter().filter_map(|(key, value)| proxy_entry(u32::from_be_bytes(*key), value)).collect();
        let code = |code: Option<Cell>| Code::new(code.unwrap_or_else(Cell::empty));
        Ok(Self {
            root_owner_address,
            proxy_hashes,
            registered_proxies,
            last_proxy_seqno,
            worker_hashes,
            model_hashes,
            version,
            struct_version: params.struct_version,
            params_version: params.params_version,
            unique_id: params.unique_id,
            is_test: params.is_test,
            price_per_token: params.price_per_token,
            worker_fee_per_token: params.worker_fee_per_token,
            prompt_tokens_price_multiplier: params.prompt_tokens_price_multiplier,
            cached_tokens_price_multiplier: params.cached_tokens_price_multiplier,
            completion_tokens_price_multiplier: params.completion_tokens_price_multiplier,
            reasoning_tokens_price_multiplier: params.reasoning_tokens_price_multiplier,
            proxy_delay_before_close: params.proxy_delay_before_close,
            client_delay_before_close: params.client_delay_before_close,
            min_proxy_stake: params.min_proxy_stake,
            min_client_stake: params.min_client_stake,
            proxy_sc_code: code(params.proxy_code)?,
            worker_sc_code: code(params.worker_code)?,
            client_sc_code: code(params.client_code)?,
            root_contract,
        })
    }

    /// The root contract's data: `owner | version u32 | reference to the lists | reference to the parameters`, the lists being
    /// `image hashes of proxies | proxies | last seqno u32 | image hashes of workers | model hashes`, each but the number a dictionary.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let set = |hashes: &[[u8; 32]]| dictionary::write(&hashes.iter().map(|hash| (*hash, Cell::empty())).collect());
        let mut proxies = BTreeMap::new();
        for proxy in &self.registered_proxies {
            proxies.insert(proxy.seqno.to_be_bytes(), proxy.to_entry()?);
        }
        let lists = CellBuilder::new()
            .maybe_reference(set(&self.proxy_hashes)?)
            .maybe_reference(dictionary::write(&proxies)?)
            .uint(u64::from(self.last_proxy_seqno), 32)
            .maybe_reference(set(&self.worker_hashes)?)
            .maybe_reference(set(&self.model_hashes)?)
            .build()?;
        CellBuilder::new()
            .address(&self.root_owner_address)
            .uint(u64::from(self.version), 32)
            .reference(lists)
            .reference(self.params().to_cell()?)
            .build()
    }

    /// The parameters with all three codes, as the root contract holds them. [`Params::for_proxy`] and [`Params::without_codes`]
    /// are what the other contracts hold.
    pub fn params(&self) -> Params {
        Params {
            struct_version: self.struct_version,
            params_version: self.params_version,
            unique_id: self.unique_id,
            is_test: self.is_test,
            price_per_token: self.price_per_token,
            worker_fee_per_token: self.worker_fee_per_token,
            prompt_tokens_price_multiplier: self.prompt_tokens_price_multiplier,
            cached_tokens_price_multiplier: self.cached_tokens_price_multiplier,
            completion_tokens_price_multiplier: self.completion_tokens_price_multiplier,
            reasoning_tokens_price_multiplier: self.reasoning_tokens_price_multiplier,
            proxy_delay_before_close: self.proxy_delay_before_close,
            client_delay_before_close: self.client_delay_before_close,
            min_proxy_stake: self.min_proxy_stake,
            min_client_stake: self.min_client_stake,
            proxy_code: Some(self.proxy_sc_code.cell().clone()),
            worker_code: Some(self.worker_sc_code.cell().clone()),
            client_code: Some(self.client_sc_code.cell().clone()),
        }
    }

    /// What the contract of a proxy with this owner and payment key begins as, at this root contract.
    pub fn proxy_init(&self, owner: &Address, key: &[u8; 32], root: &Address) -> StateInit {
        let data = ProxyData::initial(*owner, *key, *root, &self.params());
        StateInit { code: self.proxy_sc_code.cell().clone(), data: sound(data.to_cell()) }
    }

    /// What the contract of a worker's owner at a proxy begins as.
    pub fn worker_init(&self, owner: &Address, proxy_contract: &Address, key: &[u8; 32]) -> StateInit {
        let data = WorkerData::initial(*owner, *proxy_contract, *key, &self.params());
        StateInit { code: self.worker_sc_code.cell().clone(), data: sound(data.to_cell()) }
    }

    /// What the contract of a client's wallet at a proxy begins as.
    pub fn client_init(&self, owner: &Address, proxy_contract: &Address, key: &[u8; 32]) -> StateInit {
        let data = ClientData::initial(*owner, *proxy_contract, *key, &self.params());
        StateInit { code: self.client_sc_code.cell().clone(), data: sound(data.to_cell()) }
    }

    /// Address of the contract of a proxy with this owner and payment key, at this root contract.
    pub fn proxy_contract(&self, owner: &Address, key: &[u8; 32], root: &Address) -> Address {
        address_of(&self.proxy_init(owner, key, root))
    }

    /// Address of the contract of a worker's owner at a proxy.
    pub fn worker_contract(&self, owner: &Address, proxy_contract: &Address, key: &[u8; 32]) -> Address {
        address_of(&self.worker_init(owner, proxy_contract, key))
    }

    /// Address of the contract of a client's wallet at a proxy.
    pub fn client_contract(&self, owner: &Address, proxy_contract: &Address, key: &[u8; 32]) -> Address {
        address_of(&self.client_init(owner, proxy_contract, key))
    }
}

fn address_of(init: &StateInit) -> Address {
    Address { workchain: 0, hash: sound(init.to_cell()).hash() }
}

/// The keys of a dictionary whose values mean nothing.
fn hashes(root: Option<&Cell>) -> Result<Vec<[u8; 32]>, DictionaryError> {
    Ok(dictionary::read::<32>(root)?.into_keys().collect())
}

/// `0 | length u7 | text`; entries of another type, and texts that name no proxy, are `None`.
fn proxy_entry(seqno: u32, value: &Cell) -> Option<RegisteredProxy> {
    let mut slice = value.slice().ok()?;
    if slice.bit().ok()? {
        return None;
    }
    let length = slice.uint(7).ok()?;
    let text: Result<Vec<u8>, CellError> = (0..length).map(|_| Ok(slice.uint(8)? as u8)).collect();
    let (worker_endpoint, client_endpoint) = endpoints(&String::from_utf8(text.ok()?).ok()?)?;
    Some(RegisteredProxy { seqno, worker_endpoint, client_endpoint })
}

impl RegisteredProxy {
    /// The entry of the root contract's dictionary, which is also what registers a proxy: `0 | length u7 | text`.
    pub fn to_entry(&self) -> Result<Cell, CellError> {
        let text = format!("{} {}", self.worker_endpoint, self.client_endpoint);
        CellBuilder::new().uint(0, 1).uint(text.len() as u64, 7).bytes(text.as_bytes()).build()
    }
}

/// Layouts of fixed size fit by construction, and [`Code`] leaves room for their depth.
fn sound(cell: Result<Cell, CellError>) -> Cell {
    cell.unwrap_or_else(|_| Cell::opaque([0; 32], 0))
}

/// A whole number, or one in decimal text: the genuine programs write 64-bit numbers so, and read all numbers so.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn number<N: TryFrom<u64>>(&self, field: &'static str, absent: N) -> Result<N, RootConfigError> {
        let Some(value) = self.get(field) else { return Ok(absent) };
        whole(value)
            .and_then(|number| N::try_from(number).ok())
            .ok_or(RootConfigError::Field { field, expected: "a whole number within its range" })
    }

    /// True, false, or a number that is zero for false, in text or not.
    fn truth(&self, field: &'static str, absent: bool) -> Result<bool, RootConfigError> {
        match self.get(field) {
            None => Ok(absent),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(value) => match whole(value) {
                Some(number) => Ok(number != 0),
                None => Err(RootConfigError::Field { field, expected: "true, false or a whole number" }),
            },
        }
    }

    fn text(&self, field: &'static str) -> Result<Option<&str>, RootConfigError> {
        let wrong = RootConfigError::Field { field, expected: "text" };
        self.get(field).map(|value| value.as_str().ok_or(wrong)).transpose()
    }

    fn list(&self, field: &'static str) -> Result<&[Value], RootConfigError> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) if list.len() <= MAX_LIST => Ok(list),
            Some(_) => Err(RootConfigError::Field { field, expected: "a list of at most 4096 entries" }),
        }
    }

    fn hashes(&self, field: &'static str) -> Result<Vec<[u8; 32]>, RootConfigError> {
        let hash = |value: &Value| STANDARD.decode(value.as_str()?).ok()?.try_into().ok();
        let expected = "a list of 32-byte hashes in base64";
        self.list(field)?.iter().map(|it| hash(it).ok_or(RootConfigError::Field { field, expected })).collect()
    }

    fn address(&self, field: &'static str) -> Result<Option<Address>, RootConfigError> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let parsed = AddressText::parse(text).map_err(|source| RootConfigError::Address { field, source })?;
        Ok(Some(parsed.address))
    }

    fn code(&self, field: &'static str) -> Result<Code, RootConfigError> {
        Code::parse(self.text(field)?.unwrap_or_default()).map_err(|source| RootConfigError::Code { field, source })
    }

    fn proxies(&self, field: &'static str) -> Result<Vec<RegisteredProxy>, RootConfigError> {
        let expected = "a list of { seqno, address }";
        let mut proxies = Vec::new();
        for entry in self.list(field)? {
            let seqno = whole(&entry["seqno"]).and_then(|seqno| u32::try_from(seqno).ok());
            let (Some(seqno), Some(text)) = (seqno, entry["address"].as_str()) else {
                return Err(RootConfigError::Field { field, expected });
            };
            proxies.extend(endpoints(text).map(|(worker_endpoint, client_endpoint)| RegisteredProxy {
                seqno,
                worker_endpoint,
                client_endpoint,
            }));
        }
        Ok(proxies)
    }
}

/// One endpoint for both, or the workers' and the clients'. Brackets around an address are accepted.
fn endpoints(text: &str) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let endpoint = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        bare.unwrap_or(text).parse().ok()
    };
    match text.split_once(' ') {
        Some((workers, clients)) => Some((endpoint(workers)?, endpoint(clients)?)),
        None => endpoint(text).map(|both| (both, both)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = r#"{
        "proxy_hashes": ["ProxyProxyProxyProxyProxyProxyProxyProxyPro="],
        "worker_hashes": ["WorkerWorkerWorkerWorkerWorkerWorkerWorkerU="],
        "registered_proxies": [ {"seqno": 1, "address": "127.0.0.1:23001 127.0.0.1:24002"} ],
        "price_per_token": 2, "worker_fee_per_token": 1, "last_proxy_seqno": 1, "version": 3, "params_version": 1,
        "proxy_sc_code": "532e707649e4161be4d816e2b6f97f82e602855a4cd3475883028d054c6e72ef:4",
        "worker_sc_code": "657cb7ca586d77e88066effadf10f3eddea7d3487e809220e770d9dc4e596023:2",
        "client_sc_code": "5d8a54e4462dd52f747bae8c1edca819fd2f462be05c1fc595cc2a34e6b18c44:5",
        "root_owner_address": "0QBgPMq7ye2WRcudRHK_-yjHwMXjeN-UCzAuoo06TR6hmgHV" }"#;
    const OWNER: &str = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
    const ROOT: &str = "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ";
    const CLIENT: &str = "UQCdj43bBDyeJlfe6FVSpWLfsDMp4YHbmz5lca5-tNz-fx20";

    fn address(text: &str) -> Address {
        AddressText::parse(text).unwrap().address
    }

    fn key() -> [u8; 32] {
        let mut key = [0; 32];
        hex::decode_to_slice("559087582b7e5ea2b2b986c258e0067b806a59b154e955decf00429610eab095", &mut key).unwrap();
        key
    }

    #[test]
    fn the_recorded_contracts_have_the_recorded_addresses() {
        let config = RootConfig::from_json(RECORDED).unwrap();
        let proxy = config.proxy_contract(&address(OWNER), &key(), &address(ROOT));
        assert_eq!(proxy, address("UQBPkxYfPKgOBMbbi9VQVO2DQz7Wg3w9K5YTsl8x1_KaeZcZ"));
        let worker = config.worker_contract(&address(OWNER), &proxy, &key());
        assert_eq!(worker, address("UQDLYGhRHNqXquKXJazsjMBUUhXtmZ_Nom43-_sztpg80bUO"));
        let client = config.client_contract(&address(CLIENT), &proxy, &key());
        assert_eq!(client, address("UQCACjNFLY4ArI-ZdQsAazEAW41KvHyVIAWsFh9pbqcA1f12"));
    }

    #[test]
    fn parameters_without_codes_have_the_documented_hash() {
        let config = RootConfig::from_json(RECORDED).unwrap();
        let params = config.params().without_codes().to_cell().unwrap();
        assert_eq!(params.bits(), 236);
        assert_eq!(hex::encode(params.hash()), "59b8161e92d89302035d2d082eabf144dcadd01b8e710f8a9c6004da44a0e7a1");
        assert_eq!(
            hex::encode(config.params().for_proxy().to_cell().unwrap().hash()),
            "ce646bbfd033725d142f4b609ee508451bfaf6d25c2b2deae0e3cee17861c428"
        );
    }

    #[test]
    fn a_root_contract_is_read_as_it_was_written_in_every_layout() {
        for struct_version in 0..=NEWEST_STRUCT {
            let mut config = RootConfig { struct_version, ..RootConfig::from_json(RECORDED).unwrap() };
            config.root_contract = Some(address(ROOT));
            config.model_hashes = (0..40).map(|number| [number; 32]).collect();
            config.registered_proxies =
                (1..50).map(|seqno| RegisteredProxy { seqno, ..config.registered_proxies[0] }).collect();
            let cell = config.to_cell().unwrap();
            assert_eq!(RootConfig::from_cell(&cell, Some(address(ROOT))), Ok(config));
        }
    }

    #[test]
    fn a_root_contract_from_the_future_or_cut_short_is_refused() {
        let config = RootConfig { struct_version: 4, ..RootConfig::from_json(RECORDED).unwrap() };
        let cell = config.to_cell().unwrap();
        let refused = RootDataError::Params(ParamsError::Newer { version: 4 });
        assert_eq!(RootConfig::from_cell(&cell, None), Err(refused));
        assert!(RootConfig::from_cell(&Cell::empty(), None).is_err());
        let more = CellBuilder::new().inline(&cell).uint(0, 1).build().unwrap();
        assert!(RootConfig::from_cell(&more, None).is_err());
    }

    #[test]
    fn entries_of_a_root_contract_that_name_no_proxy_are_left_out() {
        let entry = |kind: u64, text: &str| {
            CellBuilder::new().uint(kind, 1).uint(text.len() as u64, 7).bytes(text.as_bytes()).build().unwrap()
        };
        assert_eq!(proxy_entry(3, &entry(0, "10.0.0.1:5")).unwrap().seqno, 3);
        assert_eq!(proxy_entry(3, &entry(1, "10.0.0.1:5")), None);
        assert_eq!(proxy_entry(3, &entry(0, "host:5")), None);
        assert_eq!(proxy_entry(3, &CellBuilder::new().uint(100, 8).build().unwrap()), None);
    }

    #[test]
    fn what_the_file_leaves_out_is_what_the_genuine_programs_imply() {
        let config = RootConfig::from_json(RECORDED).unwrap();
        assert_eq!((config.struct_version, config.unique_id, config.is_test), (1, 13, true));
        assert_eq!((config.proxy_delay_before_close, config.client_delay_before_close), (600, 300));
        assert_eq!((config.min_proxy_stake, config.min_client_stake), (STAKE, STAKE));
        assert_eq!(config.prompt_tokens_price_multiplier, 10_000);
        assert_eq!(config.registered_proxies[0].client_endpoint, "127.0.0.1:24002".parse().unwrap());
        assert_eq!(config.root_contract, None);
    }

    #[test]
    fn parameters_are_read_as_they_were_written() {
        let mut config = RootConfig::from_json(RECORDED).unwrap();
        config.root_contract = Some(address(ROOT));
        config.struct_version = 3;
        config.cached_tokens_price_multiplier = 2_500;
        config.worker_sc_code = Code::new(CellBuilder::new().uint(9, 8).build().unwrap()).unwrap();
        assert_eq!(RootConfig::from_json(&config.to_json()), Ok(config));
    }

    #[test]
    fn proxies_that_cannot_be_read_are_left_out() {
        let with = |address: &str| {
            let mut map: Value = serde_json::from_str(RECORDED).unwrap();
            map["registered_proxies"][0]["address"] = address.into();
            RootConfig::from_json(&map.to_string()).unwrap().registered_proxies
        };
        assert_eq!(with("[10.0.0.1:5]")[0].worker_endpoint, "10.0.0.1:5".parse().unwrap());
        for text in ["", "host:1", "10.0.0.1", "[::1]:5", "10.0.0.1:70000", "10.0.0.1:1 10.0.0.1"] {
            assert!(with(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn numbers_and_truths_are_read_in_every_form_the_genuine_programs_read() {
        let with = |field: &str, value: Value| {
            let mut map: Value = serde_json::from_str(RECORDED).unwrap();
            map[field] = value;
            RootConfig::from_json(&map.to_string()).unwrap()
        };
        assert_eq!(with("price_per_token", json!("18446744073709551615")).price_per_token, Nanoton(u64::MAX));
        assert_eq!(with("version", json!("3")).version, 3);
        for (value, truth) in
            [(json!(true), true), (json!(0), false), (json!(2), true), (json!("0"), false), (json!("1"), true)]
        {
            assert_eq!(with("is_test", value).is_test, truth);
        }
        let proxies = with("registered_proxies", json!([{ "seqno": "7", "address": "1.2.3.4:5", "proxy_hash": "x" }]));
        assert_eq!(proxies.registered_proxies[0].seqno, 7);
        let odd = with("model_names", json!(["unknown fields are left alone"]));
        assert_eq!(odd, RootConfig::from_json(RECORDED).unwrap());
        assert_eq!(with("client_sc_code", json!("")).client_sc_code.cell(), &Cell::empty());
        assert_eq!(with("client_sc_code", Value::Null).client_sc_code.cell(), &Cell::empty());
        let dear = with("completion_tokens_price_multiplier", json!("40000"));
        assert_eq!(dear.completion_tokens_price_multiplier, 40_000);
    }

    #[test]
    fn code_so_deep_that_no_contract_could_hold_it_is_refused() {
        let text = |depth: u16| format!("{}:{depth}", "ab".repeat(32));
        let config = RootConfig {
            worker_sc_code: Code::parse(&text(DEEPEST_CODE)).unwrap(),
            client_sc_code: Code::parse(&text(DEEPEST_CODE)).unwrap(),
            ..RootConfig::from_json(RECORDED).unwrap()
        };
        let other = RootConfig { price_per_token: Nanoton(3), ..config.clone() };
        let owner = address(OWNER);
        assert_ne!(
            config.proxy_contract(&owner, &key(), &owner),
            other.proxy_contract(&owner, &key(), &owner),
            "the parameters are in the address"
        );
        let depth = DEEPEST_CODE + 1;
        assert_eq!(Code::parse(&text(depth)), Err(CodeError::TooDeep { depth }));
    }

    #[test]
    fn a_wrong_field_is_named() {
        let with = |field: &str, value: Value| {
            let mut map: Value = serde_json::from_str(RECORDED).unwrap();
            map[field] = value;
            RootConfig::from_json(&map.to_string()).unwrap_err().to_string()
        };
        assert_eq!(
            with("price_per_token", json!(-1)),
            "the field price_per_token should be a whole number within its range"
        );
        assert_eq!(with("root_owner_address", Value::Null), "the field root_owner_address is missing");
        assert_eq!(with("struct_version", json!(4)), "the field struct_version should be 0, 1, 2 or 3");
        assert!(with("worker_hashes", json!(["AA=="])).contains("worker_hashes"));
        assert!(with("worker_sc_code", json!("zz")).contains("worker_sc_code"));
        assert!(matches!(RootConfig::from_json("{"), Err(RootConfigError::Json { line: 1, .. })));
    }
}
