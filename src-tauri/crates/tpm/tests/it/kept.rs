//! Keys that a provider keeps, as on Windows, with a provider that is none: it has swtpm make keys of the shape that Windows' has and keeps
//! them until it is dropped. What Windows itself does it can't show.

use crate::attest::{AUDIENCE, Registrar, start};
use crate::log::{boot, registers, written};
use crate::simulator::{PATIENCE, Simulator};
use evidence::registrar::{Certification, Challenge, RegistrarError, challenge, challenge_under};
use evidence::tpm::key::{Key, PublicArea};
use evidence::{Binding, Grade, Refusal as Refused, Statement};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use tpm::{Chip, Keeper, Kept, Refusal, Socket, TpmError, Transport};
use zeroize::Zeroizing;

const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
/// What Windows' provider gives an identity key: fixed to its TPM and parent, born inside, used without a password, restricted, signs; and a
/// policy, which we never use.
const ATTRIBUTES: u32 = 0x0005_0472;
const POLICY: [u8; 32] = [0x9d; 32];
const SHA256: u16 = 0x000b;
const NOT_READY: u32 = 0x8009_0030;

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn template(attributes: u32, hash: u16) -> Vec<u8> {
    let head = [&[0, 1, 0, 0x0b][..], &attributes.to_be_bytes(), &sized(&POLICY), &[0, 0x10]].concat();
    [&head[..], &[0, 0x14], &hash.to_be_bytes(), &[8, 0, 0, 0, 0, 0], &sized(&[])].concat()
}

/// A provider: keys by name, each a primary key of the owner's hierarchy with a random number in it, so that each is another one.
struct Provider {
    way: RefCell<Socket>,
    keys: RefCell<BTreeMap<String, (u32, Vec<u8>)>>,
    made: Cell<u8>,
    template: (u32, u16),
    /// Whether it has an administrator's rights.
    elevated: bool,
    certificates: Vec<Vec<u8>>,
    /// What is passed on to the TPM.
    reads_public: bool,
}

struct Way<'a>(&'a Provider);

impl Transport for Way<'_> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        if command[6..10] == 0x173_u32.to_be_bytes() && !self.0.reads_public {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.0.way.borrow_mut().exchange(command)
    }
}

impl Provider {
    /// With the endorsement key where Windows puts it.
    fn of(simulator: &Simulator) -> Self {
        let provider = Self {
            way: RefCell::new(Socket::connect(simulator.address(), PATIENCE).unwrap()),
            keys: RefCell::default(),
            made: Cell::new(0),
            template: (ATTRIBUTES, SHA256),
            elevated: true,
            certificates: Vec::new(),
            reads_public: true,
        };
        if provider.endorsement().is_err() {
            let storage = [0, 6, 0, 128, 0, 0x43, 0, 0x10, 8, 0, 0, 0, 0, 0];
            let policy = hex::decode("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa").unwrap();
            let head = [&[0, 1, 0, 0x0b, 0, 3, 0, 0xb2][..], &sized(&policy)].concat();
            let (handle, _) = provider.create(0x4000_000b, &[&head[..], &storage, &sized(&[0; 256])].concat());
            // TPM2_EvictControl.
            let rest = [&0x4000_0001_u32.to_be_bytes()[..], &handle.to_be_bytes(), &PASSWORD, &[0x81, 1, 0, 1]];
            provider.command(0x8002, 0x120, &rest.concat());
            provider.command(0x8001, 0x165, &handle.to_be_bytes());
        }
        provider
    }

    fn command(&self, tag: u16, code: u32, rest: &[u8]) -> Vec<u8> {
        let answer = self.try_command(tag, code, rest);
        assert_eq!(answer[6..10], [0; 4], "command {code:#x}");
        answer[10..].to_vec()
    }

    fn try_command(&self, tag: u16, code: u32, rest: &[u8]) -> Vec<u8> {
        let length = 10 + rest.len() as u32;
        let command = [&tag.to_be_bytes()[..], &length.to_be_bytes(), &code.to_be_bytes(), rest].concat();
        self.way.borrow_mut().exchange(&command).unwrap()
    }

