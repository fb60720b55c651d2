//! What only the TPM with a certain endorsement key can open, and only if a certain attestation key is in it too: `TPM2_MakeCredential`,
//! without a TPM.
//!
//! Source: "TPM 2.0 Library, Part 1", Credential Protection, and the annexes on RSA and ECC. May not: know whose keys these are.

use crate::registrar::{Challenge, RegistrarError};
use crate::tpm::key::{Key, padded};
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use num_bigint::BigUint;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{agreement, hmac};
use sha2::{Digest as _, Sha256, Sha384};
use zeroize::{Zeroize as _, Zeroizing};

/// "IDENTITY" with its end, as the label of what is wrapped for an endorsement key.
const IDENTITY: &[u8] = b"IDENTITY\0";

/// What an endorsement key computes with: the hash that it is named by, and AES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    /// SHA-256 and AES-128: RSA and P-256.
    Lower,
    /// SHA-384 and AES-256: P-384.
    Higher,
}

impl Suite {
    const fn of(ek: &Key<'_>) -> Self {
        match ek {
            Key::Rsa { .. } | Key::P256 { .. } => Self::Lower,
            Key::P384 { .. } => Self::Higher,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Lower => hmac::HMAC_SHA256,
            Self::Higher => hmac::HMAC_SHA384,
        }
    }

    /// Bytes of the hash.
    const fn hash(self) -> usize {
        match self {
            Self::Lower => 32,
            Self::Higher => 48,
        }
    }

    /// Bytes of the cipher's key.
    const fn cipher(self) -> usize {
        match self {
            Self::Lower => 16,
            Self::Higher => 32,
        }
    }
}

/// Wraps a secret so that it opens only where both keys are.
pub(crate) fn wrap(ek: &Key<'_>, ak_name: &[u8; 34], secret: &[u8]) -> Result<Challenge, RegistrarError> {
    let suite = Suite::of(ek);
    let (seed, encrypted) = match ek {
        Key::Rsa { modulus, exponent } => {
            let mut seed = Zeroizing::new(vec![0; suite.hash()]);
            SystemRandom::new().fill(&mut seed).map_err(|_| RegistrarError::Random)?;
            let encrypted = oaep(modulus, *exponent, &seed)?;
            (seed, encrypted)
        }
        Key::P256 { x, y } => agree(&agreement::ECDH_P256, &padded::<32>(x), &padded::<32>(y), kdf_e::<Sha256>)?,
        Key::P384 { x, y } => agree(&agreement::ECDH_P384, &padded::<48>(x), &padded::<48>(y), kdf_e::<Sha384>)?,
    };
    let key = kdf_a(suite, &seed, b"STORAGE\0", ak_name, suite.cipher());
    let length = u16::try_from(secret.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut identity = [&length, secret].concat();
    encipher(&key, &mut identity);
    let integrity = hmac::Key::new(suite.hmac(), &kdf_a(suite, &seed, b"INTEGRITY\0", &[], suite.hash()));
    let mut tag = hmac::Context::with_key(&integrity);
    tag.update(&identity);
    tag.update(ak_name);
    let tag = tag.sign();
    let length = (suite.hash() as u16).to_be_bytes();
    let credential = [&length, tag.as_ref(), &identity].concat();
    Ok(Challenge { credential, secret: encrypted })
}

/// "KDFa": one round, of which so many bytes are for use. The label has its end.
fn kdf_a(suite: Suite, key: &[u8], label: &[u8], context: &[u8], bytes: usize) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(suite.hmac(), key);
    let mut round = hmac::Context::with_key(&key);
    round.update(&1_u32.to_be_bytes());
    round.update(label);
    round.update(context);
    round.update(&(bytes as u32 * 8).to_be_bytes());
    Zeroizing::new(round.sign().as_ref().iter().copied().take(bytes).collect())
}

/// AES in CFB, from zero, with a key of 16 or 32 bytes.
fn encipher(key: &[u8], text: &mut [u8]) {
    if let Ok(cipher) = aes::Aes128::new_from_slice(key) {
        cfb(|block| cipher.encrypt_block(block), text);
    } else if let Ok(cipher) = aes::Aes256::new_from_slice(key) {
        cfb(|block| cipher.encrypt_block(block), text);
    } else {
        // No suite has a key of another length; what cannot be enciphered does not leave.
        text.zeroize();
    }
}

