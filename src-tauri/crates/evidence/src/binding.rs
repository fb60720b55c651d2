//! What a proof is tied to: the question of one verifier and the key of one connection.
//!
//! May not: hash without a domain. What is signed here can then never be taken for something else that is signed elsewhere.

use sha2::{Digest, Sha256, Sha512};

const TPM_DOMAIN: &[u8] = b"chrysalis evidence 1: tpm quote\0";
const REPORT_DOMAIN: &[u8] = b"chrysalis evidence 1: cpu report\0";

/// The verifier's nonce and the attester's TLS key: a proof is good for this pair alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Drawn by the verifier for this question, used once.
    pub nonce: [u8; 32],
    /// The attester's raw Ed25519 public key, of the TLS connection on which the question was asked.
    pub tls_key: [u8; 32],
}

impl Binding {
    /// What a TPM quotes as its qualifying data: SHA-256 over a domain, the nonce and the key.
    pub fn qualifying_data(&self) -> [u8; 32] {
        Sha256::new().chain_update(TPM_DOMAIN).chain_update(self.nonce).chain_update(self.tls_key).finalize().into()
    }

    /// What a processor is given as report data: SHA-512 over another domain, the nonce and the key.
    pub fn report_data(&self) -> [u8; 64] {
        Sha512::new().chain_update(REPORT_DOMAIN).chain_update(self.nonce).chain_update(self.tls_key).finalize().into()
    }

    /// What the genuine programs put there: SHA-512 of the raw key and nothing else. It holds no nonce, so such a proof is as old as its
    /// key may be.
    pub fn cocoon_report_data(tls_key: &[u8; 32]) -> [u8; 64] {
        Sha512::digest(tls_key).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_nonce_and_key_is_in_what_is_signed() {
        let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
        for at in 0..32 {
            let mut other = binding;
            other.nonce[at] ^= 1;
            assert_ne!(other.qualifying_data(), binding.qualifying_data());
            assert_ne!(other.report_data(), binding.report_data());
            let mut other = binding;
            other.tls_key[at] ^= 1;
            assert_ne!(other.qualifying_data(), binding.qualifying_data());
            assert_ne!(other.report_data(), binding.report_data());
        }
        let swapped = Binding { nonce: binding.tls_key, tls_key: binding.nonce };
        assert_ne!(swapped.qualifying_data(), binding.qualifying_data());
        assert_ne!(swapped.report_data(), binding.report_data());
    }
}