    /// `TPM2_CreatePrimary`.
    fn create(&self, hierarchy: u32, template: &[u8]) -> (u32, Vec<u8>) {
        let rest = [&hierarchy.to_be_bytes()[..], &PASSWORD, &[0, 4, 0, 0, 0, 0], &sized(template), &[0, 0], &[0; 4]];
        let answer = self.command(0x8002, 0x131, &rest.concat());
        let length = usize::from(u16::from_be_bytes([answer[8], answer[9]]));
        (u32::from_be_bytes(answer[..4].try_into().unwrap()), answer[10..10 + length].to_vec())
    }
}

const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

impl Keeper for Provider {
    type Key = (String, u32);
    type Way<'a> = Way<'a>;

    fn way(&self) -> Result<Way<'_>, Refusal> {
        Ok(Way(self))
    }

    fn open(&self, name: &str) -> Result<Option<Self::Key>, Refusal> {
        Ok(self.keys.borrow().get(name).map(|(handle, _)| (name.to_owned(), *handle)))
    }

    fn make(&self, name: &str) -> Result<Self::Key, Refusal> {
        self.made.set(self.made.get() + 1);
        let (attributes, hash) = self.template;
        let mut template = template(attributes, hash);
        template.truncate(template.len() - 2);
        template.extend(sized(&[self.made.get(); 256]));
        let (handle, public) = self.create(0x4000_0001, &template);
        self.keys.borrow_mut().insert(name.to_owned(), (handle, public));
        Ok((name.to_owned(), handle))
    }

    fn handle(&self, key: &Self::Key) -> Result<u32, Refusal> {
        Ok(key.1)
    }

    fn binding(&self, key: &Self::Key) -> Result<Vec<u8>, Refusal> {
        let signature = [&[0, 0x14, 0, 0x0b][..], &sized(&[9; 256])].concat();
        let public = sized(&self.keys.borrow()[&key.0].1);
        Ok([public, sized(&[2; 115]), sized(&[3; 145]), signature].concat())
    }

    fn activate(&self, key: &Self::Key, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let refusal = |code| Refusal { asked: "open what a registrar wrapped", code };
        if !self.elevated {
            return Err(refusal(NOT_READY));
        }
        // TPM2_StartAuthSession, TPM2_PolicySecret, TPM2_ActivateCredential.
        let start = [&[0x40, 0, 0, 7, 0x40, 0, 0, 7][..], &sized(&[0; 16]), &[0, 0, 1, 0, 0x10, 0, 0x0b]].concat();
        let session = self.command(0x8001, 0x176, &start)[..4].to_vec();
        let secret = [&[0x40, 0, 0, 0x0b][..], &session, &PASSWORD, &[0; 10]].concat();
        self.command(0x8002, 0x151, &secret);
        let handles = [&key.1.to_be_bytes()[..], &[0x81, 1, 0, 1]].concat();
        let by = [&[0, 0, 0, 18][..], &PASSWORD[4..], &session, &[0, 0, 1, 0, 0]].concat();
        let answer = self.try_command(0x8002, 0x147, &[&handles[..], &by, wrapped].concat());
        self.try_command(0x8001, 0x165, &session);
        if answer[6..10] != [0; 4] {
            return Err(refusal(0x8029_0407));
        }
        let length = usize::from(u16::from_be_bytes([answer[14], answer[15]]));
        Ok(Zeroizing::new(answer[16..16 + length].to_vec()))
    }

    fn endorsement(&self) -> Result<Vec<u8>, Refusal> {
        let answer = self.try_command(0x8001, 0x173, &[0x81, 1, 0, 1]);
        let public = answer.get(12..).unwrap_or_default();
        let length = usize::from(u16::from_be_bytes(answer.get(10..12).map_or([0, 0], |two| [two[0], two[1]])));
        let missing = Refusal { asked: "say what its TPM has", code: 0x8028_4005 };
        let public = public.get(..length).and_then(PublicArea::read).ok_or(missing)?;
        let Key::Rsa { modulus, .. } = public.key() else { return Err(missing) };
        let head = hex::decode("525341310008000003000000000100000000000000000000010001").unwrap();
        Ok([&head[..], modulus].concat())
    }

    fn certificates(&self) -> Vec<Vec<u8>> {
        self.certificates.clone()
    }

    fn names(&self) -> Result<Vec<String>, Refusal> {
        let own = self.keys.borrow().keys().cloned().collect::<Vec<_>>();
        Ok([own, vec!["somebody else's".to_owned()]].concat())
    }

    fn destroy(&self, key: Self::Key) -> Result<(), Refusal> {
        self.command(0x8001, 0x165, &key.1.to_be_bytes());
        self.keys.borrow_mut().remove(&key.0);
        Ok(())
    }
}

