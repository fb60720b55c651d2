//! The commands that attesting takes, and what a TPM says when it does not want to.
//!
//! Every key and session is loaded for one purpose and put away again, also when something in between failed: a TPM has room for three.
//! Answers that say "again" are asked again a few times. May not: set a password, write into the TPM, extend a register.

mod loaded;

use crate::kept::Refusal;
use crate::templates::{self, Endorsement, sized};
use crate::transport::Transport;
use evidence::registrar::{CARRIED, Challenge, Request, certificates_in};
use evidence::{Binding, TpmEvidence};
use std::io;
use std::time::Duration;
use thiserror::Error;
use tpm2_protocol::data::{TpmSt, TpmsAuthCommand};
use tpm2_protocol::frame::{
    TpmActivateCredentialCommand, TpmActivateCredentialResponse, TpmCreatePrimaryCommand, TpmCreatePrimaryResponse,
    TpmFlushContextCommand, TpmFlushContextResponse, TpmFrame, TpmGetCapabilityCommand, TpmGetCapabilityResponse,
    TpmNvReadCommand, TpmNvReadPublicCommand, TpmNvReadPublicResponse, TpmNvReadResponse, TpmPcrReadCommand,
    TpmPcrReadResponse, TpmPolicySecretCommand, TpmPolicySecretResponse, TpmQuoteCommand, TpmQuoteResponse,
    TpmResponse, TpmStartAuthSessionCommand, TpmStartAuthSessionResponse, TpmUnmarshalBody, tpm_marshal_command,
};
use tpm2_protocol::{TpmMarshal, TpmUnmarshal, TpmWriter};
use zeroize::Zeroizing;

/// The most bytes of a command or an answer.
const LIMIT: usize = 4096;
/// The most bytes of a certificate in a TPM's memory, and how many are read at once.
const CERTIFICATE_LIMIT: usize = 4096;
const PIECE: usize = 512;
/// Where certificates between a maker's root and the endorsement key's stand, if the maker put them there: first and last index.
const CHAIN: (u32, u32) = (0x01c0_0100, 0x01c0_01ff);
/// The most bytes of all of these.
const CHAIN_LIMIT: usize = 32 * 1024;
/// The endorsement hierarchy, nobody, and "by password".
const ENDORSEMENT: u32 = 0x4000_000b;
const NOBODY: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;
/// The registers 0 to 7 of the SHA-256 bank.
const REGISTERS: [u8; 10] = [0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0, 0];
/// Properties: who made it, and its firmware's version.
const MAKER: u32 = 0x105;
const FIRMWARE: u32 = 0x10b;
/// How often a command is sent at most while the TPM says "again", and how long is waited first; twice as long each time.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum TpmError {
    /// It can't be opened.
    #[error(transparent)]
    Closed(io::Error),
    /// The connection ended: the device vanished, or the simulator.
    #[error("the TPM is gone: {0}")]
    Gone(io::Error),
    /// It is there and does not answer.
    #[error("the TPM did not answer in time")]
    TimedOut,
    /// It was reset and nobody has started it since.
    #[error("the TPM was reset and has not been started; restarting the computer does that")]
    NotStarted,
    /// What was loaded is no longer there: it was reset in between.
    #[error("the TPM was reset meanwhile; it can be asked again")]
    Reset,
    /// The endorsement hierarchy has a password that we don't know.
    #[error(
        "the TPM's endorsement hierarchy has a password: somebody else, perhaps an employer, has taken ownership of this TPM"
    )]
    Owned,
    /// Too many wrong passwords, of whomever.
    #[error("the TPM has locked itself after wrong passwords; it opens by itself after a while")]
    LockedOut,
    /// It stayed busy, or full.
    #[error("the TPM is busy or full (code {0:#x})")]
    Busy(u32),
    /// It can't do that.
    #[error("the TPM can't do what is asked (code {0:#x})")]
    Unsupported(u32),
    /// It refused for another reason.
    #[error("the TPM refused (code {0:#x})")]
    Refused(u32),
    /// What it said can't be read.
    #[error("the TPM's answer can't be read")]
    Malformed,
    /// The challenge is not one.
    #[error("the registrar's challenge can't be read")]
    Challenge,
    /// The system does not pass it on for this user.
    #[error("the system does not pass this command on to the TPM for this user")]
    NotAllowed,
    /// The system's key provider refused.
    #[error("{0}")]
    System(#[from] Refusal),
    /// Windows has the endorsement hierarchy's password and tells administrators only.
    #[error(
        "Windows lets only an administrator prove to a registrar that two keys are in one TPM: run `chrysalis identity enrol` in a terminal \
         that was opened as administrator, as this same user, and name each proxy"
    )]
    Administrator,
    /// The key that a statement is about was destroyed, or the TPM was cleared.
    #[error(
        "the key that the registrar's statement is about is no longer in this TPM; `chrysalis identity enrol` makes another"
    )]
    KeyGone,
    /// No verifier would believe it.
    #[error("Windows made a key that no verifier believes: it signs more than what the TPM says, or not with SHA-256")]
    UnfitKey,
}

