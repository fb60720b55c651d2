//! Configuration files with the field names of the genuine runners (`proxyRunner.config`, `clientRunner.config`), and the network file.
//!
//! The genuine parser is lenient, and people share such files: numbers may be strings, booleans may be `true`, `1` or `"1"`, missing
//! fields are zero, false or empty, fields nobody knows are ignored. Keys are base64 of 32 bytes.

pub mod chain;
pub mod evidence;

use std::fmt;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::evidence::Terms;
use base64::Engine as _;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use thiserror::Error;
use ton::{Address, AddressText, RootConfig};
use zeroize::Zeroizing;

use chain::ChainConfig;
use evidence::Showing;

const NO_WALLET: &str = "with a chain a wallet is needed: write the base64 of its 32-byte seed";
/// Larger files are not configuration.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Why a configuration was not taken.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check the path and that you may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{} is larger than 4 MiB: that is no configuration file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, without quoting values.
        reason: String,
    },
    /// A field holds something that cannot be used.
    #[error("{}: {field}: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What to write there.
        reason: &'static str,
    },
}

/// A 32-byte secret out of a configuration file. Wiped when dropped; has no `Debug`.
#[derive(Clone, Default)]
pub struct Secret(Option<Zeroizing<[u8; 32]>>);

impl Secret {
    /// The bytes, if the file had any.
    pub fn bytes(&self) -> Option<&Zeroizing<[u8; 32]>> {
        self.0.as_ref()
    }

    /// A secret made here rather than read.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Some(bytes))
    }
}

/// A proxy's configuration, `proxyRunner.config`. Has no `Debug`: keys are in it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct ProxyConfig {
    /// Test network? Must be what the network file says.
    #[serde(deserialize_with = "flag")]
    pub is_test: bool,
    /// Addresses in testnet form?
    #[serde(deserialize_with = "flag")]
    pub is_testnet: bool,
    /// Port that workers dial; 0: any free one.
    #[serde(deserialize_with = "port")]
    pub workers_rpc_port: u16,
    /// Port that clients dial; 0: any free one.
    #[serde(deserialize_with = "port")]
    pub client_rpc_port: u16,
    /// Port of the stats page on loopback; 0: no page.
    #[serde(deserialize_with = "port")]
    pub http_port: u16,
    /// Who owns the proxy.
    pub owner_address: String,
    /// The root contract.
    pub root_contract_address: String,
    /// Seed of the key that signs payments.
    #[serde(deserialize_with = "secret")]
    pub machine_specific_private_key: Secret,
    /// Seed of the proxy's own wallet.
    #[serde(deserialize_with = "secret")]
    pub node_wallet_key: Secret,
    /// Demand that image and model of workers stand in the root configuration?
    #[serde(deserialize_with = "flag")]
    pub check_worker_hashes: bool,
    /// If not empty, the stats page wants it as `access_hash=`.
    pub http_access_hash: String,
    /// The chain that its contract is on; without one, payments are signed and nobody's money is looked at. Ours only.
    pub chain: Option<ChainConfig>,
    /// What workers must prove; without it, what the network file says, or nothing. Ours only.
    #[serde(skip)]
    pub evidence: Option<Terms>,
    /// What it shows of itself to workers that ask. Ours only.
    pub shows: Showing,
}

