//! `TPMT_PUBLIC`: the public area of a TPM's key, its name and what the key may do.

use super::{SHA256, SHA384};
use crate::reader::Reader;
use sha2::{Digest, Sha256};

const RSA: u16 = 0x0001;
const AES: u16 = 0x0006;
const NULL: u16 = 0x0010;
const ECC: u16 = 0x0023;
const RSASSA: u16 = 0x0014;
const ECDSA: u16 = 0x0018;
const CFB: u16 = 0x0043;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

/// What a key may do and where it may go: `TPMA_OBJECT`.
mod attribute {
    pub(super) const FIXED_TPM: u32 = 1 << 1;
    pub(super) const FIXED_PARENT: u32 = 1 << 4;
    pub(super) const BORN_INSIDE: u32 = 1 << 5;
    pub(super) const RESTRICTED: u32 = 1 << 16;
    pub(super) const DECRYPT: u32 = 1 << 17;
    pub(super) const SIGN: u32 = 1 << 18;
}

/// A key's public area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicArea<'a> {
    bytes: &'a [u8],
    /// By whose hash it has its name: SHA-256 or SHA-384.
    named_by: u16,
    attributes: u32,
    /// Bits of AES in CFB, which such a key wraps secrets with; only keys that decrypt have it.
    wraps: Option<u16>,
    /// Whether signatures are over SHA-256 by the scheme that is verified here.
    signs: bool,
    key: Key<'a>,
}

/// The key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// An RSA key.
    Rsa {
        /// The modulus, big-endian.
        modulus: &'a [u8],
        /// The exponent.
        exponent: u32,
    },
    /// A point on P-256.
    P256 {
        /// Its first coordinate, big-endian, at most 32 bytes.
        x: &'a [u8],
        /// Its second one.
        y: &'a [u8],
    },
    /// A point on P-384.
    P384 {
        /// Its first coordinate, big-endian, at most 48 bytes.
        x: &'a [u8],
        /// Its second one.
        y: &'a [u8],
    },
}

impl<'a> PublicArea<'a> {
    /// Reads it, all of it. Keys of other kinds than RSA, P-256 and P-384, and names by other hashes than SHA-256 and SHA-384, are not known
    /// here.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let kind = reader.be16()?;
        let named_by = reader.be16()?;
        matches!(named_by, SHA256 | SHA384).then_some(())?;
        let attributes = reader.be32()?;
        let _policy = reader.sized()?;
        let wraps = match reader.be16()? {
            NULL => None,
            AES => {
                let bits = reader.be16()?;
                (reader.be16()? == CFB).then_some(bits)
            }
            _ => return None,
        };
        let scheme = reader.be16()?;
        let hash = if scheme == NULL { None } else { Some(reader.be16()?) };
        let (signs, key) = match kind {
            RSA => {
                let _bits = reader.be16()?;
                // Zero stands for the usual one.
                let exponent = Some(reader.be32()?).filter(|exponent| *exponent != 0).unwrap_or(65_537);
                (scheme == RSASSA, Key::Rsa { modulus: reader.sized()?, exponent })
            }
            ECC => {
                let curve = reader.be16()?;
                if reader.be16()? != NULL {
                    return None;
                }
                let (x, y) = (reader.sized()?, reader.sized()?);
                let longest = x.len().max(y.len());
                let key = match curve {
                    P256 if longest <= 32 => Key::P256 { x, y },
                    P384 if longest <= 48 => Key::P384 { x, y },
                    _ => return None,
                };
                (scheme == ECDSA && curve == P256, key)
            }
            _ => return None,
        };
        reader.end()?;
        let signs = signs && hash == Some(SHA256) && named_by == SHA256;
        Some(Self { bytes, named_by, attributes, wraps, signs, key })
    }

    /// The name by which a TPM knows an attestation key: its hash's number, and the hash of the public area. A key that is named by another
    /// hash than SHA-256 signs nothing here, so its name is asked for by nobody.
    pub fn name(&self) -> [u8; 34] {
        let mut name = [0; 34];
        let (number, hash) = name.split_at_mut(2);
        number.copy_from_slice(&SHA256.to_be_bytes());
        hash.copy_from_slice(&Sha256::digest(self.bytes));
        name
    }

    /// The key.
    pub fn key(&self) -> &Key<'a> {
        &self.key
    }

    /// Whether it was born in a TPM, can't leave it, and signs nothing but what the TPM itself has to say.
    pub fn signs_only_what_the_tpm_says(&self) -> bool {
        use attribute::{BORN_INSIDE, DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SIGN};
        let needed = FIXED_TPM | FIXED_PARENT | BORN_INSIDE | RESTRICTED | SIGN;
        self.signs && self.attributes & (needed | DECRYPT) == needed
    }

    /// Whether it was born in a TPM, can't leave it, and decrypts what a TPM may know, as an endorsement key does.
    pub fn is_an_endorsement_key(&self) -> bool {
        use attribute::{BORN_INSIDE, DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SIGN};
        let needed = FIXED_TPM | FIXED_PARENT | BORN_INSIDE | RESTRICTED | DECRYPT;
        // As the profile's templates have it: what a key is named by is what it wraps with.
        let fits = match self.key {
            Key::Rsa { .. } | Key::P256 { .. } => (self.named_by, self.wraps) == (SHA256, Some(128)),
            Key::P384 { .. } => (self.named_by, self.wraps) == (SHA384, Some(256)),
        };
        fits && self.attributes & (needed | SIGN) == needed
    }
}

impl Key<'_> {
    /// The key as certificates carry it: a point without compression, or a modulus and an exponent in DER.
    pub(crate) fn as_in_certificates(&self) -> Vec<u8> {
        match self {
            Self::P256 { x, y } => [&[4][..], &padded::<32>(x), &padded::<32>(y)].concat(),
            Self::P384 { x, y } => [&[4][..], &padded::<48>(x), &padded::<48>(y)].concat(),
            Self::Rsa { modulus, exponent } => {
                let numbers = [integer(modulus), integer(&exponent.to_be_bytes())].concat();
                [header(0x30, numbers.len()), numbers].concat()
            }
        }
    }
}

/// A coordinate with the zeros before it that a TPM may leave out.
pub(crate) fn padded<const SIZE: usize>(number: &[u8]) -> [u8; SIZE] {
    let mut out = [0; SIZE];
    let skip = number.len().saturating_sub(SIZE);
    let number = number.get(skip..).unwrap_or_default();
    if let Some(end) = out.get_mut(SIZE - number.len()..) {
        end.copy_from_slice(number);
    }
    out
}

fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let digits = number.get(zeros..).unwrap_or_default();
    let sign = digits.first().is_none_or(|first| first & 0x80 != 0);
    [header(2, digits.len() + usize::from(sign)), vec![0; usize::from(sign)], digits.to_vec()].concat()
}

/// Tag and length in DER; nothing here has more than two bytes of length.
fn header(tag: u8, length: usize) -> Vec<u8> {
    match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    }
}
