//! `TPMS_ATTEST` of a quote.

use super::SHA256;
use crate::reader::Reader;
use sha2::{Digest, Sha256};

/// "This was made inside a TPM": no key that is restricted signs anything that begins so and was made elsewhere.
const GENERATED: u32 = 0xff54_4347;
/// The attestation is a quote.
const QUOTE: u16 = 0x8018;
/// The registers 0 to 7 of the SHA-256 bank, and nothing else.
const SELECTED: [u8; 3] = [0xff, 0, 0];

/// What of a quote counts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote<'a> {
    /// What the caller had signed with it.
    pub(crate) extra_data: &'a [u8],
    /// How often the TPM was reset.
    pub(crate) resets: u32,
    selection: Option<&'a [u8]>,
    digest: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Reads it, all of it.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        (reader.be32()? == GENERATED).then_some(())?;
        (reader.be16()? == QUOTE).then_some(())?;
        let _qualified_signer = reader.sized()?;
        let extra_data = reader.sized()?;
        let _clock = reader.be64()?;
        let resets = reader.be32()?;
        let _restarts = reader.be32()?;
        let _safe = reader.byte()?;
        let _firmware = reader.be64()?;
        let banks = reader.be32()?;
        let mut selection = None;
        for bank in 0..banks {
            let algorithm = reader.be16()?;
            let length = reader.byte()?;
            let bits = reader.take(usize::from(length))?;
            // One bank and no other, or none at all that fits.
            selection = (bank == 0 && algorithm == SHA256).then_some(bits);
        }
        let digest = reader.sized()?;
        reader.end()?;
        Some(Self { extra_data, resets, selection, digest })
    }

    /// Whether these registers, and just these, were signed.
    pub(crate) fn covers(&self, registers: &[[u8; 32]; 8]) -> bool {
        let selected = self.selection.and_then(<[u8]>::split_first_chunk);
        let only = selected.is_some_and(|(first, rest)| *first == SELECTED && rest.iter().all(|bits| *bits == 0));
        only && Sha256::digest(registers.as_flattened())[..] == *self.digest
    }
}
