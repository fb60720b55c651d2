//! What a network's file or a proxy's configuration asks of workers: its field `evidence`, which the genuine programs pass over.
//! May not: verify anything.

use crate::{Grade, Policy};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The field's name.
const FIELD: &str = "evidence";
/// A name that differs by no more letters is taken for a misspelt [`FIELD`].
const NEAR: usize = 2;
/// The longest name that is compared.
const LONGEST_NAME: usize = 16;

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
    /// Where machines enrol, `host:port`; may be empty. Workers are told.
    #[serde(default, deserialize_with = "endpoint")]
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
        let policy: Policy = serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)?;
        if policy.accepted.is_empty() {
            return Err(D::Error::custom(
                "accepted is empty, so no worker would ever get a job; name the grades that get jobs",
            ));
        }
        Ok(Self { policy, registrars })
    }
}

/// Why what a file says of evidence is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// No JSON object.
    #[error("it is no JSON object: {0}")]
    Json(serde_json::Error),
    /// A name that is nearly the field's.
    #[error("it has a field {0}, which asks for nothing; is {FIELD} meant?")]
    Misspelt(String),
    /// Nothing in the place of a demand.
    #[error("{FIELD} is null, which demands nothing; leave it out, or say what is accepted")]
    Null,
    /// Something else than a demand.
    #[error("what it says of {FIELD} can't be read: {0}")]
    Content(serde_json::Error),
}

impl Terms {
    /// Out of a network's file or a proxy's configuration; `None`: it asks for nothing. A demand that can't be meant is refused, and so is one
    /// under a misspelt name: whoever wrote it believes that it is in force.
    pub fn of_file(text: &str) -> Result<Option<Self>, TermsError> {
        let found: Found = serde_json::from_str(text).map_err(TermsError::Json)?;
        if let Some(name) = found.misspelt {
            // A stranger's word, on a terminal.
            return Err(TermsError::Misspelt(name.escape_debug().to_string()));
        }
        match found.said {
            None => Ok(None),
            Some(Value::Null) => Err(TermsError::Null),
            Some(said) => serde_json::from_value(said).map(Some).map_err(TermsError::Content),
        }
    }

    /// Why nobody can fulfil this today, if so.
    pub fn shut_out(&self) -> Option<&'static str> {
        let known = |grade: &Grade| matches!(grade, Grade::KnownMachine | Grade::KnownMachineUncertified);
        let accepted = &self.policy.accepted;
        if accepted.iter().all(|grade| *grade == Grade::HardwareIsolated) {
            return Some("only hardware-isolated is accepted, which no worker can prove yet, so nobody gets a job");
        }
        if self.registrars.is_empty() && accepted.iter().any(known) {
            return Some("known machines are accepted and no registrar is believed, so none can be known");
        }
        (accepted.contains(&Grade::ProcessorIsolated) && self.policy.images.is_empty()).then_some(
            "isolated processors are accepted and no image is named that may run inside, so none is accepted",
        )
    }
}

/// What of a file is looked at. Nothing else of it is kept: keys may be in it.
#[derive(Default)]
struct Found {
    said: Option<Value>,
    misspelt: Option<String>,
}

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(name) = fields.next_key::<String>()? {
            if name == FIELD {
                if found.said.replace(fields.next_value()?).is_some() {
                    return Err(A::Error::custom("evidence is there twice"));
                }
                continue;
            }
            fields.next_value::<IgnoredAny>()?;
            if is_near(&name) {
                found.misspelt.get_or_insert(name);
            }
        }
        Ok(found)
    }
}

/// What is demanded, in one line.
impl std::fmt::Display for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let grades: Vec<&str> = self.policy.accepted.iter().map(|grade| grade.name()).collect();
        f.write_str(&grades.join(" or "))?;
        if self.policy.require_secure_boot {
            f.write_str(", with Secure Boot")?;
        }
        for (at, registrar) in self.registrars.iter().enumerate() {
            f.write_str(if at == 0 { ", by the registrar " } else { " or " })?;
            if !registrar.endpoint.is_empty() {
                write!(f, "{} with the key ", registrar.endpoint)?;
            }
            f.write_str(&hex::encode(registrar.key))?;
        }
        Ok(())
    }
}

/// Whether a text names a host and a port, as `registrar.example:4420`, `192.0.2.7:4420` or `[2001:db8::7]:4420`.
pub fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|sign| sign.is_alphanumeric() || matches!(sign, '.' | '-' | '_')),
    };
    let digits = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    host_fits && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether somebody who wrote this meant [`FIELD`].
