//! What a network's file says that workers must prove: its field `evidence`, which genuine programs pass over.

use std::collections::BTreeSet;

use evidence::{Grade, ImageHash, Policy, TcbStatus};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Demand;

/// The most registrars that are believed.
const MOST_REGISTRARS: usize = 16;

/// What a network's file states.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// The grades that are accepted, each by name.
    pub accepted: BTreeSet<Grade>,
    /// Whether a known machine must show that it was started with Secure Boot.
    #[serde(default)]
    pub require_secure_boot: bool,
    /// What may run inside an isolated processor.
    #[serde(default)]
    pub images: BTreeSet<ImageHash>,
    /// States of a processor's firmware that are accepted besides those without anything open.
    #[serde(default)]
    pub also_accepted_firmware: BTreeSet<TcbStatus>,
    /// Who is believed about machines.
    #[serde(default, deserialize_with = "registrars")]
    pub registrars: Vec<Registrar>,
}

/// A registrar that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registrar {
    /// Where machines are registered, `host:port`.
    #[serde(default)]
    pub endpoint: String,
    /// Its Ed25519 key; in the file 64 hexadecimal digits.
    #[serde(deserialize_with = "key")]
    pub key: [u8; 32],
}

/// Why a file's statement can't be read.
#[derive(Debug, thiserror::Error)]
pub enum StatedError {
    /// It is no JSON object.
    #[error("it is no JSON object: {0}")]
    Json(serde_json::Error),
    /// The field is there and wrong.
    #[error("what it says of evidence can't be read: {0}")]
    Evidence(serde_json::Error),
}

/// Reads the statement of a network's file; `None`: it states none, so nothing is asked for.
pub fn stated(text: &str) -> Result<Option<Stated>, StatedError> {
    let mut file: Map<String, Value> = serde_json::from_str(text).map_err(StatedError::Json)?;
    file.remove("evidence").map(serde_json::from_value).transpose().map_err(StatedError::Evidence)
}

impl Stated {
    /// What [`super::examine`] is asked.
    pub fn demand(&self) -> Demand {
        Demand::Open {
            accepted: self.accepted.clone(),
            secure_boot: self.require_secure_boot,
            registrars: self.registrars.iter().map(|registrar| hex::encode(registrar.key)).collect(),
        }
    }

    /// What a verifier is told.
    pub fn policy(&self) -> Policy {
        Policy {
            accepted: self.accepted.clone(),
            require_secure_boot: self.require_secure_boot,
            images: self.images.clone(),
            also_accepted_firmware: self.also_accepted_firmware.clone(),
        }
    }
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| serde::de::Error::custom("a registrar's key has 64 hexadecimal digits"))?;
    Ok(key)
}

fn registrars<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Registrar>, D::Error> {
    let registrars = Vec::<Registrar>::deserialize(from)?;
    if registrars.len() > MOST_REGISTRARS {
        return Err(serde::de::Error::custom("at most 16 registrars"));
    }
    Ok(registrars)
}
