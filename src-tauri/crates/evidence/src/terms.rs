//! What a network's file or a proxy's configuration asks of workers: its field `evidence`, which the genuine programs pass over.
//! May not: verify anything.

use crate::Policy;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The most registrars that are believed.
const MOST_REGISTRARS: usize = 16;

/// The field's content: a policy, and beside its fields those who are believed. A misspelt one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What a verifier is told.
    pub policy: Policy,
    /// Who is believed about machines. Without one no machine is known.
    pub registrars: Vec<Registrar>,
}

/// A registrar that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registrar {
    /// Where machines enrol, `host:port`. Workers are told.
    #[serde(default)]
    pub endpoint: String,
    /// Its Ed25519 key, as it says when it starts; in the file 64 hexadecimal digits.
    #[serde(deserialize_with = "key")]
    pub key: [u8; 32],
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let registrars = fields.remove("registrars").map(serde_json::from_value::<Vec<Registrar>>).transpose();
        let registrars = registrars.map_err(D::Error::custom)?.unwrap_or_default();
        if registrars.len() > MOST_REGISTRARS {
            return Err(D::Error::custom("at most 16 registrars"));
        }
        let policy = serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)?;
        Ok(Self { policy, registrars })
    }
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| D::Error::custom("a registrar's key has 64 hexadecimal digits"))?;
    Ok(key)
}
