//! Signed notes (c2sp.org/signed-note): text, an empty line, and lines with signatures. Of the kinds of signature only Ed25519 (type
//! `0x01`) is known here; others are unknown signers' and are ignored.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::text::{from_base64, to_base64};

/// Longest note that is read, in bytes. Sixteen signatures of the longest kind, which is what a reader must take, are less than half.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// Most signatures of a note that is read.
pub const MAX_SIGNATURES: usize = 64;

/// Before each signature: an em dash and a space.
const DASH: &str = "\u{2014} ";
/// What a signer's key begins with.
const SECRET: &str = "PRIVATE+KEY+";
/// The type of Ed25519.
const ED25519: u8 = 1;
/// Longest name of a key, in bytes; the format has no bound of its own.
const MAX_NAME: usize = 256;

/// What is wrong with a note or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// No text with signatures behind an empty line.
    #[error("this is no signed note: {0}")]
    Malformed(&'static str),
    /// Too long, or too many signatures.
    #[error("this note is too long")]
    TooLong,
    /// A signer we know has not signed this text.
    #[error("the signature of {0} is wrong")]
    WrongSignature(String),
    /// Nobody we know has signed it.
    #[error("none of the expected keys has signed it")]
    UnknownSigners,
    /// The text is no verifier's or signer's key.
    #[error("this is no key of a signed note: {0}")]
    Key(&'static str),
}

/// A public key with the name of whoever signs, written `name+id+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads `name+id+key`: the id as eight digits of hex, type and key as Base 64.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it is not name+id+key"));
        };
        let key = key_bytes(key)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Key("it is no point of Ed25519"))?;
        let read = Self::new(name, key)?;
        // Written back, because an id has one spelling.
        if id == format!("{:08x}", read.id) { Ok(read) } else { Err(NoteError::Key("its id is another key's")) }
    }

    fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Key("its name is empty, too long, or has spaces or a plus"));
        }
        let id =
            Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
        let id = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// Who signs with it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that stands in its signatures.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// As [`VerifierKey::parse`] reads it.
    pub fn to_text(&self) -> String {
        let key = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        format!("{}+{:08x}+{}", self.name, self.id, to_base64(&key))
    }

    fn verify(&self, text: &str, signature: &[u8]) -> bool {
        let signature = signature.try_into().map(|bytes: [u8; 64]| Signature::from_bytes(&bytes));
        signature.is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

/// A private key with its owner's name. Never printed, wiped when dropped.
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// Of 32 bytes that nobody can guess.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self { verifier: VerifierKey::new(name, key.verifying_key())?, key })
    }

    /// Reads what [`SignerKey::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest = text.strip_prefix(SECRET).ok_or(NoteError::Key("a signer's key begins with PRIVATE+KEY+"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(seed)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it is not PRIVATE+KEY+name+id+key"));
        };
        let seed = Zeroizing::new(key_bytes(seed)?);
        let read = Self::from_seed(name, &seed)?;
        if id == format!("{:08x}", read.verifier.id) {
            Ok(read)
        } else {
            Err(NoteError::Key("its id is another key's"))
        }
    }

    /// The secret, for the file its owner keeps.
    pub fn to_text(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new([&[ED25519], self.key.as_bytes().as_slice()].concat());
        let seed = Zeroizing::new(to_base64(&seed));
        Zeroizing::new(format!("{SECRET}{}+{:08x}+{}", self.verifier.name, self.verifier.id, *seed))
    }

    /// What others check its signatures with.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text with one signature. The same text and key give the same note.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        let signature =
            [self.verifier.id.to_be_bytes().as_slice(), &self.key.sign(text.as_bytes()).to_bytes()].concat();
        let note = format!("{text}\n{DASH}{} {}\n", self.verifier.name, to_base64(&signature));
        // Neither an empty line at the end of the text nor a control character would be read back.
        match Note::parse(note.as_bytes()) {
            Ok(read) if read.text == text => Ok(note),
            _ => Err(NoteError::Malformed("this text can't be signed")),
        }
    }
}

/// A note as it was read. Its text means nothing before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

