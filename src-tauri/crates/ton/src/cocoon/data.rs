//! What Cocoon's contracts remember, and so where they live.
//!
//! Source of the layouts: ProxyContract.cpp, WorkerContract.cpp and ClientContract.cpp of the genuine programs.

use crate::{Address, Cell, CellBuilder, CellError, Nanoton, Params, ParamsError, StateInit, boc};

/// How far a contract is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContractState {
    /// At work.
    Normal,
    /// Closes after a delay. A worker's contract has no such state.
    Closing,
    /// Closed for good.
    Closed,
}

impl ContractState {
    /// The two bits.
    pub const fn code(self) -> u64 {
        match self {
            Self::Normal => 0,
            Self::Closing => 1,
            Self::Closed => 2,
        }
    }

    pub(crate) const fn from_code(code: u64) -> Result<Self, CellError> {
        match code {
            0 => Ok(Self::Normal),
            1 => Ok(Self::Closing),
            2 => Ok(Self::Closed),
            _ => Err(CellError::Form { of: "contract's state" }),
        }
    }
}

/// A proxy's contract: `owner | proxy's key | root | state u2 | balance | stake | unlock u32 | reference to parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyData {
    /// Who may withdraw and close.
    pub owner: Address,
    /// The key that signs payments, Ed25519.
    pub proxy_key: [u8; 32],
    /// The network's root contract.
    pub root: Address,
    /// How far it is.
    pub state: ContractState,
    /// What the proxy itself has earned and not withdrawn.
    pub balance: Nanoton,
    /// Its stake.
    pub stake: Nanoton,
    /// When it may be closed, unix seconds; 0 if it is not closing.
    pub unlock_ts: u32,
    /// Parameters with the codes of worker and client.
    pub params: Params,
}

impl ProxyData {
    /// What it begins as.
    pub fn initial(owner: Address, proxy_key: [u8; 32], root: Address, params: &Params) -> Self {
        let (state, params) = (ContractState::Normal, params.for_proxy());
        Self { owner, proxy_key, root, state, balance: Nanoton(0), stake: Nanoton(0), unlock_ts: 0, params }
    }

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        CellBuilder::new()
            .address(&self.owner)
            .bytes(&self.proxy_key)
            .address(&self.root)
            .uint(self.state.code(), 2)
            .amount(self.balance)
            .amount(self.stake)
            .uint(u64::from(self.unlock_ts), 32)
            .reference(self.params.to_cell()?)
            .build()
    }

    /// Reads the cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, ParamsError> {
        let mut slice = cell.slice()?;
        let data = Self {
            owner: slice.address()?,
            proxy_key: slice.bytes()?,
            root: slice.address()?,
            state: ContractState::from_code(slice.uint(2)?)?,
            balance: slice.amount()?,
            stake: slice.amount()?,
            unlock_ts: slice.uint(32)? as u32,
            params: Params::from_cell(slice.reference()?)?,
        };
        slice.end()?;
        Ok(data)
    }

    /// With the network's code of it: what it begins as, and so where it lives.
    pub fn state_init(&self, code: Cell) -> Result<StateInit, CellError> {
        Ok(StateInit { code, data: self.to_cell()? })
    }
}

/// A worker's contract: `owner | proxy | proxy's key | state u2 | tokens u64 | reference to parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerData {
    /// Who is paid.
    pub owner: Address,
    /// The proxy's contract.
    pub proxy: Address,
    /// The key that signs payments, Ed25519.
    pub proxy_key: [u8; 32],
    /// How far it is.
    pub state: ContractState,
    /// Adjusted tokens that have been paid for.
    pub tokens: u64,
    /// Parameters without codes.
    pub params: Params,
}

