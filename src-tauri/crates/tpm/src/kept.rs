//! A TPM whose keys the system keeps: on Windows its key provider makes an attestation key, keeps it under a name and loads it when asked.
//!
//! What lives here: which key is for whom, what is asked of whom and in which order, and what a refusal means; the same on every system, so
//! that it is tried against a simulator. What may not: call Windows. That is behind [`Keeper`].

mod blobs;

use crate::chip::Chip;
use crate::client::{About, Tpm, TpmError};
use crate::templates;
use crate::transport::Transport;
use evidence::registrar::{Challenge, Request};
use evidence::tpm::key::PublicArea;
use evidence::{Binding, Statement, TpmEvidence};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// What every name of a key of ours begins with. The number changes with what a key is made of.
const PREFIX: &str = "chrysalis-attestation-key-1-";
/// Bytes of a hash in a name: enough that no two proxies have the same.
const NAME_LENGTH: usize = 16;
/// Where Windows has put its endorsement key.
const LASTING_ENDORSEMENT_KEY: u32 = 0x8101_0001;

/// The system's key provider did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Windows does not {asked}{} (code {code:#010x})", self.meaning())]
pub struct Refusal {
    /// What was asked, so that "does not" may stand before it.
    pub asked: &'static str,
    /// What it said.
    pub code: u32,
}

impl Refusal {
    /// What the codes that an owner can do something about mean.
    fn meaning(&self) -> &'static str {
        match self.code {
            0x8028_400f => ": it finds none; the firmware may have it switched off under fTPM or PTT",
            0x8028_4008 | 0x8028_4010 => ": its TPM services do not run",
            0x8007_007e | 0x8007_007f => ": it has no such TPM services",
            0x8029_041f => ": this TPM makes weak keys of RSA, and its firmware needs an update",
            _ => "",
        }
    }

    /// Whether it is one of those that somebody with an administrator's rights does not get.
    pub fn wants_an_administrator(&self) -> bool {
        // E_ACCESSDENIED, NTE_PERM, TBS_E_ACCESS_DENIED, TPM_E_COMMAND_BLOCKED; and "not ready" is what the provider says when it can't
        // have the endorsement hierarchy's password, which Windows gives to administrators only.
        matches!(self.code, 0x8007_0005 | 0x8009_0010 | 0x8028_4012 | 0x8028_0400 | 0x8009_0030)
    }
}

/// A key provider of the system, and its way to the TPM.
pub trait Keeper {
    /// A key that is loaded; dropping it puts it away, and the provider still keeps it.
    type Key;
    /// A way to the TPM on which the provider's handles count.
    type Way<'a>: Transport
    where
        Self: 'a;

    /// The way.
    fn way(&self) -> Result<Self::Way<'_>, Refusal>;
    /// Loads the key of that name; `None`: there is none.
    fn open(&self, name: &str) -> Result<Option<Self::Key>, Refusal>;
    /// Makes a key that signs nothing but what the TPM says, by RSA with 2,048 bits and SHA-256, and keeps it under that name.
    fn make(&self, name: &str) -> Result<Self::Key, Refusal>;
    /// The TPM's handle of a loaded key.
    fn handle(&self, key: &Self::Key) -> Result<u32, Refusal>;
    /// What the provider says of a key: its public area, when it was made and who says so.
    fn binding(&self, key: &Self::Key) -> Result<Vec<u8>, Refusal>;
    /// Opens what a registrar wrapped, given both parts with their lengths.
    fn activate(&self, key: &Self::Key, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal>;
    /// The public endorsement key, as Windows writes public keys.
    fn endorsement(&self) -> Result<Vec<u8>, Refusal>;
    /// Whatever certificates the system has of endorsement keys, and those above them; none is no error.
    fn certificates(&self) -> Vec<Vec<u8>>;
    /// The names of all keys that it keeps for this user.
    fn names(&self) -> Result<Vec<String>, Refusal>;
    /// Destroys a key.
    fn destroy(&self, key: Self::Key) -> Result<(), Refusal>;
}

/// A TPM behind a key provider.
#[derive(Debug)]
pub struct Kept<K> {
    keeper: K,
}

impl<K: Keeper> Kept<K> {
    /// Asks that one.
    pub fn new(keeper: K) -> Self {
        Self { keeper }
    }

    /// Destroys all keys that were made here for this user, and says how many those were.
    pub fn forget(&self) -> Result<usize, TpmError> {
        let mut destroyed = 0;
        for name in self.keeper.names()?.iter().filter(|name| name.starts_with(PREFIX)) {
            if let Some(key) = self.keeper.open(name)? {
                self.keeper.destroy(key)?;
                destroyed += 1;
            }
        }
        Ok(destroyed)
    }

    /// A key's public area, if a verifier would believe what it signs.
    fn public(&self, tpm: &mut Tpm<K::Way<'_>>, key: &K::Key) -> Result<Vec<u8>, TpmError> {
        let public = match tpm.public_of(self.keeper.handle(key)?) {
            // The provider says it too, and here it passes on less than it knows.
            Err(TpmError::NotAllowed) => {
                let binding = self.keeper.binding(key)?;
                blobs::bound_public(&binding).ok_or(TpmError::Malformed)?.to_vec()
            }
            public => public?,
        };
        let fit = PublicArea::read(&public).is_some_and(|public| public.signs_only_what_the_tpm_says());
        if fit { Ok(public) } else { Err(TpmError::UnfitKey) }
    }