fn is_near(name: &str) -> bool {
    let name: Vec<char> = name.trim().to_lowercase().chars().take(LONGEST_NAME).collect();
    let field: Vec<char> = FIELD.chars().collect();
    // Letters to change, leave out or add; the row of each letter of the name from the row before.
    let mut row: Vec<usize> = (0..=field.len()).collect();
    for (at, letter) in name.iter().enumerate() {
        let mut next = vec![at + 1];
        for (wanted, window) in field.iter().zip(row.windows(2)) {
            let [before, above] = window else { continue };
            let (changed, added) = (before + usize::from(wanted != letter), above + 1);
            let left_out = next.last().map_or(usize::MAX, |last| last + 1);
            next.push(changed.min(added).min(left_out));
        }
        row = next;
    }
    row.last().is_some_and(|distance| *distance <= NEAR)
}

fn endpoint<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() || is_place(&text) {
        return Ok(text);
    }
    Err(D::Error::custom("a registrar's endpoint is HOST:PORT, as registrar.example:4420"))
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(from)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| D::Error::custom("a registrar's key has 64 hexadecimal digits"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(text: &str) -> Result<Option<Terms>, TermsError> {
        Terms::of_file(text)
    }

    #[test]
    fn a_demand_under_a_misspelt_name_is_refused_by_that_name() {
        for name in ["evidense", "Evidence", "EVIDENCE", "evidence ", "evidnce", "evidences", "evidance", "evidenz"] {
            let error = among(&format!(r#"{{"{name}":{{"accepted":["known-machine"]}}}}"#)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("is evidence meant?"), "{error}");
        }
        // Fields of the genuine programs and of ours are other words.
        for name in ["version", "is_test", "shows", "chain", "e", "", "proxy_hashes", "evidently_not_this"] {
            assert!(among(&format!(r#"{{"{name}":1}}"#)).unwrap().is_none(), "{name}");
        }
    }

    #[test]
    fn a_demand_that_can_not_be_meant_is_refused() {
        let key = "0b".repeat(32);
        for (said, why) in [
            ("null".to_owned(), "is null"),
            ("7".to_owned(), "can't be read"),
            (r#"{"accepted":[]}"#.to_owned(), "accepted is empty"),
            (
                format!(r#"{{"accepted":["known-machine"],"registrars":[{{"endpoint":"x","key":"{key}"}}]}}"#),
                "HOST:PORT",
            ),
        ] {
            let error = among(&format!(r#"{{"evidence":{said}}}"#)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let twice = r#"{"evidence":{"accepted":["known-machine"]},"evidence":{"accepted":["self-claim"]}}"#;
        assert!(among(twice).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for text in
            ["registrar.example:4420", "192.0.2.7:1", "localhost:65535", "[2001:db8::7]:4420", "b\u{fc}cher.example:1"]
        {
            assert!(is_place(text), "{text}");
        }
        for text in [
            "",
            "x",
            "nohost",
            ":4420",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "2001:db8::7:4420",
            "http://a:1",
            "[x]:1",
        ] {
            assert!(!is_place(text), "{text}");
        }
    }

    #[test]
    fn what_is_demanded_is_said_in_one_line_and_whether_anybody_can_fulfil_it() {
        let terms = |said: &str| among(&format!(r#"{{"evidence":{said}}}"#)).unwrap().unwrap();
        let key = "0b".repeat(32);
        let usual = terms(&format!(
            r#"{{"accepted":["known-machine"],"require_secure_boot":true,"registrars":[{{"endpoint":"a.example:1","key":"{key}"}},{{"key":"{key}"}}]}}"#
        ));
        assert_eq!(
            usual.to_string(),
            format!("known-machine, with Secure Boot, by the registrar a.example:1 with the key {key} or {key}")
        );
        assert_eq!(usual.shut_out(), None);
        let nobody = |said: &str| terms(said).shut_out().unwrap_or_default();
        assert!(nobody(r#"{"accepted":["hardware-isolated"]}"#).contains("nobody gets a job"));
        assert!(nobody(r#"{"accepted":["known-machine"]}"#).contains("no registrar is believed"));
        assert!(nobody(r#"{"accepted":["processor-isolated"]}"#).contains("no image is named"));
        assert_eq!(nobody(r#"{"accepted":["self-claim","hardware-isolated"]}"#), "");
    }
}
