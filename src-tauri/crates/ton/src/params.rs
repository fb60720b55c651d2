//! The parameters of a network as its contracts hold them.

use crate::{Cell, CellBuilder, CellError, Nanoton};

/// What a field counts that a layout does not have yet: ten-thousandths, so once.
pub(crate) const MULTIPLIER: u32 = 10_000;
/// The least stake where a layout does not say.
pub(crate) const STAKE: Nanoton = Nanoton(1_000_000_000);
/// The newest layout that is known.
pub const NEWEST_STRUCT: u8 = 3;

/// Why a cell is no network's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A layout that is newer than this program.
    #[error(
        "the network's parameters have layout {version}; this program knows them up to {NEWEST_STRUCT}, a newer one may know more"
    )]
    Newer {
        /// The layout.
        version: u8,
    },
    /// The cell does not hold what it should.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// The parameters, and the codes that one of them has.
///
/// ```text
/// layout u8 | version u32 | unique id u32 | test 1 bit | price | fee | multipliers: prompt u32 (from layout 3), cached u32 (2),
/// answer u32 (3), reasoning u32 (2) | delays of proxy and client, u32 each | least stakes of proxy and client (1) |
/// codes of proxy, worker and client, each 0 or 1 and a reference
/// ```
///
/// Source: RootContractConfig.cpp of the genuine programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Layout, 0 to [`NEWEST_STRUCT`].
    pub struct_version: u8,
    /// Grows with every change.
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
    /// Code of a proxy's contract: in the root contract only.
    pub proxy_code: Option<Cell>,
    /// Code of a worker's contract: in the root contract and in proxies'.
    pub worker_code: Option<Cell>,
    /// Code of a client's contract: in the root contract and in proxies'.
    pub client_code: Option<Cell>,
}

impl Params {
    /// The cell, in the layout it says it has.
    pub fn to_cell(&self) -> Result<Cell, CellError> {
        let version = self.struct_version;
        let since = |first: u8, value: u32, builder: CellBuilder| {
            if version >= first { builder.uint(u64::from(value), 32) } else { builder }
        };
        let mut cell = CellBuilder::new()
            .uint(u64::from(version), 8)
            .uint(u64::from(self.params_version), 32)
            .uint(u64::from(self.unique_id), 32)
            .uint(u64::from(self.is_test), 1)
            .amount(self.price_per_token)
            .amount(self.worker_fee_per_token);
        cell = since(3, self.prompt_tokens_price_multiplier, cell);
        cell = since(2, self.cached_tokens_price_multiplier, cell);
        cell = since(3, self.completion_tokens_price_multiplier, cell);
        cell = since(2, self.reasoning_tokens_price_multiplier, cell);
        cell = cell.uint(u64::from(self.proxy_delay_before_close), 32);
        cell = cell.uint(u64::from(self.client_delay_before_close), 32);
        if version >= 1 {
            cell = cell.amount(self.min_proxy_stake).amount(self.min_client_stake);
        }
        for code in [&self.proxy_code, &self.worker_code, &self.client_code] {
            cell = cell.maybe_reference(code.clone());
        }
        cell.build()
    }

    /// Reads the cell. What its layout does not have is what the genuine programs take for it.
    pub fn from_cell(cell: &Cell) -> Result<Self, ParamsError> {
        let mut slice = cell.slice()?;
        let version = slice.uint(8)? as u8;
        if version > NEWEST_STRUCT {
            return Err(ParamsError::Newer { version });
        }
        let (params_version, unique_id) = (slice.uint(32)? as u32, slice.uint(32)? as u32);
        let is_test = slice.bit()?;
        let (price_per_token, worker_fee_per_token) = (slice.amount()?, slice.amount()?);
        let mut since = |first: u8| -> Result<u32, CellError> {
            if version >= first { Ok(slice.uint(32)? as u32) } else { Ok(MULTIPLIER) }
        };
        let prompt_tokens_price_multiplier = since(3)?;
        let cached_tokens_price_multiplier = since(2)?;
        let completion_tokens_price_multiplier = since(3)?;
        let reasoning_tokens_price_multiplier = since(2)?;
        let (proxy_delay_before_close, client_delay_before_close) = (slice.uint(32)? as u32, slice.uint(32)? as u32);
        let (min_proxy_stake, min_client_stake) =
            if version >= 1 { (slice.amount()?, slice.amount()?) } else { (STAKE, STAKE) };
        let mut code = || -> Result<Option<Cell>, CellError> { Ok(slice.maybe_reference()?.cloned()) };
        let (proxy_code, worker_code, client_code) = (code()?, code()?, code()?);
        slice.end()?;
        Ok(Self {
            struct_version: version,
            params_version,
            unique_id,
            is_test,
            price_per_token,
            worker_fee_per_token,
            prompt_tokens_price_multiplier,
            cached_tokens_price_multiplier,
            completion_tokens_price_multiplier,
            reasoning_tokens_price_multiplier,
            proxy_delay_before_close,
            client_delay_before_close,
            min_proxy_stake,
            min_client_stake,
            proxy_code,
            worker_code,
            client_code,
        })
    }

    /// What is in a proxy's contract: all but the proxy's own code.
    #[must_use]
    pub fn for_proxy(&self) -> Self {
        Self { proxy_code: None, ..self.clone() }
    }

    /// What is in a worker's and a client's contract: all but codes.
    #[must_use]
    pub fn without_codes(&self) -> Self {
        Self { proxy_code: None, worker_code: None, client_code: None, ..self.clone() }
    }
}
