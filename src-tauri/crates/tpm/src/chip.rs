//! What is asked of a TPM, whoever loads its keys.

use crate::client::{About, Tpm, TpmError};
use crate::transport::Transport;
use evidence::registrar::{Challenge, Request};
use evidence::{Binding, TpmEvidence};
use zeroize::Zeroizing;

/// A TPM that can be asked to prove something.
pub trait Chip {
    /// Who made it.
    fn about(&mut self) -> Result<About, TpmError>;

    /// As [`Chip::request`], and nothing is made: in the attestation key's place stands what one looks like. It is for looking at, here, and
    /// no registrar could do anything with it.
    fn preview(&mut self) -> Result<Request, TpmError>;

    /// What is shown to a registrar that the owner agreed to, and to nobody else.
    fn request(&mut self, audience: &[u8; 32]) -> Result<Request, TpmError>;

    /// Opens what the registrar wrapped: possible only in the TPM that has both keys.
    fn answer(&mut self, audience: &[u8; 32], challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// Answers a verifier. The statement is the registrar's about the key for this audience; the log is what
    /// [`system::boot_log`](crate::system::boot_log) reads.
    fn evidence(
        &mut self,
        audience: &[u8; 32],
        binding: &Binding,
        statement: Vec<u8>,
        log: Option<Vec<u8>>,
    ) -> Result<TpmEvidence, TpmError>;
}

/// Every key is made anew each time it is needed.
impl<T: Transport> Chip for Tpm<T> {
    fn about(&mut self) -> Result<About, TpmError> {
        Self::about(self)
    }

    fn preview(&mut self) -> Result<Request, TpmError> {
        // Quick enough to be made.
        Self::request(self, &[0; 32])
    }

    fn request(&mut self, audience: &[u8; 32]) -> Result<Request, TpmError> {
        Self::request(self, audience)
    }

    fn answer(&mut self, audience: &[u8; 32], challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        Self::answer(self, audience, challenge)
    }

    fn evidence(
        &mut self,
        audience: &[u8; 32],
        binding: &Binding,
        statement: Vec<u8>,
        log: Option<Vec<u8>>,
    ) -> Result<TpmEvidence, TpmError> {
        Self::evidence(self, audience, binding, statement, log)
    }
}
