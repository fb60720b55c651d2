//! Enrolment of a TPM, each of our machines against bytes of the other side. See [`crate::script`].

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::enrolment::{Applicant, ApplicantAction, Desk, DeskAction, Request, introduction};

use crate::script::{Clocks, Counting, Step, Wire, next};

/// Seed of the registrar that the applicant's owner agreed to.
pub const REGISTRAR_SEED: [u8; 32] = [4; 32];
/// Key of the registrar's certificate.
pub const REGISTRAR_TLS: [u8; 32] = [7; 32];
/// What the desk's host puts into its challenges.
const SECRET: &[u8] = b"what only this TPM can read";

/// A machine, told by a registrar.
pub fn protocol_applicant(data: &[u8]) {
    applicant_with(data);
}

/// Says whether it was certified.
fn applicant_with(data: &[u8]) -> bool {
    let mut certified = false;
    let mut clocks = Clocks::new();
    let mut wires = <[Wire; 2]>::default();
    let mut out = Vec::new();
    let request = Request {
        ek_certificates: vec![vec![1; 90]],
        ek_public: vec![2; 70],
        ak_public: vec![3; 70],
        audience: [5; 32],
    };
    let registrar = SigningKey::from_bytes(&REGISTRAR_SEED).verifying_key().to_bytes();
    let random = Box::<Counting>::default();
    let mut applicant = Applicant::new(request, registrar, REGISTRAR_TLS, random, clocks.now(), &mut out);
    let mut script = data;
    let mut alive = true;
    loop {
        for action in std::mem::take(&mut out) {
            match action {
                ApplicantAction::Send(bytes) => wires[0].take(&bytes),
                ApplicantAction::Open { credential, .. } => applicant.activated(credential, clocks.now(), &mut out),
                ApplicantAction::Certified(_) => certified = true,
            }
        }
        if !out.is_empty() {
            continue;
        }
        if !alive {
            break;
        }
        let Some((_, step)) = next(&mut script, &mut wires) else { break };
        let now = clocks.now();
        match step {
            Step::Bytes(bytes) => alive = applicant.receive(&bytes, now, &mut out).is_ok(),
            Step::Answer(content) => {
                let bytes = wires[0].answer(content);
                alive = applicant.receive(&bytes, now, &mut out).is_ok();
            }
            Step::Wait(time) => clocks.pass(time, |now| {
                if let Some(now) = now {
                    alive &= applicant.tick(now, &mut out).is_ok();
                }
                applicant.next_deadline()
            }),
            Step::Act(what) => applicant.activated(vec![what; 4], now, &mut out),
            Step::BreakOff => break,
        }
    }
    if !alive {
        assert!(applicant.next_deadline().is_none(), "over, and still waits for something");
        assert!(applicant.receive(b"more", clocks.now(), &mut out).is_err(), "over, and still listens");
    }
    certified
}

/// A registrar, told by a machine.
pub fn protocol_desk(data: &[u8]) {
    desk_with(data);
}

/// Says how many were certified.
fn desk_with(data: &[u8]) -> usize {
    let mut certified = 0;
    let mut challenged = 0;
    let mut clocks = Clocks::new();
    let mut wires = <[Wire; 2]>::default();
    let mut out = Vec::new();
    let key = SigningKey::from_bytes(&REGISTRAR_SEED);
    let mut desk = Desk::new(Box::<Counting>::default(), clocks.now());
    let mut script = data;
    let mut alive = true;
    while alive {
        for action in std::mem::take(&mut out) {
            match action {
                DeskAction::Send(bytes) => wires[0].take(&bytes),
                DeskAction::Introduce { query, nonce } => {
                    let signature = key.sign(&introduction(&nonce, &REGISTRAR_TLS)).to_bytes();
                    desk.introduce(query, key.verifying_key().to_bytes(), &signature, &mut out);
                }
                DeskAction::Enrol { query, request } if request.ak_public.first() == Some(&0) => {
                    desk.refuse(query, "no", &mut out);
                }
                DeskAction::Enrol { query, .. } => {
                    challenged += 1;
                    desk.challenge(query, SECRET.to_vec(), vec![1], &mut out);
                }
                DeskAction::Judge { query, secret } if secret == SECRET => {
                    certified += 1;
                    desk.certify(query, vec![9; 100], &mut out);
                }
                DeskAction::Judge { query, .. } => desk.refuse(query, "no", &mut out),
            }
        }
        assert!(certified <= challenged && challenged <= 4, "{certified} certified of {challenged} challenged");
        if !out.is_empty() {
            continue;
        }
        let Some((_, step)) = next(&mut script, &mut wires) else { break };
        let now = clocks.now();
        match step {
            Step::Bytes(bytes) => alive = desk.receive(&bytes, now, &mut out).is_ok(),
            Step::Answer(content) => {
                let bytes = wires[0].answer(content);
                alive = desk.receive(&bytes, now, &mut out).is_ok();
            }
            Step::Wait(time) => clocks.pass(time, |now| {
                if let Some(now) = now
                    && alive
                {
                    alive = desk.tick(now).is_ok();
                }
                desk.next_deadline().filter(|_| alive)
            }),
            Step::Act(_) => {}
            Step::BreakOff => break,
        }
    }
    certified
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_enrolments_end_with_a_statement() {
        let read = |target: &str| -> Vec<Vec<u8>> {
            let folder = format!("{}/../../../tests/fixtures/fuzz/{target}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
        };
        assert!(read("protocol_applicant").iter().any(|script| applicant_with(script)), "the inputs are stale");
        assert!(read("protocol_desk").iter().any(|script| desk_with(script) == 1), "the inputs are stale");
    }
}
