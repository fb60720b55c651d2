//! The part of a configuration that names a chain. The genuine programs have none: they find TON by themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::chain::toncenter::policy::Patience;
use ::chain::toncenter::{Endpoint, Settings, Toncenter};
use ::chain::{AccountStatus, Chain, ChainError};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;
use ton::{Address, Nanoton, RootConfig, RootDataError};

use super::{ConfigError, Network, NumberVisitor, read_file};
use crate::clock::random_bytes;
use crate::treasury::{customer, operator};

/// Field `chain` of a proxy's or a gateway's configuration. Amounts are nanotons; 0 or nothing stands for what is usual.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct ChainConfig {
    /// Where the chain can be asked, in order of preference.
    pub endpoints: Vec<EndpointConfig>,
    /// How many endpoints must show an account alike before money moves; usually two, one if all are on this machine.
    #[serde(deserialize_with = "number")]
    pub agreement: u64,
    /// Pause between two looks at the chain, in seconds; usually 10.
    #[serde(deserialize_with = "number")]
    pub look_seconds: u64,
    /// Proxy: a client is charged when it owes this much; usually one coin.
    #[serde(deserialize_with = "number")]
    pub charge_at: u64,
    /// Proxy: its part goes to its owner when it is this much; usually ten coins.
    #[serde(deserialize_with = "number")]
    pub withdraw_at: u64,
    /// Gateway: most that may ever leave its wallet. Must be there.
    #[serde(deserialize_with = "number")]
    pub most: u64,
    /// Gateway: put in again when less than this is left; usually half of `top_up`.
    #[serde(deserialize_with = "number")]
    pub low: u64,
    /// Gateway: how much to put in at a time; usually one stake.
    #[serde(deserialize_with = "number")]
    pub top_up: u64,
    /// Gateway: the stake of its contract, which bounds what may be used between two charges; usually the network's least.
    #[serde(deserialize_with = "number")]
    pub stake: u64,
}

/// One endpoint of toncenter's API, version 2.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// Its JSON-RPC address.
    pub url: String,
    /// A file with its API key, if it wants one.
    pub key_file: String,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = from.deserialize_any(NumberVisitor)?;
    u64::try_from(value).map_err(|_| D::Error::custom("expected a number, 0 or more"))
}

/// Why a network cannot be read from its chain.
#[derive(Debug, Error)]
pub enum RootError {
    /// The chain gave no answer.
    #[error("the chain: {0}")]
    Chain(#[from] ChainError),
    /// There is no contract.
    #[error("there is no root contract at {address} on this chain; check root_contract_address and the endpoints")]
    Absent {
        /// Where.
        address: Address,
    },
    /// It is not what a root contract holds.
    #[error("what is at {address} is no root contract of a layout that is known here: {source}")]
    Foreign {
        /// Where.
        address: Address,
        /// What is wrong with it.
        source: RootDataError,
    },
}

/// Reads a network's terms from its root contract.
pub async fn read_root(chain: &dyn Chain, address: Address) -> Result<Network, RootError> {
    let account = chain.agreed_account(address).await?;
    let (AccountStatus::Active, Some(data)) = (account.status, &account.data) else {
        return Err(RootError::Absent { address });
    };
    let root = RootConfig::from_cell(data, Some(address)).map_err(|source| RootError::Foreign { address, source })?;
    Ok(Network { root: Arc::new(root), root_contract: address, evidence: None })
}

impl ChainConfig {
    /// The client of this chain. Nothing is asked yet. `path` is only for the error.
    pub fn connect(&self, path: &Path) -> Result<Arc<dyn Chain>, ConfigError> {
        let wrong = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
        let mut endpoints = Vec::new();
        let mut here = true;
        for one in &self.endpoints {
            let key = match one.key_file.as_str() {
                "" => None,
                file => Some(read_file(&PathBuf::from(file))?),
            };
            let endpoint = Endpoint::new(&one.url, key.as_ref().map(|key| key.trim()))
                .map_err(|error| wrong(format!("chain.endpoints: {error}")))?;
            here &= matches!(endpoint.host(), "127.0.0.1" | "localhost" | "[::1]");
            endpoints.push(endpoint);
        }
        let agreement = match self.agreement {
            0 if here => 1,
            0 => 2,
            stated => usize::try_from(stated).unwrap_or(usize::MAX),
        };
        if agreement > endpoints.len() && !endpoints.is_empty() {
            let reason = format!(
                "chain: {agreement} endpoints must agree before money moves, and {} are named; name more, or lower \"agreement\"",
                endpoints.len()
            );
            return Err(wrong(reason));
        }
        let jitter = Arc::new(|| u16::from_le_bytes(random_bytes()) % 1000);
        let settings = Settings { endpoints, agreement, patience: Patience::default(), jitter };
        let client = Toncenter::new(settings).map_err(|error| wrong(format!("chain.endpoints: {error}")))?;
        Ok(Arc::new(client))
    }