/// Who made the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The maker's four letters, such as `INTC` or `IFX`.
    pub maker: String,
    /// The version of its firmware.
    pub firmware: u32,
}

/// A TPM 2.0.
#[derive(Debug)]
pub struct Tpm<T> {
    transport: T,
}

/// A key that was loaded.
struct Loaded {
    handle: u32,
    public: Vec<u8>,
}

impl<T: Transport> Tpm<T> {
    /// Talks to it over this.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Who made it.
    pub fn about(&mut self) -> Result<About, TpmError> {
        let maker = self.property(MAKER)?.to_be_bytes();
        let maker = maker.iter().copied().filter(u8::is_ascii_graphic).map(char::from).collect();
        Ok(About { maker, firmware: self.property(FIRMWARE)? })
    }

    /// What is shown to a registrar that the owner agreed to, and to nobody else.
    pub fn request(&mut self, audience: &[u8; 32]) -> Result<Request, TpmError> {
        let (kind, ek_certificate) = self.endorsement()?;
        // Without the endorsement key's own there is nothing that they are about.
        let carried = if ek_certificate.is_some() { self.chain()? } else { Vec::new() };
        let ek = self.create(&kind.template())?;
        self.flush(ek.handle)?;
        let ak = self.create(&templates::attestation(audience))?;
        self.flush(ak.handle)?;
        Ok(Request { ek_public: ek.public, ek_certificate, carried, ak_public: ak.public })
    }

