//! A choice as it is kept: JSON of one object, because it is small and an owner may read it.

use serde::{Deserialize, Serialize};

/// Most bytes of a stored choice.
pub const MAX_BYTES: usize = 2048;
/// Most bytes of a text in one.
const MAX_TEXT: usize = 256;
/// Grows when the meaning of a field changes.
const VERSION: u32 = 2;

/// Everything that a choice depends on. Another value of any of it, and the choice is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The driver's name of the card.
    pub adapter: String,
    /// PCI number of whoever made it.
    pub vendor: u32,
    /// PCI number of the product; 0 of all whose drivers do not say.
    pub device: u32,
    /// `Vulkan` or `DX12`, or `CUDA` with the card's own number.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Hash of the kernels' sources.
    #[serde(with = "hex")]
    pub kernels: [u8; 32],
    /// SHA-256 of the model's file.
    #[serde(with = "hex")]
    pub model: [u8; 32],
}

impl Key {
    /// Whether both are of one card, whatever its driver.
    pub(crate) fn same_card(&self, other: &Self) -> bool {
        let card = |key: &Self| (key.adapter.clone(), key.vendor, key.device, key.api.clone());
        card(self) == card(other)
    }
}

/// What was measured, on the model's own matrices. Times are the best of a few rounds, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Of a step that generates one token for one sequence.
    pub step_micros: u64,
    /// Tokens of the chunk of a prompt that was read.
    pub chunk_tokens: u32,
    /// Of reading it.
    pub chunk_micros: u64,
}

/// What a typical request has: these many tokens to read, and to generate.
const TYPICAL_PROMPT: u64 = 256;
const TYPICAL_ANSWER: u64 = 128;

impl Measured {
    /// Microseconds that a typical request would take. The smaller the better.
    pub fn cost(&self) -> u64 {
        let prompt = TYPICAL_PROMPT.saturating_mul(self.chunk_micros) / u64::from(self.chunk_tokens.max(1));
        TYPICAL_ANSWER.saturating_mul(self.step_micros).saturating_add(prompt)
    }

    /// Tokens that one sequence would get in a second; `None` if nothing was measured.
    pub fn generated_per_second(&self) -> Option<f64> {
        (self.step_micros > 0).then(|| 1e6 / self.step_micros as f64)
    }

    /// Tokens of prompts that would be read in a second; `None` if nothing was measured.
    pub fn read_per_second(&self) -> Option<f64> {
        (self.chunk_micros > 0).then(|| f64::from(self.chunk_tokens) * 1e6 / self.chunk_micros as f64)
    }
}

/// How kernels are cut for a card, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// For what.
    pub key: Key,
    /// Name of the candidate that was chosen.
    pub candidate: String,
    /// What it was measured with.
    pub measured: Measured,
    /// Candidates that were measured.
    pub tried: u32,
    /// Candidates that failed the comparison with the processor, or while they were measured.
    pub failed: u32,
    /// Candidates that the card has. Where time ended before all of them were tried or failed, those were the first ones.
    pub of: u32,
}

/// Why stored bytes are no choice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than any.
    #[error("{bytes} bytes are too many")]
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Written by another version.
    #[error("it has version {found}, this program writes {VERSION}")]
    Version {
        /// Which.
        found: u64,
    },
    /// No such object.
    #[error("it is not what this program writes")]
    Form,
    /// A value that nothing of ours has.
    #[error("its {field} has a value that cannot be")]
    Value {
        /// Which.
        field: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    key: Key,
    candidate: String,
    measured: Measured,
    tried: u32,
    failed: u32,
    of: u32,
}

/// Of any version.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Choice {
    /// The bytes to keep, at most [`MAX_BYTES`] for texts of usual length.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { key, candidate, measured, tried, failed, of } = self.clone();
        let stored = Stored { version: VERSION, key, candidate, measured, tried, failed, of };
        // Nothing in it can fail to become JSON.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// What [`Self::to_bytes`] wrote, or why it is not that. Takes any bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_BYTES {
            return Err(Unreadable::TooLong { bytes: bytes.len() });
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|_| Unreadable::Form)?;
        if version != u64::from(VERSION) {
            return Err(Unreadable::Version { found: version });
        }
        let Stored { key, candidate, measured, tried, failed, of, .. } =
            serde_json::from_slice(bytes).map_err(|_| Unreadable::Form)?;
        let texts =
            [("card", &key.adapter), ("driver", &key.driver), ("interface", &key.api), ("candidate", &candidate)];
        for (field, text) in texts {
            if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(Unreadable::Value { field });
            }
        }
        if measured.step_micros == 0 || measured.chunk_micros == 0 || measured.chunk_tokens == 0 || tried == 0 {
            return Err(Unreadable::Value { field: "measurement" });
        }
        if tried.checked_add(failed).is_none_or(|seen| seen > of) {
            return Err(Unreadable::Value { field: "number of ways" });
        }
        Ok(Self { key, candidate, measured, tried, failed, of })
    }

    /// How many of the card's candidates, from the first one on, were tried or failed.
    pub(crate) fn seen(&self) -> u32 {
        self.tried.saturating_add(self.failed)
    }

    /// Whether there is nothing left to try.
    pub fn is_finished(&self) -> bool {
        self.seen() >= self.of
    }
}

