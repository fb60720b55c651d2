//! The proof that the page Trust hands out, and what `chrysalis verify` makes of one.
//!
//! A file of JSON: what this PC claims, the evidence that it showed somebody with the question it was made for, and what it says of itself
//! besides. Only the evidence proves anything; a verifier computes the grade anew from it and believes nothing else in the file.
//! May not: open, read a clock, believe a claim.

use evidence::{Anchors, Appraisal, Binding, DecodeError, Evidence, Grade, Policy, Refusal, TOTAL_LIMIT, appraise};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The form of the file.
pub const VERSION: u32 = 1;
/// The most bytes of a file: evidence in hexadecimal digits, and room for the rest.
pub const LIMIT: usize = 2 * TOTAL_LIMIT + 64 * 1024;
/// How far the clock of whoever made it may be ahead, in seconds.
const AHEAD: u64 = 300;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// [`VERSION`].
    pub chrysalis_proof: u32,
    /// When it was made, in seconds since 1970, by the clock of the PC that made it.
    pub made_at: u64,
    /// Version of the app that made it.
    pub app: String,
    /// What the PC claims to have proved.
    pub claimed: Grade,
    /// What it has shown; `None`: nothing, so it is a claim and no more.
    pub shown: Option<ShownEvidence>,
    /// Files as it measured them.
    pub files: Vec<MeasuredFile>,
    /// The worker's box as its system's kernel described it; `None`: not read.
    pub walls: Option<Vec<WallLine>>,
}

/// Evidence, and what it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownEvidence {
    /// Evidence in its container ([`Evidence::encode`]), in hexadecimal digits.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    pub evidence: Vec<u8>,
    /// The verifier's nonce, in hexadecimal digits.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_key")]
    pub nonce: [u8; 32],
    /// The raw Ed25519 key of the TLS connection, in hexadecimal digits.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_key")]
    pub tls_key: [u8; 32],
    /// For whom a registrar's statement in it was made, in hexadecimal digits.
    #[serde(serialize_with = "write_hex", deserialize_with = "read_key")]
    pub audience: [u8; 32],
    /// When it was made, in seconds since 1970, by that PC's clock.
    pub at: u64,
}

/// A file as the PC measured it: its word, and no proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFile {
    /// Which: `app`, `worker`, `model`.
    pub what: String,
    /// Its version or name.
    pub name: Option<String>,
    /// SHA-256 in hexadecimal digits.
    pub measured: Option<String>,
    /// What it should be.
    pub expected: Option<String>,
}

/// A wall of the box as the PC says that its kernel says: its word, and no proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallLine {
    /// Which.
    pub wall: String,
    /// Whether it stands.
    pub closed: Option<bool>,
}

/// Why a file is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofFileError {
    /// Longer than any can be.
    #[error("it is larger than a proof can be ({LIMIT} bytes)")]
    TooLarge,
    /// Not in the form of a proof.
    #[error("it is no proof of Chrysalis: {0}")]
    Form(String),
    /// Of a version that is not known here.
    #[error("it is a proof of version {0}, and this program knows {VERSION}; another version of Chrysalis may read it")]
    Version(u32),
    /// What stands for evidence is none.
    #[error("the evidence in it can't be read: {0}")]
    Evidence(DecodeError),
}

/// What whoever verifies knows and trusts.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Keys of registrars that are believed.
    pub registrars: Vec<[u8; 32]>,
    /// What is accepted, and which images and firmware an isolated processor may have.
    pub policy: Policy,
    /// The nonce that was asked with, where the proof was asked for.
    pub nonce: Option<[u8; 32]>,
}

/// What a file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What it claims.
    pub claimed: Grade,
    /// What its evidence proves, or why nothing: now, where a nonce was given, else at the time that the file names.
    pub found: Result<Appraisal, Refused>,
    /// Whether the same evidence would still count now.
    pub still_counts: bool,
    /// Whether somebody's nonce is in it that was given to the verifier.
    pub fresh: bool,
}

/// Why a file's evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The verifier of evidence refuses it.
    #[error("{0}")]
    Evidence(#[from] Refusal),
    /// It was made with another nonce than the one that was asked with.
    #[error("it was made for another question than the one with this nonce")]
    AnotherNonce,
    /// It says that it was made later than now.
    #[error("it says that it was made at a time that has not come yet; is a clock wrong?")]
    Future,
}

/// What is wrong with a text, for whoever has never seen our types.
fn plainly(error: &serde_json::Error) -> String {
    let at = format!("line {}, column {}", error.line(), error.column());
    let said = error.to_string();
    match error.classify() {
        serde_json::error::Category::Data if said.contains("struct ") => {
            format!("a part of it has another form ({at})")
        }
        serde_json::error::Category::Data => said,
        _ => format!("it is no JSON ({at})"),
    }
}