/// A gateway's configuration, `clientRunner.config`. Has no `Debug`: keys are in it.
#[derive(Clone, Deserialize)]
#[serde(default)]
pub struct GatewayConfig {
    /// Test network? Must be what the network file says.
    #[serde(deserialize_with = "flag")]
    pub is_test: bool,
    /// Addresses in testnet form?
    #[serde(deserialize_with = "flag")]
    pub is_testnet: bool,
    /// Port of the HTTP server on loopback; 0: any free one.
    #[serde(deserialize_with = "port")]
    pub http_port: u16,
    /// How many proxies to keep a connection to.
    #[serde(deserialize_with = "count")]
    pub proxy_connections: u32,
    /// Who owns the gateway.
    pub owner_address: String,
    /// The root contract.
    pub root_contract_address: String,
    /// Seed of the gateway's own wallet.
    #[serde(deserialize_with = "secret")]
    pub node_wallet_key: Secret,
    /// Demand that the proxy's image stands in the root configuration?
    #[serde(deserialize_with = "flag")]
    pub check_proxy_hashes: bool,
    /// Secret that the client contract knows the SHA-256 of.
    pub secret_string: String,
    /// If not empty, the stats page wants it as `access_hash=`.
    pub http_access_hash: String,
    /// The chain that its money is on. Ours only.
    pub chain: Option<ChainConfig>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            is_test: false,
            is_testnet: false,
            http_port: 0,
            proxy_connections: 1,
            owner_address: String::new(),
            root_contract_address: String::new(),
            node_wallet_key: Secret::default(),
            check_proxy_hashes: false,
            secret_string: String::new(),
            http_access_hash: String::new(),
            chain: None,
        }
    }
}

impl ProxyConfig {
    /// Reads a file and checks what can be checked without the network file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_file(path)?;
        // Before anything else: a demand that is not in force must not hide behind another fault.
        let evidence = terms(path, &text)?;
        let config = Self { evidence, ..parse(path, &text)? };
        if config.machine_specific_private_key.bytes().is_none() {
            let reason = "write the base64 of the 32-byte seed that signs payments";
            return Err(ConfigError::Field { path: path.to_owned(), field: "machine_specific_private_key", reason });
        }
        agrees(path, (config.is_test, config.is_testnet), config.chain.as_ref(), &config.node_wallet_key)?;
        address(path, "owner_address", &config.owner_address)?;
        Ok(config)
    }
}

impl GatewayConfig {
    /// Reads a file and checks what can be checked without the network file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = parse(path, &read_file(path)?)?;
        agrees(path, (config.is_test, config.is_testnet), config.chain.as_ref(), &config.node_wallet_key)?;
        address(path, "owner_address", &config.owner_address)?;
        Ok(config)
    }
}

/// Whether a runner's configuration does not contradict itself: about test networks, and about a chain and the wallet on it.
fn agrees(
    path: &Path,
    (is_test, is_testnet): (bool, bool),
    chain: Option<&ChainConfig>,
    wallet: &Secret,
) -> Result<(), ConfigError> {
    let field = |field, reason| Err(ConfigError::Field { path: path.to_owned(), field, reason });
    if !is_test && is_testnet {
        return field("is_testnet", "a network that is no test network has no testnet addresses; set is_test to true");
    }
    if chain.is_some() && wallet.bytes().is_none() {
        return field("node_wallet_key", NO_WALLET);
    }
    Ok(())
}

/// A network: its root configuration and the address of its root contract.
#[derive(Clone)]
pub struct Network {
    /// Prices, codes, proxies.
    pub root: Arc<RootConfig>,
    /// The root contract, which every contract address is derived from.
    pub root_contract: Address,
    /// What its proxies demand of workers, if its file says so.
    pub evidence: Option<Terms>,
}

/// The part of a file that is not the genuine programs': what is demanded of workers.
fn terms(path: &Path, text: &str) -> Result<Option<Terms>, ConfigError> {
    Terms::of_file(text).map_err(|error| ConfigError::Malformed { path: path.to_owned(), reason: error.to_string() })
}