/// A line with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature<'a> {
    /// The key's name.
    pub name: &'a str,
    /// The key's number.
    pub id: u32,
    /// The rest: for Ed25519, 64 bytes.
    pub signature: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Reads text and signatures; looks at no signature.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("it is not UTF-8"))?;
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(NoteError::Malformed("it has control characters"));
        }
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed("it has no empty line"))?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed("its last line has no end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooLong);
            }
            signatures.push(signature(line).ok_or(NoteError::Malformed("a line below the text is no signature"))?);
        }
        Ok(Self { text, signatures })
    }

    /// The text if at least one of these keys has signed it and none of them wrongly; what others signed is ignored.
    pub fn verify(&self, keys: &[&VerifierKey]) -> Result<&'a str, NoteError> {
        let mut signed = false;
        for signature in &self.signatures {
            let known = keys.iter().filter(|key| key.name == signature.name && key.id == signature.id);
            for key in known {
                if !key.verify(self.text, &signature.signature) {
                    return Err(NoteError::WrongSignature(key.name.clone()));
                }
                signed = true;
            }
        }
        if signed { Ok(self.text) } else { Err(NoteError::UnknownSigners) }
    }

    /// The text, whoever may have written it.
    pub fn unverified_text(&self) -> &'a str {
        self.text
    }

    /// All signatures, right or wrong.
    pub fn signatures(&self) -> &[NoteSignature<'a>] {
        &self.signatures
    }

    /// The same note again.
    pub fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for NoteSignature { name, id, signature } in &self.signatures {
            let bytes = [id.to_be_bytes().as_slice(), signature].concat();
            note.extend([DASH, name, " ", &to_base64(&bytes), "\n"]);
        }
        note
    }
}

fn signature(line: &str) -> Option<NoteSignature<'_>> {
    let (name, bytes) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = from_base64(bytes)?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (is_name(name) && !signature.is_empty()).then(|| NoteSignature {
        name,
        id: u32::from_be_bytes(*id),
        signature: signature.to_vec(),
    })
}

fn is_name(name: &str) -> bool {
    let stays = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '+';
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(stays)
}