impl ProofFile {
    /// Reads one, within [`LIMIT`].
    pub fn read(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > LIMIT {
            return Err(ProofFileError::TooLarge);
        }
        let proof: Self = serde_json::from_slice(bytes).map_err(|error| ProofFileError::Form(plainly(&error)))?;
        if proof.chrysalis_proof != VERSION {
            return Err(ProofFileError::Version(proof.chrysalis_proof));
        }
        proof.evidence()?;
        Ok(proof)
    }

    /// Writes it. The same proof is the same text.
    pub fn to_json(&self) -> String {
        // There are no maps with keys that are no text, so this always serialises.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Computes anew what it proves.
    pub fn verify(&self, verifier: &Verifier) -> Result<Findings, ProofFileError> {
        let evidence = self.evidence()?;
        let judged = |at: u64| -> Result<Appraisal, Refused> {
            let (binding, audience) = match &self.shown {
                Some(shown) => (Binding { nonce: shown.nonce, tls_key: shown.tls_key }, shown.audience),
                None => (Binding { nonce: [0; 32], tls_key: [0; 32] }, [0; 32]),
            };
            let anchors = Anchors { registrars: verifier.registrars.clone(), audience };
            Ok(appraise(&evidence, &binding, at, &anchors, &verifier.policy)?)
        };
        let at = self.shown.as_ref().map_or(self.made_at, |shown| shown.at);
        // What answers a question of now is judged as of now: the time in the file is its maker's word, and so could be one at which an
        // expired statement, or firmware that is known to be broken, still counted.
        let judged_at = if verifier.nonce.is_some() { verifier.now } else { at };
        let asked_otherwise =
            verifier.nonce.is_some_and(|nonce| self.shown.as_ref().is_none_or(|shown| shown.nonce != nonce));
        let found = if asked_otherwise {
            Err(Refused::AnotherNonce)
        } else if at > verifier.now.saturating_add(AHEAD) {
            Err(Refused::Future)
        } else {
            judged(judged_at)
        };
        let still_counts = found.is_ok() && judged(verifier.now) == found;
        Ok(Findings { claimed: self.claimed, found, still_counts, fresh: verifier.nonce.is_some() && !asked_otherwise })
    }

    fn evidence(&self) -> Result<Evidence, ProofFileError> {
        match &self.shown {
            None => Ok(Evidence::SelfClaim),
            Some(shown) => Evidence::decode(&shown.evidence).map_err(ProofFileError::Evidence),
        }
    }
}

impl Findings {
    /// Whether it proves what it claims, or more, and does so now.
    pub fn is_as_claimed(&self) -> bool {
        self.still_counts && self.found.as_ref().is_ok_and(|appraisal| appraisal.grade >= self.claimed)
    }

    /// What it proves, sentence by sentence: never more than the wording of the grade that was found.
    pub fn proves(&self) -> Vec<String> {
        let Ok(Appraisal { grade, facts }) = &self.found else { return Vec::new() };
        let mut said = vec![grade.wording().proves.to_owned()];
        let secure_boot = match facts.secure_boot {
            Some(true) => Some("The boot log says that it was started with Secure Boot on."),
            Some(false) => Some("The boot log says that it was started with Secure Boot off."),
            None => None,
        };
        said.extend(secure_boot.map(str::to_owned));
        said.extend(facts.vendor.as_ref().map(|vendor| format!("The chip's or processor's maker: {vendor}.")));
        said.extend(facts.machine.as_ref().map(|machine| format!("The machine's number there: {machine}.")));
        said.extend(facts.image.as_ref().map(|image| format!("What runs inside: the image {image}.")));
        said
    }

    /// What it does not prove.
    pub fn does_not_prove(&self) -> Vec<String> {
        let grade = self.found.as_ref().map_or(Grade::SelfClaim, |appraisal| appraisal.grade);
        let wording = grade.wording();
        let mut said = vec![wording.does_not_prove.to_owned(), wording.who_can_read.to_owned()];
        if !self.fresh {
            said.push("When it was made: a file can be shown again later. Ask with a nonce of your own and give it as --nonce.".to_owned());
        }
        said.push(
            "Versions, hashes of files and the box, which are in the file too: they are that computer's word."
                .to_owned(),
        );
        said
    }
}

fn write_hex<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn read_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn read_key<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
    let mut key = [0; 32];
    hex::decode_to_slice(String::deserialize(from)?, &mut key).map_err(serde::de::Error::custom)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn verifier() -> Verifier {
        Verifier { now: NOW, registrars: Vec::new(), policy: Policy::default(), nonce: None }
    }