impl Network {
    /// Reads a network file; `configured` (a runner's `root_contract_address`, may be empty) wins over the address in the file.
    pub fn read(path: &Path, configured: &str) -> Result<Self, ConfigError> {
        let text = read_file(path)?;
        let root = RootConfig::from_json(&text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
        let evidence = terms(path, &text)?;
        let root_contract = if configured.trim().is_empty() {
            root.root_contract.ok_or(ConfigError::Field {
                path: path.to_owned(),
                field: "root_contract_address",
                reason: "neither the configuration nor the network file names the root contract",
            })?
        } else {
            address(path, "root_contract_address", configured)?
        };
        Ok(Self { root: Arc::new(root), root_contract, evidence })
    }

    /// The network, if it is a test network exactly when the configuration says so.
    pub fn agreeing(self, path: &Path, is_test: bool) -> Result<Self, ConfigError> {
        if self.root.is_test == is_test {
            return Ok(self);
        }
        Err(ConfigError::Field {
            path: path.to_owned(),
            field: "is_test",
            reason: "configuration and network file disagree whether this is a test network; set is_test alike in both",
        })
    }
}

/// Reads an address in any form. `field` and `path` are only for the error.
pub fn address(path: &Path, field: &'static str, text: &str) -> Result<Address, ConfigError> {
    AddressText::parse(text.trim()).map(|parsed| parsed.address).map_err(|_| ConfigError::Field {
        path: path.to_owned(),
        field,
        reason: "not a TON address; write it as a wallet shows it (48 characters) or as workchain:hex",
    })
}

/// A whole file of text, if it is not larger than what is configured here.
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let bytes = match read_bytes(path, LARGEST_FILE) {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            return Err(ConfigError::TooLarge { path: path.to_owned() });
        }
        other => other.map_err(unreadable)?,
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| unreadable(Error::new(ErrorKind::InvalidData, error)))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A file that somebody named, whatever it says of its length: no more than `most` bytes of it are read. What is no file, a device or a pipe
/// that nobody writes to, is refused before it can make anybody wait.
pub(crate) fn read_bytes(path: &Path, most: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no ordinary file"));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T, ConfigError> {
    let malformed = |reason| ConfigError::Malformed { path: path.to_owned(), reason };
    // An array would be taken for the fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("the file must hold one JSON object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| malformed(error.to_string()))
}

/// Takes a number as a number or as text.
struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a number in quotes")
    }

    fn visit_bool<E>(self, value: bool) -> Result<i64, E> {
        Ok(i64::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::custom("a number that is too large"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<i64, E> {
        match value.trim() {
            "" | "false" => Ok(0),
            "true" => Ok(1),
            text => text.parse().map_err(|_| E::custom("expected a number, or a number in quotes")),
        }
    }

    fn visit_unit<E>(self) -> Result<i64, E> {
        Ok(0)
    }
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    from.deserialize_any(NumberVisitor).map(|value| value != 0)
}

fn port<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let value = from.deserialize_any(NumberVisitor)?;
    u16::try_from(value).map_err(|_| D::Error::custom("a port is a number from 0 to 65535"))
}

fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let value = from.deserialize_any(NumberVisitor)?;
    u32::try_from(value).map_err(|_| D::Error::custom("expected a count, 0 or more"))
}

struct SecretVisitor;