    /// Pause between two looks.
    pub fn look(&self) -> Duration {
        Duration::from_secs(if self.look_seconds == 0 { 10 } else { self.look_seconds })
    }

    /// A proxy's rules.
    pub fn operator(&self) -> operator::Rules {
        let usual = operator::Rules::default();
        operator::Rules {
            charge_at: or(self.charge_at, usual.charge_at),
            withdraw_at: or(self.withdraw_at, usual.withdraw_at),
        }
    }

    /// A gateway's rules under these terms.
    pub fn customer(
        &self,
        path: &Path,
        root: &RootConfig,
        secret_hash: [u8; 32],
    ) -> Result<customer::Rules, ConfigError> {
        if self.most == 0 {
            return Err(ConfigError::Field {
                path: path.to_owned(),
                field: "chain.most",
                reason: "write how many nanotons may ever leave the gateway's wallet",
            });
        }
        let top_up = or(self.top_up, root.min_client_stake);
        Ok(customer::Rules {
            low: or(self.low, Nanoton(top_up.0 / 2)),
            top_up,
            stake: or(self.stake, root.min_client_stake),
            most: Nanoton(self.most),
            secret_hash,
        })
    }
}

fn or(stated: u64, usual: Nanoton) -> Nanoton {
    if stated == 0 { usual } else { Nanoton(stated) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ChainConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn strangers_must_agree_and_a_chain_on_this_machine_needs_no_witness() {
        let path = Path::new("gateway.json");
        let alone = read(r#"{"endpoints":[{"url":"https://one.example/api/v2/jsonRPC"}]}"#);
        let words = alone.connect(path).err().unwrap().to_string();
        assert!(words.contains("agreement"), "{words}");
        assert!(read(r#"{"endpoints":[{"url":"https://one.example/"}],"agreement":1}"#).connect(path).is_ok());
        assert!(read(r#"{"endpoints":[{"url":"http://127.0.0.1:1/api/v2/jsonRPC"}]}"#).connect(path).is_ok());
        for wrong in ["{}", r#"{"endpoints":[{"url":"http://one.example/"}]}"#, r#"{"endpoints":[{"url":""}]}"#] {
            assert!(read(wrong).connect(path).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gateway_without_a_limit_is_refused() {
        let root = RootConfig::from_json(
            r#"{"root_owner_address":"0:0000000000000000000000000000000000000000000000000000000000000001"}"#,
        )
        .unwrap();
        let path = Path::new("gateway.json");
        let words = read("{}").customer(path, &root, [0; 32]).err().unwrap().to_string();
        assert!(words.contains("chain.most"), "{words}");
        let rules = read(r#"{"most":"5000000000"}"#).customer(path, &root, [1; 32]).unwrap();
        assert_eq!(
            (rules.most, rules.top_up, rules.stake),
            (Nanoton(5_000_000_000), root.min_client_stake, root.min_client_stake)
        );
        assert_eq!(rules.low, Nanoton(root.min_client_stake.0 / 2));
    }
}
