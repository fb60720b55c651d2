//! A "TPM" that is a few lines: its key is in the test's hands, so that it can sign what no TPM would.

use ed25519_dalek::SigningKey;
use evidence::{Anchors, Binding, Statement, TpmEvidence};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use sha2::{Digest, Sha256};

pub(crate) const NOW: u64 = 1_795_780_800;
pub(crate) const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
pub(crate) const AUDIENCE: [u8; 32] = [3; 32];
/// An attestation key's attributes: fixed, born inside, restricted, signs.
pub(crate) const ATTESTATION: u32 = 0x0005_0472;

pub(crate) struct Software {
    key: EcdsaKeyPair,
    pub(crate) attributes: u32,
}

impl Software {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap();
        Self { key, attributes: ATTESTATION }
    }

    /// The key's `TPMT_PUBLIC`.
    pub(crate) fn public(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut public = vec![0, 0x23, 0, 0x0b];
        public.extend(self.attributes.to_be_bytes());
        public.extend([0, 0, 0, 0x10, 0, 0x18, 0, 0x0b, 0, 3, 0, 0x10]);
        public.extend([0, 32]);
        public.extend(&point[1..33]);
        public.extend([0, 32]);
        public.extend(&point[33..]);
        public
    }

    pub(crate) fn name(&self) -> [u8; 34] {
        let mut name = [0; 34];
        name[1] = 0x0b;
        name[2..].copy_from_slice(&Sha256::digest(self.public()));
        name
    }

    /// A quote's `TPMS_ATTEST` over these registers; `selected` are bank and bits.
    pub(crate) fn attest(extra: &[u8], registers: &[[u8; 32]; 8], selected: &[u8]) -> Vec<u8> {
        let mut attest = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 0];
        attest.extend((extra.len() as u16).to_be_bytes());
        attest.extend(extra);
        attest.extend([0; 8]);
        attest.extend(7_u32.to_be_bytes());
        attest.extend([0; 4]);
        attest.push(1);
        attest.extend([0; 8]);
        attest.extend(selected);
        attest.extend([0, 32]);
        attest.extend(Sha256::digest(registers.as_flattened()));
        attest
    }

    pub(crate) fn sign(&self, attest: &[u8]) -> Vec<u8> {
        let fixed = self.key.sign(&SystemRandom::new(), attest).unwrap();
        let (r, s) = fixed.as_ref().split_at(32);
        [&[0, 0x18, 0, 0x0b, 0, 32][..], r, &[0, 32], s].concat()
    }

    /// What an honest TPM would show.
    pub(crate) fn evidence(&self, registers: [[u8; 32]; 8], log: Option<Vec<u8>>, certified: bool) -> TpmEvidence {
        let attest = Self::attest(&BINDING.qualifying_data(), &registers, &SELECTED);
        TpmEvidence {
            ak_public: self.public(),
            signature: self.sign(&attest),
            attest,
            registers,
            statement: statement(self.name(), certified).sign(&registrar()),
            log,
        }
    }
}

/// One bank, SHA-256, registers 0 to 7.
pub(crate) const SELECTED: [u8; 10] = [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0];

pub(crate) fn registrar() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(crate) fn anchors() -> Anchors {
    Anchors { registrars: vec![registrar().verifying_key().to_bytes()], audience: AUDIENCE }
}

pub(crate) fn statement(ak_name: [u8; 34], certified: bool) -> Statement {
    Statement {
        registrar: registrar().verifying_key().to_bytes(),
        ak_name,
        certified,
        machine: [4; 32],
        audience: AUDIENCE,
        issued_at: NOW - 60,
        expires_at: NOW + 60,
        vendor: if certified { "Infineon".to_owned() } else { String::new() },
    }
}
