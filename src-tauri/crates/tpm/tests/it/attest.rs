//! From a TPM to a grade, with a registrar between.

use crate::log::{Line, boot, registers, variable, written};
use crate::simulator::Simulator;
use ed25519_dalek::SigningKey;
use evidence::registrar::{CARRIED, Certification, Desk, RegistrarError, Request, WhyNot, challenge, challenge_under};
use evidence::{
    Anchors, Appraisal, Binding, ChainError, Evidence, Grade, Policy, Refusal, Statement, TpmEvidence, appraise,
};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tpm::{Socket, Tpm};

pub(crate) const AUDIENCE: [u8; 32] = [0xa1; 32];
const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
const HOUR: u64 = 3_600;

pub(crate) struct Registrar {
    key: SigningKey,
    pub(crate) now: u64,
}

impl Registrar {
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
        Self { key: SigningKey::from_bytes(&[5; 32]), now }
    }

    pub(crate) fn desk(&self, audience: [u8; 32]) -> Desk<'_> {
        Desk { key: &self.key, machines: &[6; 32], audience, now: self.now, lifetime: HOUR }
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors { registrars: vec![self.key.verifying_key().to_bytes()], audience: AUDIENCE }
    }

    /// Makes a machine known under the roots that are built in.
    pub(crate) fn statement(&self, tpm: &mut Tpm<Socket>, audience: [u8; 32]) -> Vec<u8> {
        let request = tpm.request(&audience).unwrap();
        let (pending, wrapped) = challenge(&request, self.now).unwrap();
        let answer = tpm.answer(&audience, &wrapped).unwrap();
        pending.finish(&answer, &self.desk(audience)).unwrap()
    }

    pub(crate) fn judge(&self, evidence: TpmEvidence) -> Result<Appraisal, Refusal> {
        appraise(&Evidence::Tpm(evidence), &BINDING, self.now, &self.anchors(), &Policy::default())
    }
}

/// Starts the computer that never was: extends the registers as its log says.
pub(crate) fn start(simulator: &Simulator, lines: &[Line]) {
    for line in lines {
        simulator.extend(line.register, &line.digest);
    }
}

/// A request with the certificates between, and the maker's root.
fn with_chain(simulator: &Simulator, tpm: &mut Tpm<Socket>) -> (Request, Vec<u8>) {
    let mut request = tpm.request(&AUDIENCE).unwrap();
    request.carried = vec![simulator.between()];
    (request, simulator.root())
}

#[test]
fn a_certified_tpm_is_a_known_machine_that_shows_how_it_was_started() {
    let simulator = Simulator::certified();
    let lines = boot(true);
    start(&simulator, &lines);
    let registrar = Registrar::new();
    let mut tpm = simulator.tpm();
    let (request, root) = with_chain(&simulator, &mut tpm);
    let (pending, wrapped) = challenge_under(&request, registrar.now, &[("Maker", &root)]).unwrap();
    assert_eq!(*pending.certification(), Certification::Certified { vendor: "Maker" });
    let answer = tpm.answer(&AUDIENCE, &wrapped).unwrap();
    let statement = pending.finish(&answer, &registrar.desk(AUDIENCE)).unwrap();
    let shown = tpm.evidence(&AUDIENCE, &BINDING, statement, Some(written(&lines))).unwrap();

    assert_eq!(shown.registers, registers(&lines), "the simulator and the log's own arithmetic differ");

    // It travels.
    let bytes = Evidence::Tpm(shown).encode();
    let evidence = Evidence::decode(&bytes).unwrap();
    let policy = Policy { require_secure_boot: true, ..Policy::accepting([Grade::KnownMachine]) };
    let appraisal = appraise(&evidence, &BINDING, registrar.now, &registrar.anchors(), &policy).unwrap();
    assert_eq!(appraisal.grade, Grade::KnownMachine);
    assert_eq!(appraisal.facts.vendor.as_deref(), Some("Maker"));
    assert_eq!(appraisal.facts.secure_boot, Some(true));
    assert!(appraisal.facts.machine.is_some());

    // No other question, no other connection, no other verifier, no later time.
    let ask = |binding, now, anchors: &Anchors| appraise(&evidence, &binding, now, anchors, &policy).unwrap_err();
    let anchors = registrar.anchors();
    assert_eq!(ask(Binding { nonce: [9; 32], ..BINDING }, registrar.now, &anchors), Refusal::AnotherBinding);
    assert_eq!(ask(Binding { tls_key: [9; 32], ..BINDING }, registrar.now, &anchors), Refusal::AnotherBinding);
    assert_eq!(ask(BINDING, registrar.now + HOUR, &anchors), Refusal::StatementExpired);
    // Clocks differ by minutes, not by more.
    assert_eq!(ask(BINDING, registrar.now - 301, &anchors), Refusal::StatementTooEarly);
    assert!(appraise(&evidence, &BINDING, registrar.now - 300, &anchors, &policy).is_ok());
    let other = Anchors { audience: [0; 32], ..anchors.clone() };
    assert_eq!(ask(BINDING, registrar.now, &other), Refusal::AnotherAudience);
    let other = Anchors { registrars: vec![[7; 32]], ..anchors };
    assert_eq!(ask(BINDING, registrar.now, &other), Refusal::UnknownRegistrar);
}

