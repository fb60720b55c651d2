//! The key that signs payments. It leaves this module only as signatures, and is wiped when dropped.

use accounting::signed_payment::{SignedPayment, UnsignedPayment};
use protocol::proxy::Signer;
use ton::{Address, Cell, CellBuilder, CellError, StateInit};
use zeroize::Zeroizing;

/// The code of Cocoon's own wallet contract by hash and depth, which is all that an address needs.
const WALLET_CODE: ([u8; 32], u16) = (
    [
        0x7a, 0x48, 0xf0, 0x5c, 0xee, 0xf4, 0x0f, 0x06, 0xca, 0xbb, 0xaa, 0x39, 0xc1, 0xc5, 0xa6, 0x7b, 0x24, 0xe8,
        0xbb, 0x59, 0xd8, 0xcf, 0x8a, 0x74, 0xe4, 0x99, 0x88, 0xa5, 0xf4, 0x4c, 0xf6, 0x6a,
    ],
    6,
);

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

    /// The same key once more, for another task.
    pub(crate) fn twin(&self) -> Self {
        Self { key: self.key.clone() }
    }

    /// Signs the hash of a cell.
    pub(crate) fn sign_hash(&self, hash: &[u8; 32]) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        self.key.sign(hash).to_bytes()
    }
}

/// Address of the Cocoon wallet that belongs to a key (`node_wallet_key`) and an owner. It is what proxies know a client by, and
/// where what is left over of a payout's fee goes.
pub fn wallet_address(seed: &Zeroizing<[u8; 32]>, owner: &Address) -> Result<Address, CellError> {
    let (hash, depth) = WALLET_CODE;
    // First data: seqno 0, subwallet 0, key, status 0, owner.
    let data = CellBuilder::new()
        .uint(0, 64)
        .bytes(&SigningKey::from_seed(seed).public_key())
        .uint(0, 32)
        .address(owner)
        .build()?;
    StateInit { code: Cell::opaque(hash, depth), data }.address()
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use ton::AddressText;

    #[test]
    fn wallets_are_where_the_genuine_programs_have_them() {
        // Recording 73: keys of the one-machine set-up and the wallets that the genuine programs derived from them.
        let owner = AddressText::parse("UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m").unwrap().address;
        for (key, wallet) in [
            ("ml+7xELuOQtfp9q9mSWtHiSWx5aSBV6p3xCfwPmHOwY=", "UQAXGlaBPBoSyvlI0cEGKvS8Ak5e9JFcmKmcBmYsKhNTIdbG"),
            ("jYYD/HjU0K2D/xpistoFM4BruJhY3koI1xuO00xd7PI=", "UQABWAYRUDPbjO0EfnTjtToUuQTATvTK_2wW3liSw_XSOQtq"),
            ("gaEatwGNgLGOeFI/TRGfPdJG/K4G8picYHQkDHpLQ9w=", "UQCdj43bBDyeJlfe6FVSpWLfsDMp4YHbmz5lca5-tNz-fx20"),
        ] {
            let seed = base64::engine::general_purpose::STANDARD.decode(key).unwrap();
            let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).unwrap());
            let address = wallet_address(&seed, &owner).unwrap();
            assert_eq!(AddressText { address, bounceable: false, testnet: false }.to_text(), wallet);
        }
    }
}