impl WorkerData {
    /// What it begins as.
    pub fn initial(owner: Address, proxy: Address, proxy_key: [u8; 32], params: &Params) -> Self {
        Self { owner, proxy, proxy_key, state: ContractState::Normal, tokens: 0, params: params.without_codes() }
    }

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        CellBuilder::new()
            .address(&self.owner)
            .address(&self.proxy)
            .bytes(&self.proxy_key)
            .uint(self.state.code(), 2)
            .uint(self.tokens, 64)
            .reference(self.params.to_cell()?)
            .build()
    }

    /// Reads the cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, ParamsError> {
        let mut slice = cell.slice()?;
        let data = Self {
            owner: slice.address()?,
            proxy: slice.address()?,
            proxy_key: slice.bytes()?,
            state: ContractState::from_code(slice.uint(2)?)?,
            tokens: slice.uint(64)?,
            params: Params::from_cell(slice.reference()?)?,
        };
        slice.end()?;
        Ok(data)
    }

    /// With the network's code of it: what it begins as, and so where it lives.
    pub fn state_init(&self, code: Cell) -> Result<StateInit, CellError> {
        Ok(StateInit { code, data: self.to_cell()? })
    }

    /// Whom the worker contract at this address pays, read from its code and first data, a bag of cells. `None`: the bag is not this
    /// contract's.
    pub fn owner_of(state_init: &[u8], contract: &Address) -> Option<Address> {
        let init = StateInit::from_cell(&boc::decode(state_init).ok()?).ok()?;
        if init.address().ok()? != *contract {
            return None;
        }
        Some(Self::from_cell(&init.data).ok()?.owner)
    }
}

/// A client's contract: `state u2 | balance | stake | tokens u64 | unlock u32 | secret hash | reference to owner, proxy and its key |
/// reference to parameters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientData {
    /// Who tops up and gets refunds.
    pub owner: Address,
    /// The proxy's contract.
    pub proxy: Address,
    /// The key that signs charges, Ed25519.
    pub proxy_key: [u8; 32],
    /// How far it is.
    pub state: ContractState,
    /// What is left to be charged.
    pub balance: Nanoton,
    /// Its stake.
    pub stake: Nanoton,
    /// Adjusted tokens that have been charged.
    pub tokens_used: u64,
    /// When it may be closed, unix seconds; 0 if it is not closing.
    pub unlock_ts: u32,
    /// SHA-256 of the secret by which the client is recognised.
    pub secret_hash: [u8; 32],
    /// Parameters without codes.
    pub params: Params,
}

impl ClientData {
    /// What it begins as: its stake is the network's least one.
    pub fn initial(owner: Address, proxy: Address, proxy_key: [u8; 32], params: &Params) -> Self {
        Self {
            owner,
            proxy,
            proxy_key,
            state: ContractState::Normal,
            balance: Nanoton(0),
            stake: params.min_client_stake,
            tokens_used: 0,
            unlock_ts: 0,
            secret_hash: [0; 32],
            params: params.without_codes(),
        }
    }

    /// The cell.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let identity = CellBuilder::new().address(&self.owner).address(&self.proxy).bytes(&self.proxy_key).build()?;
        CellBuilder::new()
            .uint(self.state.code(), 2)
            .amount(self.balance)
            .amount(self.stake)
            .uint(self.tokens_used, 64)
            .uint(u64::from(self.unlock_ts), 32)
            .bytes(&self.secret_hash)
            .reference(identity)
            .reference(self.params.to_cell()?)
            .build()
    }

    /// Reads the cell.
    pub fn from_cell(cell: &Cell) -> Result<Self, ParamsError> {
        let mut slice = cell.slice()?;
        let state = ContractState::from_code(slice.uint(2)?)?;
        let (balance, stake) = (slice.amount()?, slice.amount()?);
        let (tokens_used, unlock_ts) = (slice.uint(64)?, slice.uint(32)? as u32);
        let secret_hash = slice.bytes()?;
        let mut identity = slice.reference()?.slice()?;
        let params = Params::from_cell(slice.reference()?)?;
        slice.end()?;
        let (owner, proxy, proxy_key) = (identity.address()?, identity.address()?, identity.bytes()?);
        identity.end()?;
        Ok(Self { owner, proxy, proxy_key, state, balance, stake, tokens_used, unlock_ts, secret_hash, params })
    }

    /// With the network's code of it: what it begins as, and so where it lives.
    pub fn state_init(&self, code: Cell) -> Result<StateInit, CellError> {
        Ok(StateInit { code, data: self.to_cell()? })
    }
}