    /// What a registrar sees beside the attestation key.
    fn shown(&self, ak_public: Vec<u8>) -> Result<Request, TpmError> {
        let endorsement = self.keeper.endorsement()?;
        let modulus = blobs::endorsement_modulus(&endorsement).ok_or(TpmError::Unsupported(0))?;
        let (mut ek_certificate, carried) = blobs::sorted(self.keeper.certificates(), modulus);
        if ek_certificate.is_none() {
            // Windows shows it to administrators; the TPM itself may show it to everybody.
            let own = Tpm::new(self.keeper.way()?).rsa_certificate().ok().flatten();
            ek_certificate = blobs::sorted(own.into_iter().collect(), modulus).0;
        }
        Ok(Request { ek_public: blobs::endorsement_public(modulus), ek_certificate, carried, ak_public })
    }

    /// Without the provider's help: possible where the endorsement hierarchy has no password.
    fn answer_ourselves(&self, key: &K::Key, challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let ak = self.keeper.handle(key)?;
        let mut tpm = Tpm::new(self.keeper.way()?);
        let endorsement = self.keeper.endorsement()?;
        let modulus = blobs::endorsement_modulus(&endorsement).ok_or(TpmError::Unsupported(0))?;
        if tpm.public_of(LASTING_ENDORSEMENT_KEY)? != blobs::endorsement_public(modulus) {
            return Err(TpmError::Administrator);
        }
        tpm.answer_by(ak, LASTING_ENDORSEMENT_KEY, challenge)
    }
}

impl<K: Keeper> Chip for Kept<K> {
    fn about(&mut self) -> Result<About, TpmError> {
        Tpm::new(self.keeper.way()?).about()
    }

    fn preview(&mut self) -> Result<Request, TpmError> {
        // A key of RSA takes a TPM seconds and would stay.
        self.shown(templates::attestation(&[0; 32]))
    }

    fn request(&mut self, audience: &[u8; 32]) -> Result<Request, TpmError> {
        let name = name(audience);
        let key = match self.keeper.open(&name)? {
            Some(key) => key,
            None => self.keeper.make(&name)?,
        };
        let public = self.public(&mut Tpm::new(self.keeper.way()?), &key)?;
        self.shown(public)
    }

    fn answer(&mut self, audience: &[u8; 32], challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let key = self.keeper.open(&name(audience))?.ok_or(TpmError::KeyGone)?;
        let refusal = match self.keeper.activate(&key, &blobs::activation(challenge)) {
            Ok(secret) => return Ok(secret),
            Err(refusal) => refusal,
        };
        self.answer_ourselves(&key, challenge)
            .map_err(|_| if refusal.wants_an_administrator() { TpmError::Administrator } else { refusal.into() })
    }

    fn evidence(
        &mut self,
        audience: &[u8; 32],
        binding: &Binding,
        statement: Vec<u8>,
        log: Option<Vec<u8>>,
    ) -> Result<TpmEvidence, TpmError> {
        let key = self.keeper.open(&name(audience))?.ok_or(TpmError::KeyGone)?;
        let mut tpm = Tpm::new(self.keeper.way()?);
        let public = self.public(&mut tpm, &key)?;
        // A key that was destroyed and made again is another one, and a verifier would refuse it.
        let name = PublicArea::read(&public).map(|public| public.name());
        if Statement::verify(&statement).is_ok_and(|said| Some(said.ak_name) != name) {
            return Err(TpmError::KeyGone);
        }
        tpm.evidence_by((self.keeper.handle(&key)?, public), binding, statement, log)
    }
}

/// The name under which the key for this verifier is kept. Other programs of the same user can list names: it is a hash, and whose it is
/// can only be confirmed by who knows.
fn name(audience: &[u8; 32]) -> String {
    let hash = Sha256::new().chain_update(PREFIX).chain_update(audience).finalize();
    let digits = hash.iter().take(NAME_LENGTH).map(|byte| format!("{byte:02x}"));
    digits.fold(PREFIX.to_owned(), |name, digits| name + &digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verifier_has_a_key_by_another_name_and_the_same_one_each_time() {
        assert_eq!(name(&[1; 32]), name(&[1; 32]));
        assert_ne!(name(&[1; 32]), name(&[2; 32]));
        assert_eq!(name(&[1; 32]).len(), PREFIX.len() + 32);
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_whether_an_administrator_would_not_get_it() {
        let refusal = Refusal { asked: "open the key", code: 0x8009_0010 };
        assert_eq!(refusal.to_string(), "Windows does not open the key (code 0x80090010)");
        assert!(refusal.wants_an_administrator());
        let none = Refusal { asked: "say which TPM this PC has", code: 0x8028_400f };
        assert!(!none.wants_an_administrator() && none.to_string().contains("it finds none"), "{none}");
    }
}