fn enrolled(chip: &mut dyn Chip, registrar: &Registrar) -> Vec<u8> {
    let request = chip.request(&AUDIENCE).unwrap();
    let (pending, wrapped) = challenge(&request, registrar.now).unwrap();
    let answer = chip.answer(&AUDIENCE, &wrapped).unwrap();
    pending.finish(&answer, &registrar.desk(AUDIENCE)).unwrap()
}

#[test]
fn a_key_of_the_shape_that_windows_makes_is_registered_quotes_and_is_believed() {
    let simulator = Simulator::certified();
    let lines = boot(true);
    start(&simulator, &lines);
    let (root, between) = (simulator.root(), simulator.between());
    let registrar = Registrar::new();
    let mut provider = Provider::of(&simulator);
    provider.certificates = vec![between];
    let mut chip = Kept::new(provider);
    assert!(!chip.about().unwrap().maker.is_empty());

    // The system holds the certificate between alone; the endorsement key's own is in the TPM.
    let request = chip.request(&AUDIENCE).unwrap();
    assert_eq!(request.carried.len(), 1);
    assert_eq!(chip.request(&AUDIENCE).unwrap(), request, "the key is another one each time");
    let (pending, wrapped) = challenge_under(&request, registrar.now, &[("Maker", &root)]).unwrap();
    assert_eq!(*pending.certification(), Certification::Certified { vendor: "Maker" });
    let answer = chip.answer(&AUDIENCE, &wrapped).unwrap();
    let statement = pending.finish(&answer, &registrar.desk(AUDIENCE)).unwrap();
    let shown = chip.evidence(&AUDIENCE, &BINDING, statement, Some(written(&lines))).unwrap();
    assert_eq!(shown.registers, registers(&lines));
    let appraisal = registrar.judge(shown.clone()).unwrap();
    assert_eq!((appraisal.grade, appraisal.facts.secure_boot), (Grade::KnownMachine, Some(true)));

    // Not one bit of its key or its quote can be another.
    for at in (0..shown.ak_public.len()).step_by(7) {
        let mut other = shown.clone();
        other.ak_public[at] ^= 1;
        assert!(registrar.judge(other).is_err(), "bit of byte {at} of the key");
    }
    for at in (0..shown.signature.len()).step_by(7) {
        let mut other = shown.clone();
        other.signature[at] ^= 1;
        assert!(matches!(registrar.judge(other), Err(Refused::WrongSignature(_) | Refused::Malformed(_))), "{at}");
    }
}

#[test]
fn where_the_provider_wants_an_administrator_it_is_done_without_it_or_said() {
    let (simulator, registrar) = (Simulator::plain(), Registrar::new());
    let mut provider = Provider::of(&simulator);
    provider.elevated = false;
    let mut chip = Kept::new(provider);
    // The endorsement hierarchy has no password here: the TPM itself does it.
    let statement = enrolled(&mut chip, &registrar);
    let appraisal = registrar.judge(chip.evidence(&AUDIENCE, &BINDING, statement, None).unwrap()).unwrap();
    assert_eq!(appraisal.grade, Grade::KnownMachineUncertified);
    drop(chip);

    // As Windows leaves it: it has a password, which administrators are told.
    let rest = [&0x4000_000b_u32.to_be_bytes()[..], &PASSWORD, &[0, 2], b"pw"].concat();
    simulator.command(0x8002, 0x129, &rest);
    let mut provider = Provider::of(&simulator);
    provider.elevated = false;
    let mut chip = Kept::new(provider);
    let request = chip.request(&AUDIENCE).unwrap();
    let (_, wrapped) = challenge(&request, registrar.now).unwrap();
    let error = chip.answer(&AUDIENCE, &wrapped).unwrap_err();
    assert!(matches!(error, TpmError::Administrator), "{error}");
    assert!(error.to_string().contains("opened as administrator"), "{error}");
}