    /// Opens what the registrar wrapped: possible only in the TPM that has both keys.
    pub fn answer(&mut self, audience: &[u8; 32], challenge: &Challenge) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let (kind, _) = self.endorsement()?;
        let ek = self.create(&kind.template())?;
        let answer = self.answer_with(&ek, kind, audience, challenge);
        self.put_away(ek.handle, answer)
    }

    fn answer_with(
        &mut self,
        ek: &Loaded,
        kind: Endorsement,
        audience: &[u8; 32],
        challenge: &Challenge,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let ak = self.create(&templates::attestation(audience))?;
        let answer = if kind.by_policy() {
            self.activate_by_policy(&ak, ek, challenge)
        } else {
            password().and_then(|by_password| self.activate(&ak, ek, by_password, challenge))
        };
        self.put_away(ak.handle, answer)
    }

    /// Answers a verifier. The statement is the registrar's about the key for this audience; the log is what [`boot_log`](crate::boot_log)
    /// reads.
    pub fn evidence(
        &mut self,
        audience: &[u8; 32],
        binding: &Binding,
        statement: Vec<u8>,
        log: Option<Vec<u8>>,
    ) -> Result<TpmEvidence, TpmError> {
        let ak = self.create(&templates::attestation(audience))?;
        let quoted = self.quote(&ak, &binding.qualifying_data());
        let (attest, signature) = self.put_away(ak.handle, quoted)?;
        let registers = self.registers()?;
        Ok(TpmEvidence { ak_public: ak.public, attest, signature, registers, statement, log })
    }

    /// The registers 0 to 7 of the SHA-256 bank.
    pub fn registers(&mut self) -> Result<[[u8; 32]; 8], TpmError> {
        let command = TpmPcrReadCommand { handles: [], pcr_selection_in: typed(&REGISTERS)? };
        let answer: TpmPcrReadResponse = self.run(&command, &[])?;
        // A count, and each register with its length before it.
        let bytes = plain(&answer.pcr_values)?;
        let (count, rest) = bytes.split_first_chunk().ok_or(TpmError::Malformed)?;
        let mut registers = [[0; 32]; 8];
        if u32::from_be_bytes(*count) != 8 || rest.len() != 8 * 34 {
            // A TPM whose bank is off answers with none.
            return Err(TpmError::Unsupported(0));
        }
        for (register, said) in registers.iter_mut().zip(rest.chunks(34)) {
            *register = said.last_chunk().copied().ok_or(TpmError::Malformed)?;
        }
        Ok(registers)
    }

    /// The endorsement key to take: one with a certificate if there is one.
    fn endorsement(&mut self) -> Result<(Endorsement, Option<Vec<u8>>), TpmError> {
        for kind in [Endorsement::Rsa, Endorsement::P256, Endorsement::P384] {
            if let Some(certificate) = self.certificate(kind.certificate())? {
                return Ok((kind, Some(certificate)));
            }
        }
        // Quicker to make than RSA.
        Ok((Endorsement::P256, None))
    }

    /// Certificates that the maker put beside the endorsement key's, from the top down or from the bottom up. One that does not fit into an index
    /// goes on in the next.
    fn chain(&mut self) -> Result<Vec<Vec<u8>>, TpmError> {
        let mut bytes = Vec::new();
        for index in self.indexes(CHAIN)? {
            let Some(more) = self.certificate(index)? else { continue };
            if bytes.len() + more.len() > CHAIN_LIMIT {
                break;
            }
            bytes.extend(more);
        }
        Ok(certificates_in(&bytes))
    }

    /// Which of these indexes are there.
    fn indexes(&mut self, (first, last): (u32, u32)) -> Result<Vec<u32>, TpmError> {
        const HANDLES: u32 = 1;
        let mut found: Vec<u32> = Vec::new();
        let mut from = first;
        // A TPM says as many at once as it likes.
        while found.len() < CARRIED * 2 {
            let command = TpmGetCapabilityCommand {
                handles: [],
                cap: typed(&HANDLES.to_be_bytes())?,
                property: from.into(),
                property_count: 16.into(),
            };
            let answer: TpmGetCapabilityResponse = self.run(&command, &[])?;
            let bytes = plain_of(|writer| answer.capability_data.marshal(writer))?;
            let [0, 0, 0, 1, _, _, _, _, handles @ ..] = bytes.as_slice() else { return Err(TpmError::Malformed) };
            let known = found.len();
            for handle in handles.chunks_exact(4) {
                let handle = handle.first_chunk().copied().map_or(0, u32::from_be_bytes);
                if (from..=last).contains(&handle) {
                    found.push(handle);
                }
            }
            match found.last() {
                Some(newest) if found.len() > known && *newest < last => from = *newest + 1,
                _ => break,
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn certificate(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let command = TpmNvReadPublicCommand { handles: [index.into()] };
        let public: TpmNvReadPublicResponse = match self.run(&command, &[]) {
            Ok(public) => public,
            // There is no such index: a wrong handle, or a wrong value of one.
            Err(TpmError::Refused(code)) if matches!(code & 0xff, 0x8b | 0x84) => return Ok(None),
            Err(error) => return Err(error),
        };
        // The last two bytes of the description are its size.
        let description = plain(&public.nv_public)?;
        let size = usize::from(u16::from_be_bytes(*description.last_chunk().ok_or(TpmError::Malformed)?));
        if size > CERTIFICATE_LIMIT {
            return Ok(None);
        }
        let mut certificate = Vec::with_capacity(size);
        while certificate.len() < size {
            let command = TpmNvReadCommand {
                handles: [index.into(), index.into()],
                size: (PIECE.min(size - certificate.len()) as u16).into(),
                offset: (certificate.len() as u16).into(),
            };
            let piece: TpmNvReadResponse = match self.run(&command, &[password()?]) {
                Ok(piece) => piece,
                // Reserved for one that was never written.
                Err(TpmError::Refused(0x14a)) => return Ok(None),
                Err(error) => return Err(error),
            };
            let piece = unsized_bytes(&plain(&piece.data)?)?;
            if piece.is_empty() {
                return Err(TpmError::Malformed);
            }
            certificate.extend_from_slice(&piece);
        }
        certificate.truncate(size);
        Ok(Some(certificate))
    }

    fn property(&mut self, property: u32) -> Result<u32, TpmError> {
        let command = TpmGetCapabilityCommand {
            handles: [],
            cap: typed(&6_u32.to_be_bytes())?,
            property: property.into(),
            property_count: 1.into(),
        };
        let answer: TpmGetCapabilityResponse = self.run(&command, &[])?;
        // What kind, how many, and pairs of property and value.
        let bytes = plain_of(|writer| answer.capability_data.marshal(writer))?;
        match bytes.as_slice() {
            [0, 0, 0, 6, 0, 0, 0, 1, pair @ ..] if pair.starts_with(&property.to_be_bytes()) => {
                pair.last_chunk().copied().map(u32::from_be_bytes).ok_or(TpmError::Malformed)
            }
            _ => Err(TpmError::Malformed),
        }
    }

    fn create(&mut self, template: &[u8]) -> Result<Loaded, TpmError> {
        let command = TpmCreatePrimaryCommand {
            handles: [ENDORSEMENT.into()],
            // No password and no data of our own.
            in_sensitive: typed(&[0, 4, 0, 0, 0, 0])?,
            in_public: typed(&sized(template))?,
            outside_info: typed(&[0, 0])?,
            creation_pcr: typed(&[0, 0, 0, 0])?,
        };
        let answer: TpmCreatePrimaryResponse = self.run(&command, &[password()?])?;
        let [handle] = answer.handles;
        Ok(Loaded { handle: handle.into(), public: unsized_bytes(&plain(&answer.out_public)?)? })
    }

    /// A session in which the endorsement hierarchy's holder has agreed.
    fn session(&mut self) -> Result<u32, TpmError> {
        let command = TpmStartAuthSessionCommand {
            handles: [NOBODY.into(), NOBODY.into()],
            nonce_caller: typed(&sized(&[0; 16]))?,
            encrypted_salt: typed(&[0, 0])?,
            session_type: typed(&[1])?,
            symmetric: typed(&[0, 0x10])?,
            auth_hash: typed(&[0, 0x0b])?,
        };
        let answer: TpmStartAuthSessionResponse = self.run(&command, &[])?;
        let [session] = answer.handles;
        let command = TpmPolicySecretCommand {
            handles: [ENDORSEMENT.into(), session],
            nonce_tpm: typed(&[0, 0])?,
            cp_hash_a: typed(&[0, 0])?,
            policy_ref: typed(&[0, 0])?,
            expiration: typed(&[0, 0, 0, 0])?,
        };
        let session = session.into();
        match self.run::<_, TpmPolicySecretResponse>(&command, &[password()?]) {
            Ok(_) => Ok(session),
            Err(error) => self.put_away(session, Err(error)),
        }
    }

    /// For an endorsement key whose use is allowed by the holder of its hierarchy.
    fn activate_by_policy(
        &mut self,
        ak: &Loaded,
        ek: &Loaded,
        challenge: &Challenge,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let session = self.session()?;
        let by_policy = [&session.to_be_bytes()[..], &[0, 0, 1, 0, 0]].concat();
        let answer = typed(&by_policy).and_then(|by_policy| self.activate(ak, ek, by_policy, challenge));
        self.put_away(session, answer)
    }

    fn activate(
        &mut self,
        ak: &Loaded,
        ek: &Loaded,
        allowed: TpmsAuthCommand,
        challenge: &Challenge,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let command = TpmActivateCredentialCommand {
            handles: [ak.handle.into(), ek.handle.into()],
            credential_blob: typed(&sized(&challenge.credential)).map_err(|_| TpmError::Challenge)?,
            secret: typed(&sized(&challenge.secret)).map_err(|_| TpmError::Challenge)?,
        };
        let answer: TpmActivateCredentialResponse = self.run(&command, &[password()?, allowed])?;
        unsized_bytes(&plain(&answer.cert_info)?).map(Zeroizing::new)
    }

    fn quote(&mut self, ak: &Loaded, qualifying_data: &[u8; 32]) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let command = TpmQuoteCommand {
            handles: [ak.handle.into()],
            qualifying_data: typed(&sized(qualifying_data))?,
            in_scheme: typed(&[0, 0x10])?,
            pcr_select: typed(&REGISTERS)?,
        };
        let answer: TpmQuoteResponse = self.run(&command, &[password()?])?;
        Ok((unsized_bytes(&plain(&answer.quoted)?)?, plain(&answer.signature)?))
    }

    fn flush(&mut self, handle: u32) -> Result<(), TpmError> {
        let command = TpmFlushContextCommand { handles: [], flush_handle: handle.into() };
        self.run::<_, TpmFlushContextResponse>(&command, &[]).map(|_| ())
    }

    /// Puts away what was loaded, whatever came of it; the first failure is the one that is told.
    fn put_away<R>(&mut self, handle: u32, outcome: Result<R, TpmError>) -> Result<R, TpmError> {
        let flushed = self.flush(handle);
        let outcome = outcome?;
        flushed.map(|()| outcome)
    }

    fn run<C: TpmFrame, R: TpmUnmarshalBody>(
        &mut self,
        command: &C,
        sessions: &[TpmsAuthCommand],
    ) -> Result<R, TpmError> {
        let tag = if sessions.is_empty() { TpmSt::NoSessions } else { TpmSt::Sessions };
        let bytes = plain_of(|writer| tpm_marshal_command(command, tag, sessions, writer))?;
        let mut pause = PAUSE;
        for tries_left in (0..TRIES).rev() {
            let answer = self.transport.exchange(&bytes).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => TpmError::TimedOut,
                io::ErrorKind::InvalidData => TpmError::Malformed,
                io::ErrorKind::PermissionDenied => TpmError::NotAllowed,
                _ => TpmError::Gone(error),
            })?;
            let code = answer.get(6..10).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes);
            match code.ok_or(TpmError::Malformed)? {
                0 => {
                    let frame = TpmResponse::cast(&answer).map_err(|_| TpmError::Malformed)?;
                    return frame.unmarshal().map_err(|_| TpmError::Malformed);
                }
                code if again(code) && tries_left > 0 => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                code => return Err(refusal(code)),
            }
        }
        Err(TpmError::Malformed)
    }
}

