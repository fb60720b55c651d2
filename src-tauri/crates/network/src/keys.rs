//! The key that signs payments. It leaves this module only as signatures, and is wiped when dropped.

use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use protocol::proxy::Signer;
use zeroize::Zeroizing;

/// An Ed25519 key made from its 32-byte seed. Wiped when dropped; cannot be printed.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// From a seed.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(seed) }
    }

    /// A new one.
    pub fn generate() -> Self {
        Self::from_seed(&random_seed())
    }

    /// Public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

/// A new seed.
pub fn random_seed() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(crate::clock::random_bytes())
}

impl Signer for SigningKey {
    fn sign(&mut self, payment: &UnsignedPayment) -> SignedPayment {
        payment.sign(&self.key)
    }
}
