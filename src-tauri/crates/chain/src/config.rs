//! The chain's parameters that executing needs: versions, prices, limits. They are fetched, never written here.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use ton::Cell;
use tycho_executor::ParsedConfig;
use tycho_types::cell::{Cell as TychoCell, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::models::{
    BlockchainConfig, BlockchainConfigParams, WorkchainDescription, WorkchainFormat, WorkchainFormatBasic,
};

use crate::cells::{self, CellsError};

/// Numbers of the parameters that executing needs: version (8), storage prices (18), the network's id (19), gas and forward prices
/// of masterchain and basechain (20, 21, 24, 25), special accounts (31).
pub const PARAMETERS: [u32; 8] = [8, 18, 19, 20, 21, 24, 25, 31];

/// Most gas that one message may take here, whatever the parameters say. The main network's basechain allows a million.
const MOST_GAS: u64 = 10_000_000;
/// Where the configuration's own contract lives in the masterchain.
const CONFIG_ADDRESS: HashBytes = HashBytes([0x55; 32]);

/// Why parameters can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The cells can't be read.
    #[error(transparent)]
    Cells(#[from] CellsError),
    /// A parameter is missing.
    #[error("parameter {0} is missing")]
    Missing(u32),
    /// A parameter is not in a form that is known here.
    #[error("the parameters are not in a known form: {0}")]
    Form(String),
    /// A parameter allows more computing than this program would do.
    #[error("the parameters allow {0} gas for a message")]
    Gas(u64),
}

/// The chain's parameters. Clones share them.
#[derive(Clone)]
pub struct ChainConfig(Arc<Inner>);

struct Inner {
    parameters: BTreeMap<u32, TychoCell>,
    parsed: ParsedConfig,
}

impl ChainConfig {
    /// From the single parameters, which must be all of [`PARAMETERS`]; others are not looked at. `now` in Unix seconds decides which
    /// storage prices are in force.
    pub fn from_parameters(parameters: &BTreeMap<u32, Cell>, now: u32) -> Result<Self, ConfigError> {
        let mut found = BTreeMap::new();
        for number in PARAMETERS {
            let cell = parameters.get(&number).ok_or(ConfigError::Missing(number))?;
            found.insert(number, cells::to_tycho(cell)?);
        }
        Self::new(found, now)
    }

    /// From the bag of the whole dictionary.
    pub fn from_dictionary(bytes: &[u8], now: u32) -> Result<Self, ConfigError> {
        let dictionary = Dict::<u32, TychoCell>::from_raw(Some(cells::decode(bytes)?));
        let mut found = BTreeMap::new();
        for number in PARAMETERS {
            let cell = dictionary.get(number).map_err(|error| ConfigError::Form(error.to_string()))?;
            found.insert(number, cell.ok_or(ConfigError::Missing(number))?);
        }
        Self::new(found, now)
    }

    fn new(parameters: BTreeMap<u32, TychoCell>, now: u32) -> Result<Self, ConfigError> {
        let parsed = parse(&parameters, now).map_err(|error| ConfigError::Form(error.to_string()))?;
        for prices in [&parsed.gas_prices, &parsed.mc_gas_prices] {
            let gas = prices.gas_limit.max(prices.gas_credit);
            if gas > MOST_GAS {
                return Err(ConfigError::Gas(gas));
            }
        }
        Ok(Self(Arc::new(Inner { parameters, parsed })))
    }

    /// The parameters, in their own cells.
    pub fn parameters(&self) -> Result<BTreeMap<u32, Cell>, ConfigError> {
        self.0.parameters.iter().map(|(number, cell)| Ok((*number, cells::from_tycho(cell)?))).collect()
    }

    /// The network's id: -239 for the main network, -3 for the test network.
    pub fn network_id(&self) -> i32 {
        self.0.parsed.global_id
    }

    /// What the executor takes.
    pub fn parsed(&self) -> &ParsedConfig {
        &self.0.parsed
    }
}

fn parse(parameters: &BTreeMap<u32, TychoCell>, now: u32) -> Result<ParsedConfig, tycho_types::error::Error> {
    let mut dictionary = Dict::<u32, TychoCell>::new();
    for (number, cell) in parameters {
        dictionary.set(*number, cell.clone())?;
    }
    let Some(root) = dictionary.into_root() else { return Err(tycho_types::error::Error::CellUnderflow) };
    let mut params = BlockchainConfigParams::from_raw(root);
    // TON's own form of the workchains' descriptions is not known to the executor, which needs to know only that there is one.
    let mut workchains = Dict::new();
    workchains.set(0, basechain())?;
    params.set_workchains(&workchains)?;
    ParsedConfig::parse(BlockchainConfig { address: CONFIG_ADDRESS, params }, now)
}

fn basechain() -> WorkchainDescription {
    WorkchainDescription {
        enabled_since: 0,
        actual_min_split: 0,
        min_split: 0,
        max_split: 0,
        active: true,
        accept_msgs: true,
        zerostate_root_hash: HashBytes::ZERO,
        zerostate_file_hash: HashBytes::ZERO,
        version: 0,
        format: WorkchainFormat::Basic(WorkchainFormatBasic { vm_mode: 0, vm_version: 0 }),
    }
}