/// A text as a key may hold it: what a driver says is not ours to trust.
pub(crate) fn text(text: &str) -> String {
    let mut kept = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if kept.len() + letter.len_utf8() > MAX_TEXT {
            break;
        }
        kept.push(letter);
    }
    kept
}

/// 32 bytes as 64 digits.
mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
        let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("not 64 hexadecimal digits");
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        let bytes: Vec<u8> = digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
        if digits.len() != 64 {
            return Err(wrong());
        }
        bytes.try_into().map_err(|_| wrong())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn choice() -> Choice {
        Choice {
            key: Key {
                adapter: "GeForce RTX 3060".to_owned(),
                vendor: 0x10de,
                device: 0x2503,
                api: "Vulkan".to_owned(),
                driver: "NVIDIA 550.1".to_owned(),
                kernels: [1; 32],
                model: [0xab; 32],
            },
            candidate: "w64-l64-r4".to_owned(),
            measured: Measured { step_micros: 9_000, chunk_tokens: 64, chunk_micros: 30_000 },
            tried: 5,
            failed: 1,
            of: 7,
        }
    }

    #[test]
    fn a_choice_survives_being_stored() {
        let choice = choice();
        let bytes = choice.to_bytes();
        assert!(bytes.len() < MAX_BYTES / 2, "{}", bytes.len());
        assert_eq!(Choice::from_bytes(&bytes), Ok(choice));
    }

    #[test]
    fn the_bytes_of_a_choice_are_those_of_earlier_builds() {
        let golden = concat!(
            r#"{"version":2,"key":{"adapter":"GeForce RTX 3060","vendor":4318,"device":9475,"api":"Vulkan","#,
            r#""driver":"NVIDIA 550.1","kernels":"0101010101010101010101010101010101010101010101010101010101010101","#,
            r#""model":"abababababababababababababababababababababababababababababababab"},"candidate":"w64-l64-r4","#,
            r#""measured":{"step_micros":9000,"chunk_tokens":64,"chunk_micros":30000},"tried":5,"failed":1,"of":7}"#
        );
        assert_eq!(String::from_utf8(choice().to_bytes()).unwrap(), golden);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_refused_or_a_choice() {
        let bytes = choice().to_bytes();
        for length in 0..bytes.len() {
            assert!(Choice::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            for flip in 1..=255_u8 {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(read) = Choice::from_bytes(&changed) {
                    assert!(read.candidate.len() <= MAX_TEXT && read.measured.chunk_tokens > 0);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let change = |from: &str, to: &str| {
            let text = String::from_utf8(choice().to_bytes()).unwrap();
            assert!(text.contains(from), "{from}");
            Choice::from_bytes(text.replace(from, to).as_bytes()).unwrap_err()
        };
        assert_eq!(change("\"version\":2", "\"version\":1"), Unreadable::Version { found: 1 });
        assert_eq!(change("\"version\":2", "\"version\":-1"), Unreadable::Form);
        assert_eq!(change("step_micros", "steps"), Unreadable::Form);
        assert_eq!(change("\"tried\":5", "\"tried\":5,\"more\":1"), Unreadable::Form);
        assert_eq!(change("9000", "0"), Unreadable::Value { field: "measurement" });
        assert_eq!(change("\"of\":7", "\"of\":5"), Unreadable::Value { field: "number of ways" });
        assert_eq!(change("\"tried\":5", "\"tried\":4294967295"), Unreadable::Value { field: "number of ways" });
        assert_eq!(change("NVIDIA 550.1", "a\\u0007b"), Unreadable::Value { field: "driver" });
        assert_eq!(change("w64-l64-r4", &"w".repeat(257)), Unreadable::Value { field: "candidate" });
        assert_eq!(change("0101", "01x1"), Unreadable::Form);
        let long = vec![b' '; MAX_BYTES + 1];
        assert_eq!(Choice::from_bytes(&long), Err(Unreadable::TooLong { bytes: MAX_BYTES + 1 }));
    }

    #[test]
    fn texts_of_drivers_are_cut_to_what_is_read_back() {
        let wild = format!("a\n\u{7}{}", "ö".repeat(400));
        let kept = text(&wild);
        assert!(kept.len() <= MAX_TEXT && kept.starts_with("aö"));
        let mut odd = choice();
        odd.key.driver = kept;
        assert_eq!(Choice::from_bytes(&odd.to_bytes()), Ok(odd));
    }

    #[test]
    fn the_cost_is_that_of_a_typical_request() {
        let measured = Measured { step_micros: 10_000, chunk_tokens: 64, chunk_micros: 32_000 };
        assert_eq!(measured.cost(), 128 * 10_000 + 256 * 500);
        assert_eq!(measured.generated_per_second(), Some(100.0));
        assert_eq!(measured.read_per_second(), Some(2_000.0));
        let extreme = Measured { step_micros: u64::MAX, chunk_tokens: 0, chunk_micros: u64::MAX };
        assert_eq!(extreme.cost(), u64::MAX);
    }
}