/// What the registrar says of this TPM with what its memory holds, after the TPM has opened the challenge.
fn certified_by(simulator: &Simulator, root: &[u8]) -> Certification {
    let registrar = Registrar::new();
    let mut tpm = simulator.tpm();
    let request = tpm.request(&AUDIENCE).unwrap();
    let (pending, wrapped) = challenge_under(&request, registrar.now, &[("Maker", root)]).unwrap();
    let certification = pending.certification().clone();
    let answer = tpm.answer(&AUDIENCE, &wrapped).unwrap();
    let statement = Statement::verify(&pending.finish(&answer, &registrar.desk(AUDIENCE)).unwrap()).unwrap();
    assert_eq!(statement.certified, certification == Certification::Certified { vendor: "Maker" });
    certification
}

/// Where makers put the certificates of endorsement keys, RSA and P-384, and those above them.
const RSA: u32 = 0x01c0_0002;
const P384: u32 = 0x01c0_0016;
const CHAIN: u32 = 0x01c0_0100;

#[test]
fn what_a_maker_put_into_the_tpm_leads_to_its_root_without_a_download() {
    let simulator = Simulator::certified();
    let (root, between) = (simulator.root(), simulator.between());
    let unknown = Certification::Uncertified(WhyNot::Chain(ChainError::UnknownIssuer));
    assert_eq!(certified_by(&simulator, &root), unknown);
    let known = Certification::Certified { vendor: "Maker" };
    simulator.write(CHAIN, &between);
    assert_eq!(certified_by(&simulator, &root), known);
    assert_eq!(simulator.tpm().request(&AUDIENCE).unwrap().carried, [&between[..]]);
    // In two pieces, at other indexes, with room behind, and with another one in front.
    simulator.forget(CHAIN);
    let two = [&root[..], &between, &[0; 40]].concat();
    let (first, second) = two.split_at(1_000);
    simulator.write(CHAIN + 0x10, first);
    simulator.write(CHAIN + 0x11, second);
    assert_eq!(certified_by(&simulator, &root), known);
    assert_eq!(simulator.tpm().request(&AUDIENCE).unwrap().carried, [&root[..], &between]);
    // What is no certificate ends the list, and costs nothing else.
    simulator.write(CHAIN, b"no certificate");
    assert_eq!(certified_by(&simulator, &root), unknown);
    // Far more than a registrar takes: the rest stays where it is.
    simulator.forget(CHAIN);
    for more in 0..9 {
        simulator.write(CHAIN + 0x20 + more, &between);
    }
    assert_eq!(simulator.tpm().request(&AUDIENCE).unwrap().carried.len(), CARRIED);
    assert_eq!(certified_by(&simulator, &root), known);
}

#[test]
fn a_tpm_with_a_certificate_for_p_384_alone_is_a_known_machine() {
    let simulator = Simulator::certified();
    simulator.write(CHAIN, &simulator.between());
    let with_rsa = simulator.tpm().request(&AUDIENCE).unwrap();
    simulator.forget(RSA);
    let request = simulator.tpm().request(&AUDIENCE).unwrap();
    assert_ne!(request.ek_public, with_rsa.ek_public);
    // ECC, named by SHA-384, and on the curve of the certificate.
    assert_eq!(request.ek_public[..4], [0, 0x23, 0, 0x0c]);
    assert_eq!(certified_by(&simulator, &simulator.root()), Certification::Certified { vendor: "Maker" });
    // A challenge of another key's, and one that was changed, are opened by nobody.
    let (other, registrar) = (Simulator::plain(), Registrar::new());
    let (_, wrapped) = challenge(&request, registrar.now).unwrap();
    assert!(other.tpm().answer(&AUDIENCE, &wrapped).is_err());
    let mut changed = wrapped.clone();
    *changed.credential.last_mut().unwrap() ^= 1;
    assert!(simulator.tpm().answer(&AUDIENCE, &changed).is_err());
    simulator.tpm().answer(&AUDIENCE, &wrapped).unwrap();
    // Without any certificate another key is taken, and it is one that nobody certifies.
    simulator.forget(P384);
    assert_eq!(certified_by(&simulator, &simulator.root()), Certification::Uncertified(WhyNot::NoCertificate));
    assert!(simulator.tpm().request(&AUDIENCE).unwrap().carried.is_empty(), "certificates that are about no key");
}