impl Visitor<'_> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the base64 of 32 bytes")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Secret, E> {
        if value.is_empty() {
            return Ok(Secret::default());
        }
        let wrong = || E::custom("expected the base64 of 32 bytes");
        // One byte more than needed, so that a longer key is seen as such; nothing is left behind on the heap.
        let mut buffer = Zeroizing::new([0_u8; 36]);
        let length =
            base64::engine::general_purpose::STANDARD.decode_slice(value.trim(), &mut *buffer).map_err(|_| wrong())?;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        bytes.copy_from_slice(buffer.get(..length).filter(|it| it.len() == 32).ok_or_else(wrong)?);
        Ok(Secret(Some(bytes)))
    }

    fn visit_unit<E>(self) -> Result<Secret, E> {
        Ok(Secret::default())
    }
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    from.deserialize_any(SecretVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ml+7xELuOQtfp9q9mSWtHiSWx5aSBV6p3xCfwPmHOwY=";

    fn proxy(text: &str) -> Result<ProxyConfig, ConfigError> {
        parse(Path::new("proxy.json"), text)
    }

    #[test]
    fn a_genuine_proxy_configuration_is_read() {
        let text = format!(
            r#"{{"is_test":1,"is_testnet":false,"http_port":11000,"workers_rpc_port":"11101","client_rpc_port":11102,
            "owner_address":"x","image_hash":"ProxyProxyProxyProxyProxyProxyProxyProxyPro=","rpc_port":1,"db_path":"/tmp/x",
            "machine_specific_private_key":"{KEY}","check_worker_hashes":"1"}}"#
        );
        let config = proxy(&text).ok().unwrap();
        assert!(config.is_test && !config.is_testnet && config.check_worker_hashes);
        assert_eq!((config.workers_rpc_port, config.client_rpc_port, config.http_port), (11101, 11102, 11000));
        assert_eq!(config.machine_specific_private_key.bytes().unwrap()[0], 0x9a);
        assert!(config.node_wallet_key.bytes().is_none());
    }

    #[test]
    fn booleans_come_in_every_form_the_genuine_programs_accept() {
        for (text, wanted) in [
            ("true", true),
            ("1", true),
            ("\"1\"", true),
            ("\"true\"", true),
            ("false", false),
            ("0", false),
            ("\"0\"", false),
        ] {
            assert_eq!(proxy(&format!(r#"{{"is_test":{text}}}"#)).ok().unwrap().is_test, wanted, "{text}");
        }
        assert!(!proxy("{}").ok().unwrap().is_test);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_quoting_a_key() {
        for text in [
            r#"{"http_port":70000}"#,
            r#"{"http_port":-1}"#,
            r#"{"http_port":"many"}"#,
            r#"{"machine_specific_private_key":"c2VjcmV0"}"#,
            r#"{"machine_specific_private_key":"not base64 at all, secret"}"#,
            "[1]",
            "{",
        ] {
            let Err(error) = proxy(text) else {
                panic!("{text} was taken");
            };
            let words = error.to_string();
            assert!(!words.contains("c2VjcmV0") && !words.contains("secret"), "{words}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_or_never_begins_is_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [Path::new("/dev/zero"), &pipe] {
            let error = ProxyConfig::read(path).err().unwrap().to_string();
            assert!(error.contains("no ordinary file"), "{error}");
            assert!(Network::read(path, "").is_err());
        }
        let long = folder.path().join("long");
        std::fs::write(&long, [b' '; 9]).unwrap();
        assert!(read_bytes(&long, 8).unwrap_err().to_string().contains("longer than 8 bytes"));
        assert_eq!(*read_bytes(&long, 9).unwrap(), [b' '; 9]);
    }

    #[test]
    fn a_demand_that_is_misspelt_or_can_not_be_meant_is_refused_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        let owner = "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m";
        let both = |said: &str| {
            let text = format!(
                r#"{{"is_test":1,"owner_address":"{owner}","root_owner_address":"{owner}","root_contract_address":"{owner}",
                "machine_specific_private_key":"{KEY}"{said}}}"#
            );
            std::fs::write(&path, text).unwrap();
            (
                ProxyConfig::read(&path).map(|config| config.evidence),
                Network::read(&path, "").map(|network| network.evidence),
            )
        };
        for (said, why) in [
            (r#","evidense":{"accepted":["known-machine"]}"#, "evidense"),
            (r#","Evidence":{"accepted":["known-machine"]}"#, "Evidence"),
            (r#","evidence":null"#, "null"),
            (r#","evidence":{"accepted":[]}"#, "accepted is empty"),
        ] {
            let (proxy, network) = both(said);
            for error in [proxy.unwrap_err().to_string(), network.unwrap_err().to_string()] {
                assert!(error.contains(why) && error.contains("file.json"), "{error}");
            }
        }
        let (proxy, network) = both("");
        assert!(proxy.unwrap().is_none() && network.unwrap().is_none());
        let (proxy, network) = both(r#","evidence":{"accepted":["self-claim"]}"#);
        assert!(proxy.unwrap().is_some() && network.unwrap().is_some());
    }

    #[test]
    fn a_missing_file_is_named_with_advice() {
        let error = ProxyConfig::read(Path::new("/nowhere/proxy.json")).err().unwrap().to_string();
        assert!(error.contains("/nowhere/proxy.json") && error.contains("check the path"), "{error}");
    }

    #[test]
    fn a_proxy_without_a_key_is_told_which_field_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.json");
        std::fs::write(&path, r#"{"is_test":true,"owner_address":"UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m"}"#)
            .unwrap();
        let error = ProxyConfig::read(&path).err().unwrap().to_string();
        assert!(error.contains("machine_specific_private_key"), "{error}");
    }
}
