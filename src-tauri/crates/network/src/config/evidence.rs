//! The part of a configuration or a network file that says what workers must prove. Ours; the genuine programs pass over it.
//!
//! May not: verify anything.

use std::collections::BTreeSet;

use ::evidence::{Grade, ImageHash, Policy, TcbStatus};
use protocol::evidence::{Demands, RegistrarPlace};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The most registrars that are believed.
const MOST_REGISTRARS: usize = 16;

/// Field `evidence` of a proxy's configuration or of a network file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceConfig {
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
    pub registrars: Vec<RegistrarConfig>,
}

/// A registrar that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrarConfig {
    /// Where machines enrol, `host:port`. Workers are told.
    #[serde(default)]
    pub endpoint: String,
    /// Its key, 64 hexadecimal digits, as it says when it starts.
    #[serde(deserialize_with = "key")]
    pub key: [u8; 32],
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| D::Error::custom("a registrar's key has 64 hexadecimal digits"))?;
    Ok(key)
}

fn registrars<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RegistrarConfig>, D::Error> {
    let registrars = Vec::<RegistrarConfig>::deserialize(from)?;
    if registrars.len() > MOST_REGISTRARS {
        return Err(D::Error::custom("at most 16 registrars"));
    }
    Ok(registrars)
}

/// The number that a grade has on the wire: its place in the order, from 0.
pub fn number_of(grade: Grade) -> i32 {
    Grade::ALL.iter().zip(0..).find(|(one, _)| **one == grade).map_or(0, |(_, number)| number)
}

/// The grade of a number on the wire.
pub fn grade_of(number: i32) -> Option<Grade> {
    usize::try_from(number).ok().and_then(|at| Grade::ALL.get(at)).copied()
}

impl EvidenceConfig {
    /// What a verifier is told.
    pub fn policy(&self) -> Policy {
        Policy {
            accepted: self.accepted.clone(),
            require_secure_boot: self.require_secure_boot,
            images: self.images.clone(),
            also_accepted_firmware: self.also_accepted_firmware.clone(),
        }
    }

    /// What workers and clients are told.
    pub fn demands(&self) -> Demands {
        let registrars = self.registrars.iter();
        Demands {
            grades: self.accepted.iter().map(|grade| number_of(*grade)).collect(),
            secure_boot: self.require_secure_boot,
            registrars: registrars.map(|one| RegistrarPlace { endpoint: one.endpoint.clone(), key: one.key }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_is_read_and_told_in_numbers() {
        let text = format!(
            r#"{{"accepted":["processor-isolated","known-machine"],"require_secure_boot":true,
            "registrars":[{{"endpoint":"registrar.example:4420","key":"{}"}}]}}"#,
            "0b".repeat(32)
        );
        let config: EvidenceConfig = serde_json::from_str(&text).unwrap();
        let place = RegistrarPlace { endpoint: "registrar.example:4420".to_owned(), key: [11; 32] };
        assert_eq!(config.demands(), Demands { grades: vec![2, 3], secure_boot: true, registrars: vec![place] });
        assert_eq!(config.policy().accepted, [Grade::KnownMachine, Grade::ProcessorIsolated].into());
        for grade in Grade::ALL {
            assert_eq!(grade_of(number_of(grade)), Some(grade));
        }
        assert_eq!((grade_of(-1), grade_of(5)), (None, None));
    }

    #[test]
    fn a_misspelt_demand_is_no_demand_at_all() {
        let key = "0b".repeat(32);
        for wrong in [
            r#"{"accepted":["known machine"]}"#.to_owned(),
            r#"{"require_secure_boot":true}"#.to_owned(),
            r#"{"accepted":[],"require_secureboot":true}"#.to_owned(),
            r#"{"accepted":[],"registrars":[{"key":"0b"}]}"#.to_owned(),
            format!(r#"{{"accepted":[],"registrars":[{}]}}"#, vec![format!(r#"{{"key":"{key}"}}"#); 17].join(",")),
        ] {
            assert!(serde_json::from_str::<EvidenceConfig>(&wrong).is_err(), "{wrong}");
        }
    }
}