    fn claim(claimed: Grade, evidence: Option<Evidence>) -> ProofFile {
        let shown = evidence.map(|evidence| ShownEvidence {
            evidence: evidence.encode(),
            nonce: [1; 32],
            tls_key: [2; 32],
            audience: [3; 32],
            at: NOW - 60,
        });
        let files = vec![MeasuredFile {
            what: "model".to_owned(),
            name: None,
            measured: Some("ab".to_owned()),
            expected: None,
        }];
        ProofFile {
            chrysalis_proof: VERSION,
            made_at: NOW - 60,
            app: "0.1.0".to_owned(),
            claimed,
            shown,
            files,
            walls: None,
        }
    }

    #[test]
    fn what_is_no_proof_is_said_without_words_of_ours() {
        for text in
            ["", "[[[[[", "[1,2]", "7", "{", r#"{"chrysalis_proof":1,"shown":[1]}"#, r#"{"chrysalis_proof":{}}"#]
        {
            let said = ProofFile::read(text.as_bytes()).unwrap_err().to_string();
            assert!(said.starts_with("it is no proof of Chrysalis: "), "{said}");
            assert!(!said.contains("struct") && !said.contains("ProofFile") && !said.contains("Shown"), "{said}");
        }
    }

    #[test]
    fn a_proof_is_read_as_it_was_written() {
        for evidence in [None, Some(Evidence::SelfClaim)] {
            let proof = claim(Grade::SelfClaim, evidence);
            assert_eq!(ProofFile::read(proof.to_json().as_bytes()).unwrap(), proof);
        }
    }

    #[test]
    fn a_claim_without_evidence_proves_nothing_whatever_it_claims() {
        for claimed in Grade::ALL {
            for evidence in [None, Some(Evidence::SelfClaim)] {
                let found = claim(claimed, evidence).verify(&verifier()).unwrap();
                assert_eq!(found.found.as_ref().unwrap().grade, Grade::SelfClaim);
                assert_eq!(found.is_as_claimed(), claimed == Grade::SelfClaim, "{claimed}");
                assert_eq!(found.proves(), [Grade::SelfClaim.wording().proves]);
                assert!(
                    found
                        .does_not_prove()
                        .concat()
                        .contains("The owner of this computer can read and change everything")
                );
            }
        }
    }

    #[test]
    fn an_old_proof_with_another_nonce_or_from_the_future_is_refused() {
        let proof = claim(Grade::SelfClaim, Some(Evidence::SelfClaim));
        let asked = |nonce| proof.verify(&Verifier { nonce, ..verifier() }).unwrap();
        assert!(asked(Some([1; 32])).fresh && asked(Some([1; 32])).is_as_claimed());
        assert_eq!(asked(Some([9; 32])).found, Err(Refused::AnotherNonce));
        assert!(!asked(None).fresh);
        let early = proof.verify(&Verifier { now: NOW - 3_600, ..verifier() }).unwrap();
        assert_eq!(early.found, Err(Refused::Future));
        assert!(!early.is_as_claimed() && early.proves().is_empty());
        // Nothing shown is no answer to a question.
        let silent = claim(Grade::SelfClaim, None).verify(&Verifier { nonce: Some([0; 32]), ..verifier() }).unwrap();
        assert_eq!(silent.found, Err(Refused::AnotherNonce));
    }

    #[test]
    fn what_is_no_proof_is_refused_by_name_and_costs_no_more_than_its_length() {
        let good = claim(Grade::SelfClaim, Some(Evidence::SelfClaim)).to_json();
        let refused = |text: &str| ProofFile::read(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("").contains("no proof of Chrysalis"));
        assert!(refused("[[[[").contains("no proof of Chrysalis"));
        assert!(refused(&good.replace("\"app\"", "\"apq\"")).contains("apq"));
        assert!(refused(&good.replace("self-claim", "measured-image")).contains("measured-image"));
        assert!(refused(&good.replace("\"chrysalis_proof\": 1", "\"chrysalis_proof\": 2")).contains("version 2"));
        let evidence = hex::encode(Evidence::SelfClaim.encode());
        assert!(refused(&good.replace(&evidence, "ffff")).contains("evidence in it can't be read"));
        assert!(refused(&good.replace(&evidence, "f")).contains("no proof of Chrysalis"));
        assert!(refused(&good.replace(&"01".repeat(32), "01")).contains("no proof of Chrysalis"));
        assert!(refused(&" ".repeat(LIMIT + 1)).contains("larger than a proof can be"));
        assert!(refused(&"[".repeat(100_000)).contains("no proof of Chrysalis"));
        for cut in 0..good.len() {
            assert!(ProofFile::read(&good.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }
}