#[test]
fn what_is_wrapped_for_another_key_is_opened_by_nobody() {
    let (simulator, registrar) = (Simulator::plain(), Registrar::new());
    let mut chip = Kept::new(Provider::of(&simulator));
    let mine = chip.request(&AUDIENCE).unwrap();
    let (pending, wrapped) = challenge(&mine, registrar.now).unwrap();
    chip.request(&[0xb2; 32]).unwrap();
    assert!(matches!(chip.answer(&[0xb2; 32], &wrapped), Err(TpmError::System(_))));
    let nonsense = Challenge { credential: vec![0; 68], secret: vec![0; 256] };
    assert!(chip.answer(&AUDIENCE, &nonsense).is_err());
    assert_eq!(pending.finish(&[0; 32], &registrar.desk(AUDIENCE)), Err(RegistrarError::WrongAnswer));
}

#[test]
fn keys_are_kept_by_verifier_and_forgotten_with_nothing_of_others() {
    let (simulator, registrar) = (Simulator::plain(), Registrar::new());
    let mut chip = Kept::new(Provider::of(&simulator));
    let statement = enrolled(&mut chip, &registrar);
    let name = Statement::verify(&statement).unwrap().ak_name;
    let other = chip.request(&[0xb2; 32]).unwrap();
    assert_ne!(PublicArea::read(&other.ak_public).unwrap().name(), name, "two proxies see the same key");
    chip.evidence(&AUDIENCE, &BINDING, statement.clone(), None).unwrap();

    assert_eq!(chip.forget().unwrap(), 2);
    assert_eq!(chip.forget().unwrap(), 0);
    assert!(matches!(chip.evidence(&AUDIENCE, &BINDING, statement.clone(), None), Err(TpmError::KeyGone)));
    // Made again it is another one, and the statement is about the first.
    chip.request(&AUDIENCE).unwrap();
    assert!(matches!(chip.evidence(&AUDIENCE, &BINDING, statement, None), Err(TpmError::KeyGone)));
}

#[test]
fn a_key_that_no_verifier_would_believe_is_shown_to_none() {
    // Not restricted, not fixed to its TPM and its parent, or signing with SHA-1 as Windows' keys do when they are not told otherwise. A TPM
    // makes none of those that remain.
    for (attributes, hash) in [(ATTRIBUTES & !(1 << 16), SHA256), (ATTRIBUTES & !0x12, SHA256), (ATTRIBUTES, 4)] {
        let simulator = Simulator::plain();
        let mut provider = Provider::of(&simulator);
        provider.template = (attributes, hash);
        let error = Kept::new(provider).request(&AUDIENCE).unwrap_err();
        assert!(matches!(error, TpmError::UnfitKey), "{attributes:#x} {hash:#x}: {error}");
    }
}

#[test]
fn where_windows_does_not_let_keys_be_read_its_provider_says_what_they_are() {
    let (simulator, registrar) = (Simulator::plain(), Registrar::new());
    let mut provider = Provider::of(&simulator);
    provider.reads_public = false;
    let mut chip = Kept::new(provider);
    let statement = enrolled(&mut chip, &registrar);
    registrar.judge(chip.evidence(&AUDIENCE, &BINDING, statement, None).unwrap()).unwrap();
}

#[test]
fn looking_makes_no_key() {
    let simulator = Simulator::certified();
    let provider = Provider::of(&simulator);
    let mut chip = Kept::new(provider);
    let seen = chip.preview().unwrap();
    assert!(seen.ek_certificate.is_some());
    assert_eq!(chip.forget().unwrap(), 0);
    // A registrar's own judgement of the certificate can be had from it.
    assert!(challenge(&seen, Registrar::new().now).is_ok());
}