fn cfb(encrypt: impl Fn(&mut aes::Block), text: &mut [u8]) {
    let mut feedback = aes::Block::default();
    for block in text.chunks_mut(16) {
        encrypt(&mut feedback);
        for (byte, key) in block.iter_mut().zip(&feedback) {
            *byte ^= key;
        }
        feedback = aes::Block::default();
        for (next, byte) in feedback.iter_mut().zip(block.iter()) {
            *next = *byte;
        }
    }
}

/// The seed, encrypted to an RSA key of 2048 to 4096 bits with OAEP and SHA-256.
fn oaep(modulus: &[u8], exponent: u32, seed: &[u8]) -> Result<Vec<u8>, RegistrarError> {
    let size = modulus.len();
    if !(256..=512).contains(&size) || modulus.first() < Some(&0x80) || exponent != 65_537 {
        return Err(RegistrarError::EndorsementKey);
    }
    let mut mask_seed = Zeroizing::new([0_u8; 32]);
    SystemRandom::new().fill(&mut *mask_seed).map_err(|_| RegistrarError::Random)?;
    // Hash of the label, zeros, one, and what is encrypted.
    let mut block = Zeroizing::new(vec![0_u8; size - 33]);
    let at = block.len() - 33;
    if let Some(hash) = block.get_mut(..32) {
        hash.copy_from_slice(&Sha256::digest(IDENTITY));
    }
    if let Some([one, rest @ ..]) = block.get_mut(at..) {
        *one = 1;
        rest.copy_from_slice(seed);
    }
    mask(&*mask_seed, &mut block);
    let mut masked_seed = *mask_seed;
    mask(&block, &mut masked_seed);
    let message = Zeroizing::new([&[0][..], &masked_seed, &block].concat());
    let encrypted = BigUint::from_bytes_be(&message).modpow(&BigUint::from(exponent), &BigUint::from_bytes_be(modulus));
    let encrypted = encrypted.to_bytes_be();
    Ok([vec![0; size.saturating_sub(encrypted.len())], encrypted].concat())
}

/// "MGF1" with SHA-256.
fn mask(seed: &[u8], text: &mut [u8]) {
    for (counter, block) in text.chunks_mut(32).enumerate() {
        let round = Sha256::new().chain_update(seed).chain_update((counter as u32).to_be_bytes()).finalize();
        for (byte, mask) in block.iter_mut().zip(round) {
            *byte ^= mask;
        }
    }
}

/// A seed, and what carries it to the other end.
type Seeded = (Zeroizing<Vec<u8>>, Vec<u8>);

/// A seed agreed on with a key on a curve, and what the other end needs to find it: a `TPMS_ECC_POINT`.
fn agree(
    curve: &'static agreement::Algorithm,
    x: &[u8],
    y: &[u8],
    kdf: impl FnOnce(&[u8], &[u8], &[u8]) -> Vec<u8>,
) -> Result<Seeded, RegistrarError> {
    let random = SystemRandom::new();
    let mine = agreement::EphemeralPrivateKey::generate(curve, &random).map_err(|_| RegistrarError::Random)?;
    let point = mine.compute_public_key().map_err(|_| RegistrarError::Random)?;
    let (my_x, my_y) =
        point.as_ref().get(1..).and_then(|point| point.split_at_checked(x.len())).ok_or(RegistrarError::Random)?;
    let theirs = agreement::UnparsedPublicKey::new(curve, [&[4][..], x, y].concat());
    let seed = agreement::agree_ephemeral(mine, &theirs, |shared| Zeroizing::new(kdf(shared, my_x, x)))
        .map_err(|_| RegistrarError::EndorsementKey)?;
    let length = (x.len() as u16).to_be_bytes();
    Ok((seed, [&length, my_x, &length, my_y].concat()))
}

/// "KDFe": one round, all of it.
fn kdf_e<Hash: sha2::Digest>(shared: &[u8], mine: &[u8], theirs: &[u8]) -> Vec<u8> {
    let round = Hash::new().chain_update(1_u32.to_be_bytes()).chain_update(shared).chain_update(IDENTITY);
    round.chain_update(mine).chain_update(theirs).finalize().to_vec()
}