#[test]
fn a_tpm_of_no_known_maker_is_known_and_uncertified_and_passes_for_nothing_more() {
    let registrar = Registrar::new();
    // A certificate by somebody unknown is none, and so is none at all.
    for simulator in [Simulator::certified(), Simulator::plain()] {
        let mut tpm = simulator.tpm();
        let statement = registrar.statement(&mut tpm, AUDIENCE);
        let shown = tpm.evidence(&AUDIENCE, &BINDING, statement, None).unwrap();
        let appraisal = registrar.judge(shown.clone()).unwrap();
        assert_eq!(appraisal.grade, Grade::KnownMachineUncertified);
        assert_eq!((appraisal.facts.vendor, appraisal.facts.secure_boot), (None, None));
        let policy = Policy::accepting([Grade::KnownMachine, Grade::ProcessorIsolated]);
        let refused = appraise(&Evidence::Tpm(shown), &BINDING, registrar.now, &registrar.anchors(), &policy);
        assert_eq!(refused, Err(Refusal::GradeNotAccepted(Grade::KnownMachineUncertified)));
    }
}

#[test]
fn one_machine_has_one_number_for_one_verifier_and_another_for_another() {
    let (registrar, mine, other) = (Registrar::new(), Simulator::plain(), Simulator::plain());
    let said = |simulator: &Simulator, audience| {
        Statement::verify(&registrar.statement(&mut simulator.tpm(), audience)).unwrap()
    };
    let first = said(&mine, AUDIENCE);
    let again = said(&mine, AUDIENCE);
    assert_eq!((first.machine, first.ak_name), (again.machine, again.ak_name));
    let elsewhere = said(&mine, [0xb2; 32]);
    assert_ne!(first.machine, elsewhere.machine);
    assert_ne!(first.ak_name, elsewhere.ak_name, "two proxies see the same key");
    let another = said(&other, AUDIENCE);
    assert_ne!(first.machine, another.machine);
    assert_ne!(first.ak_name, another.ak_name);
}

