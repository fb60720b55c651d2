//! `TPMT_SIGNATURE` over SHA-256: ECDSA on P-256, and RSA in the older padding.
//!
//! A signature on a curve has a twin that fits as well, so nothing may take a hash of a signature for a number of anything.

use super::SHA256;
use super::key::{Key, PublicArea, padded};
use crate::reader::Reader;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

const RSASSA: u16 = 0x0014;
const ECDSA: u16 = 0x0018;

/// Whether this is the key's signature of the message; `None` if it is no signature that could be.
pub(crate) fn verify(key: &PublicArea<'_>, message: &[u8], signature: &[u8]) -> Option<bool> {
    let mut reader = Reader(signature);
    let scheme = reader.be16()?;
    (reader.be16()? == SHA256).then_some(())?;
    let public = key.key().as_in_certificates();
    let fits = match (key.key(), scheme) {
        (Key::P256 { .. }, ECDSA) => {
            let (r, s) = (reader.sized()?, reader.sized()?);
            (r.len() <= 32 && s.len() <= 32).then_some(())?;
            let fixed = [padded::<32>(r), padded::<32>(s)].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(message, &fixed).is_ok()
        }
        (Key::Rsa { .. }, RSASSA) => {
            let number = reader.sized()?;
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(message, number).is_ok()
        }
        _ => return None,
    };
    reader.end()?;
    Some(fits)
}
