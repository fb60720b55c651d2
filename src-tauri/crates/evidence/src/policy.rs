//! What a network, a proxy or an owner asks for. May not: verify anything.

use crate::{Grade, TcbStatus};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;

/// Who is let in. Stands in a network's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The grades that are accepted, each by name: a higher one is not accepted because a lower one is.
    pub accepted: BTreeSet<Grade>,
    /// Whether a known machine must have been started with Secure Boot, and show it.
    #[serde(default)]
    pub require_secure_boot: bool,
    /// What may run inside an isolated processor. None is accepted that is not here: an image nobody knows may be its owner's own.
    #[serde(default)]
    pub images: BTreeSet<ImageHash>,
    /// States of a processor's firmware that are accepted besides those without anything open.
    #[serde(default)]
    pub also_accepted_firmware: BTreeSet<TcbStatus>,
}

impl Policy {
    /// Accepts these grades and asks for nothing else.
    pub fn accepting(grades: impl IntoIterator<Item = Grade>) -> Self {
        Self {
            accepted: grades.into_iter().collect(),
            require_secure_boot: false,
            images: BTreeSet::new(),
            also_accepted_firmware: BTreeSet::new(),
        }
    }

    /// Whether firmware in this state will do. Revoked keys never do.
    pub fn takes_firmware(&self, status: TcbStatus) -> bool {
        status != TcbStatus::Revoked && (status.is_current() || self.also_accepted_firmware.contains(&status))
    }
}

impl Default for Policy {
    /// Everybody, as where nothing is asked for.
    fn default() -> Self {
        Self::accepting(Grade::ALL)
    }
}

/// What runs inside an isolated processor: one hash over its measurements, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageHash(pub [u8; 32]);

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for ImageHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for ImageHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(&text, &mut hash)
            .map_err(|_| serde::de::Error::custom("a hash of an image has 64 hexadecimal digits"))?;
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_was_written_and_a_misspelt_one_is_refused() {
        let text = format!(
            r#"{{"accepted":["known-machine","processor-isolated"],"require_secure_boot":true,"images":["{}"],"also_accepted_firmware":["out-of-date"]}}"#,
            "ab".repeat(32)
        );
        let policy: Policy = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        assert!(policy.images.contains(&ImageHash([0xab; 32])));
        for wrong in [
            r#"{"accepted":["measured-image"]}"#,
            r#"{"accepted":[],"require_secureboot":true}"#,
            r#"{"accepted":[],"images":["ab"]}"#,
            r#"{"require_secure_boot":true}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn firmware_that_is_not_current_is_taken_only_if_it_is_named_and_revoked_keys_never() {
        let mut policy = Policy::default();
        assert!(policy.takes_firmware(TcbStatus::UpToDate) && policy.takes_firmware(TcbStatus::SwHardeningNeeded));
        assert!(!policy.takes_firmware(TcbStatus::OutOfDate));
        policy.also_accepted_firmware = [TcbStatus::OutOfDate, TcbStatus::Revoked].into();
        assert!(policy.takes_firmware(TcbStatus::OutOfDate));
        assert!(!policy.takes_firmware(TcbStatus::Revoked) && !policy.takes_firmware(TcbStatus::ConfigurationNeeded));
    }
}