/// PYSEC-2022-184: the certificate of a real TPM, and a key that is elsewhere.
#[test]
fn the_keys_of_two_tpms_are_never_taken_for_one() {
    let (registrar, real, fake) = (Registrar::new(), Simulator::certified(), Simulator::plain());
    let (mut real_tpm, mut fake_tpm) = (real.tpm(), fake.tpm());
    let (honest, root) = with_chain(&real, &mut real_tpm);
    let roots: [(&'static str, &[u8]); 1] = [("Maker", &root)];
    let theirs = fake_tpm.request(&AUDIENCE).unwrap();

    // The real one's certificate with the fake one's attestation key: neither can answer.
    let swapped = Request { ak_public: theirs.ak_public.clone(), ..honest.clone() };
    let (pending, wrapped) = challenge_under(&swapped, registrar.now, &roots).unwrap();
    assert!(real_tpm.answer(&AUDIENCE, &wrapped).is_err(), "the real TPM opened what was wrapped for another key");
    assert!(fake_tpm.answer(&AUDIENCE, &wrapped).is_err(), "the fake TPM opened what was wrapped for another one");
    assert_eq!(pending.finish(&[0; 32], &registrar.desk(AUDIENCE)), Err(RegistrarError::WrongAnswer));

    // The real one's certificate on the fake one's endorsement key: it is for another key.
    let swapped = Request { ek_public: theirs.ek_public.clone(), ..honest.clone() };
    let (pending, _) = challenge_under(&swapped, registrar.now, &roots).unwrap();
    assert_eq!(*pending.certification(), Certification::Uncertified(WhyNot::AnotherKey));

    // The real one is made known, and the fake one's key signs the quote.
    let (pending, wrapped) = challenge_under(&honest, registrar.now, &roots).unwrap();
    let answer = real_tpm.answer(&AUDIENCE, &wrapped).unwrap();
    let statement = pending.finish(&answer, &registrar.desk(AUDIENCE)).unwrap();
    let mut shown = fake_tpm.evidence(&AUDIENCE, &BINDING, statement.clone(), None).unwrap();
    assert_eq!(registrar.judge(shown.clone()), Err(Refusal::AnotherKey));
    // It shows the real one's key and its own signature.
    shown.ak_public = honest.ak_public;
    assert_eq!(registrar.judge(shown), Err(Refusal::WrongSignature("quote")));
    let good = real_tpm.evidence(&AUDIENCE, &BINDING, statement, None).unwrap();
    assert_eq!(registrar.judge(good).unwrap().grade, Grade::KnownMachine);
}

#[test]
fn a_log_that_does_not_lead_to_the_quoted_registers_is_not_believed() {
    let simulator = Simulator::plain();
    start(&simulator, &boot(false));
    let registrar = Registrar::new();
    let mut tpm = simulator.tpm();
    let statement = registrar.statement(&mut tpm, AUDIENCE);
    let mut show = |log| registrar.judge(tpm.evidence(&AUDIENCE, &BINDING, statement.clone(), Some(log)).unwrap());
    assert_eq!(show(written(&boot(false))).unwrap().facts.secure_boot, Some(false));
    assert_eq!(show(written(&boot(true))), Err(Refusal::LogDoesNotFit(7)));
    // The hash is kept and what was hashed is changed: it is not what was measured, so it says nothing.
    let mut lies = boot(false);
    lies[1].content = variable("SecureBoot", &[1]).content;
    assert_eq!(show(written(&lies)).unwrap().facts.secure_boot, None);
}

#[test]
fn no_flipped_bit_of_a_quote_its_key_its_registers_or_its_statement_is_accepted() {
    let (registrar, simulator) = (Registrar::new(), Simulator::plain());
    let mut tpm = simulator.tpm();
    let statement = registrar.statement(&mut tpm, AUDIENCE);
    let good = tpm.evidence(&AUDIENCE, &BINDING, statement, None).unwrap();
    registrar.judge(good.clone()).unwrap();
    let parts: [fn(&mut TpmEvidence) -> &mut [u8]; 5] = [
        |shown| &mut shown.ak_public,
        |shown| &mut shown.attest,
        |shown| &mut shown.signature,
        |shown| shown.registers.as_flattened_mut(),
        |shown| &mut shown.statement,
    ];
    for part in parts {
        for at in 0..part(&mut good.clone()).len() {
            let mut changed = good.clone();
            part(&mut changed)[at] ^= 1 << (at % 8);
            assert!(registrar.judge(changed).is_err(), "byte {at}");
        }
    }
}

/// A signature on a curve has a twin: both are good, and nothing that is kept depends on which.
#[test]
fn the_twin_of_a_signature_says_the_same_about_the_same_machine() {
    let (registrar, simulator) = (Registrar::new(), Simulator::plain());
    let mut tpm = simulator.tpm();
    let statement = registrar.statement(&mut tpm, AUDIENCE);
    let good = tpm.evidence(&AUDIENCE, &BINDING, statement, None).unwrap();
    let mut twin = good.clone();
    // ECDSA, SHA-256, then two numbers with their lengths; the second one is taken from the group's order.
    let r = usize::from(u16::from_be_bytes(good.signature[4..6].try_into().unwrap()));
    let s = &good.signature[8 + r..];
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut borrow = 0_i16;
    let mut other = vec![0; 32];
    for at in (0_usize..32).rev() {
        let from = at.checked_sub(32 - s.len()).map_or(0, |at| s[at]);
        let difference = i16::from(order[at]) - i16::from(from) - borrow;
        borrow = i16::from(difference < 0);
        other[at] = difference.rem_euclid(256) as u8;
    }
    twin.signature = [&good.signature[..6 + r], &[0, 32], &other].concat();
    assert_ne!(twin.signature, good.signature);
    assert_eq!(registrar.judge(twin).unwrap(), registrar.judge(good).unwrap());
}

#[test]
fn the_tpm_names_its_maker() {
    assert_eq!(Simulator::plain().tpm().about().unwrap().maker, "IBM");
}

/// Prints figures; `docs/benchmarks.md` has them. Nothing is asserted about time.
#[test]
fn how_long_a_quote_and_its_appraisal_take() {
    let (registrar, simulator) = (Registrar::new(), Simulator::plain());
    let lines = boot(true);
    start(&simulator, &lines);
    let mut tpm = simulator.tpm();
    let began = Instant::now();
    let statement = registrar.statement(&mut tpm, AUDIENCE);
    let known = began.elapsed();
    let began = Instant::now();
    let times = 20;
    let mut shown = None;
    for _ in 0..times {
        shown = Some(tpm.evidence(&AUDIENCE, &BINDING, statement.clone(), Some(written(&lines))).unwrap());
    }
    let quote = began.elapsed() / times;
    let shown = shown.unwrap();
    let size = Evidence::Tpm(shown.clone()).encode().len();
    let began = Instant::now();
    for _ in 0..times {
        registrar.judge(shown.clone()).unwrap();
    }
    let verified = began.elapsed() / times;
    println!("swtpm: made known in {known:?}, evidence of {size} bytes in {quote:?}, appraised in {verified:?}");
}
