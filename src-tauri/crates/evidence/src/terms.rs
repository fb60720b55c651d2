//! What a network's file or a proxy's configuration asks of workers: its field `evidence`, which the genuine programs pass over.
//! May not: verify anything.

use crate::{Grade, ImageHash, Policy, TcbStatus};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;

/// The most registrars that are believed.
const MOST_REGISTRARS: usize = 16;

/// The field's content. A misspelt one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The grades that are accepted, each by name.
    pub accepted: BTreeSet<Grade>,
    /// Must a known machine show that it was started with Secure Boot?
    #[serde(default)]
    pub require_secure_boot: bool,
    /// What may run inside an isolated processor, as hashes in hexadecimal. Nothing else is accepted.
    #[serde(default)]
    pub images: BTreeSet<ImageHash>,
    /// States of a processor's firmware that are accepted besides those without anything open.
    #[serde(default)]
    pub also_accepted_firmware: BTreeSet<TcbStatus>,
    /// Who is believed about machines. Without one no machine is known.
    #[serde(default, deserialize_with = "registrars")]
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

impl Terms {
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
        .map_err(|_| D::Error::custom("a registrar's key has 64 hexadecimal digits"))?;
    Ok(key)
}

fn registrars<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Registrar>, D::Error> {
    let registrars = Vec::<Registrar>::deserialize(from)?;
    if registrars.len() > MOST_REGISTRARS {
        return Err(D::Error::custom("at most 16 registrars"));
    }
    Ok(registrars)
}
