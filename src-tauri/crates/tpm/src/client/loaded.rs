//! The same commands for keys that the system has loaded and keeps. May not: put such a key away; it is not ours.

use super::{Loaded, Tpm, TpmError, plain, unsized_bytes};
use crate::templates::Endorsement;
use crate::transport::Transport;
use evidence::registrar::Challenge;
use evidence::{Binding, TpmEvidence};
use tpm2_protocol::frame::{TpmReadPublicCommand, TpmReadPublicResponse};
use zeroize::Zeroizing;

impl<T: Transport> Tpm<T> {
    /// The public area of a loaded or lasting key.
    pub(crate) fn public_of(&mut self, handle: u32) -> Result<Vec<u8>, TpmError> {
        let answer: TpmReadPublicResponse = self.run(&TpmReadPublicCommand { handles: [handle.into()] }, &[])?;
        unsized_bytes(&plain(&answer.out_public)?)
    }

    /// As [`Tpm::evidence`], with a key that is loaded already.
    pub(crate) fn evidence_by(
        &mut self,
        (handle, public): (u32, Vec<u8>),
        binding: &Binding,
        statement: Vec<u8>,
        log: Option<Vec<u8>>,
    ) -> Result<TpmEvidence, TpmError> {
        let ak = Loaded { handle, public };
        let (attest, signature) = self.quote(&ak, &binding.qualifying_data())?;
        let registers = self.registers()?;
        Ok(TpmEvidence { ak_public: ak.public, attest, signature, registers, statement, log })
    }

    /// As [`Tpm::answer`], with keys that are there already.
    pub(crate) fn answer_by(
        &mut self,
        ak: u32,
        ek: u32,
        challenge: &Challenge,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let loaded = |handle| Loaded { handle, public: Vec::new() };
        self.activate_by_policy(&loaded(ak), &loaded(ek), challenge)
    }

    /// The maker's certificate for the RSA endorsement key, as the TPM itself holds it.
    pub(crate) fn rsa_certificate(&mut self) -> Result<Option<Vec<u8>>, TpmError> {
        self.certificate(Endorsement::Rsa.certificate())
    }
}