/// "Again": yielded, no room for objects or sessions just now, in a self-test, too many writes, and so it says.
fn again(code: u32) -> bool {
    matches!(code, 0x908 | 0x902 | 0x903 | 0x904 | 0x90a | 0x920 | 0x922)
}

/// What a response code means; "Part 2", Response Codes. Some have the number of a parameter, handle or session in them.
fn refusal(code: u32) -> TpmError {
    const FORMAT_ONE: u32 = 0x80;
    match code {
        0x100 => TpmError::NotStarted,
        0x921 => TpmError::LockedOut,
        // A handle or a session that is not there.
        0x910..=0x918 => TpmError::Reset,
        0x12b | 0x143 => TpmError::Unsupported(code),
        code if again(code) => TpmError::Busy(code),
        code if code & FORMAT_ONE != 0 => match code & 0x3f {
            // A wrong password, counted or not.
            0x0e | 0x22 => TpmError::Owned,
            // An algorithm, a curve, a scheme or a size that it has not.
            0x01 | 0x03 | 0x12 | 0x26 => TpmError::Unsupported(code),
            _ => TpmError::Refused(code),
        },
        code => TpmError::Refused(code),
    }
}

/// "By the empty password."
fn password() -> Result<TpmsAuthCommand, TpmError> {
    typed(&[&PASSWORD.to_be_bytes()[..], &[0, 0, 0, 0, 0]].concat())
}

/// A value out of its bytes.
fn typed<V: TpmUnmarshal>(bytes: &[u8]) -> Result<V, TpmError> {
    match V::unmarshal(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(TpmError::Malformed),
    }
}

/// The bytes of a value.
fn plain(value: &impl TpmMarshal) -> Result<Vec<u8>, TpmError> {
    plain_of(|writer| value.marshal(writer))
}

fn plain_of(write: impl FnOnce(&mut TpmWriter<'_>) -> tpm2_protocol::TpmResult<()>) -> Result<Vec<u8>, TpmError> {
    let mut buffer = Zeroizing::new(vec![0; LIMIT]);
    let mut writer = TpmWriter::new(&mut buffer);
    write(&mut writer).map_err(|_| TpmError::Malformed)?;
    Ok(writer.as_bytes().to_vec())
}

/// Without the length before them.
fn unsized_bytes(bytes: &[u8]) -> Result<Vec<u8>, TpmError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(TpmError::Malformed)?;
    if usize::from(u16::from_be_bytes(*length)) == rest.len() { Ok(rest.to_vec()) } else { Err(TpmError::Malformed) }
}