/// The 32 bytes behind the type of Ed25519.
fn key_bytes(text: &str) -> Result<[u8; 32], NoteError> {
    // 44 characters are 33 bytes; nothing longer is decoded.
    let bytes = if text.len() == 44 { from_base64(text).map(Zeroizing::new) } else { None };
    match bytes.as_ref().and_then(|bytes| bytes.split_first()) {
        Some((&ED25519, key)) => key.try_into().map_err(|_| NoteError::Key("it has not 32 bytes")),
        Some(_) => Err(NoteError::Key("it is not of type Ed25519")),
        None => Err(NoteError::Key("it is not 33 bytes of Base 64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key and a note of the tests of Go's `sumdb/note`.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const BY_PETER: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const BY_ENOCH: &str =
        "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";
    /// The note that stands in c2sp.org/signed-note. Its key is not there.
    const POEM: &str = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

    fn verified(note: &str, keys: &[&str]) -> Result<String, NoteError> {
        let keys: Vec<VerifierKey> = keys.iter().map(|key| VerifierKey::parse(key).unwrap()).collect();
        let keys: Vec<&VerifierKey> = keys.iter().collect();
        Note::parse(note.as_bytes())?.verify(&keys).map(str::to_owned)
    }

    fn new_key(name: &str) -> SignerKey {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        SignerKey::from_seed(name, &seed).unwrap()
    }

    #[test]
    fn notes_that_others_signed_are_verified() {
        let both = format!("{TEXT}\n{BY_PETER}{BY_ENOCH}");
        for keys in [&[PETER][..], &[ENOCH], &[PETER, ENOCH]] {
            assert_eq!(verified(&both, keys).unwrap(), TEXT);
        }
        assert_eq!(Note::parse(both.as_bytes()).unwrap().to_text(), both);
        // What stands between is no part of the text's end, and an empty line within stays.
        let poem = Note::parse(POEM.as_bytes()).unwrap();
        assert!(poem.unverified_text().ends_with("sole:\n\ned è subito sera.\n"), "{poem:?}");
        assert_eq!(
            (poem.signatures()[0].name, poem.signatures()[0].signature.len()),
            ("quasimodo.example/salvatore", 64)
        );
        assert_eq!(poem.verify(&[]), Err(NoteError::UnknownSigners));
    }

    #[test]
    fn unknown_signers_are_ignored_and_a_known_one_who_signed_wrongly_is_not() {
        let other = BY_PETER.replace("PeterNeumann", "CarmenSandiego");
        assert_eq!(verified(&format!("{TEXT}\n{other}{BY_ENOCH}"), &[PETER, ENOCH]).unwrap(), TEXT);
        assert_eq!(verified(&format!("{TEXT}\n{other}"), &[PETER, ENOCH]), Err(NoteError::UnknownSigners));
        // The same name with another number is another key.
        let other = BY_PETER.replace("x08g", "xxxx");
        assert_eq!(verified(&format!("{TEXT}\n{other}"), &[PETER]), Err(NoteError::UnknownSigners));
        // One good signature does not make up for a wrong one, wherever it stands.
        let wrong = BY_PETER.replace("/ZJk", "/ZJl");
        let refused = Err(NoteError::WrongSignature("PeterNeumann".to_owned()));
        for lines in [format!("{wrong}{BY_ENOCH}"), format!("{BY_ENOCH}{wrong}"), format!("{BY_PETER}{wrong}")] {
            assert_eq!(verified(&format!("{TEXT}\n{lines}"), &[PETER, ENOCH]), refused);
        }
        assert_eq!(verified(&format!("{}\n{BY_PETER}", TEXT.replace("problem", "solution")), &[PETER]), refused);
        // A signature of another length.
        let short = "— PeterNeumann x08go/Y=\n";
        assert_eq!(verified(&format!("{TEXT}\n{short}"), &[PETER]), refused);
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let cut = &BY_PETER[..BY_PETER.len() - 1];
        for note in [
            String::new(),
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}\n{cut}"),
            format!("{TEXT}{BY_PETER}"),
            format!("\u{1}{TEXT}\n{BY_PETER}"),
            format!("{TEXT}\r\n\n{BY_PETER}"),
            format!("{TEXT}\n{BY_PETER}Unexpected line.\n"),
            format!("{TEXT}\n{}", BY_PETER.replace("Neu", " Neu")),
            format!("{TEXT}\n{}", BY_PETER.replace("Neu", "+Neu")),
            format!("{TEXT}\n{}", BY_PETER.replace("Neu", "\u{2003}Neu")),
            format!("{TEXT}\n{}", BY_PETER.replace('—', "-")),
            format!("{TEXT}\n{}", BY_PETER.replace("nAM=", "nAM")),
            format!("{TEXT}\n— PeterNeumann x08gow==\n"),
        ] {
            assert!(matches!(Note::parse(note.as_bytes()), Err(NoteError::Malformed(_))), "{note:?}");
        }
        assert!(matches!(Note::parse(b"\xff\n\n"), Err(NoteError::Malformed(_))));
        let many = format!("{TEXT}\n{}", BY_ENOCH.repeat(MAX_SIGNATURES));
        assert!(Note::parse(many.as_bytes()).is_ok());
        assert_eq!(Note::parse(format!("{many}{BY_PETER}").as_bytes()), Err(NoteError::TooLong));
        assert_eq!(Note::parse(&vec![b'\n'; MAX_NOTE_BYTES + 1]), Err(NoteError::TooLong));
    }

    #[test]
    fn a_verifiers_key_that_was_changed_anywhere_is_none() {
        assert_eq!(VerifierKey::parse(PETER).unwrap().to_text(), PETER);
        let bytes = PETER.as_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] += 1;
            assert!(VerifierKey::parse(std::str::from_utf8(&changed).unwrap()).is_err(), "byte {at}");
            assert!(VerifierKey::parse(&PETER[at + 1..]).is_err() && VerifierKey::parse(&PETER[..at]).is_err());
        }
        // Ids that fit, but the key is longer or of another type.
        for key in [
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(matches!(VerifierKey::parse(key), Err(NoteError::Key(_))));
        }
        assert!(VerifierKey::parse(&PETER.to_uppercase()).is_err());
    }

    #[test]
    fn a_key_made_now_signs_what_its_verifier_and_nobody_elses_takes() {
        let (key, other) = (new_key("example.org/log"), new_key("example.org/log"));
        let note = key.sign("one\n\ntwo\n").unwrap();
        assert_eq!(note, key.sign("one\n\ntwo\n").unwrap());
        let read = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(read.verify(&[other.verifier(), key.verifier()]), Ok("one\n\ntwo\n"));
        assert_eq!(read.verify(&[other.verifier()]), Err(NoteError::UnknownSigners));
        let again = SignerKey::parse(&key.to_text()).unwrap();
        assert_eq!(again.sign("one\n\ntwo\n").unwrap(), note);
        assert_eq!(VerifierKey::parse(&key.verifier().to_text()).unwrap(), *key.verifier());
        let changed = key.to_text().replace("example", "exemple");
        assert!(SignerKey::parse(&changed).is_err() && SignerKey::parse(&key.verifier().to_text()).is_err());
        for text in ["", "no end", "a control\u{7}character\n", "\n"] {
            assert_eq!(key.sign(text).is_ok(), text == "\n", "{text:?}");
        }
        for name in ["", "two words", "a+b", "line\nbreak", &"x".repeat(MAX_NAME + 1)] {
            assert!(SignerKey::from_seed(name, &[1; 32]).is_err(), "{name:?}");
        }
    }
}
