//! TPMs that are gone, slow, silent, busy, reset, owned, or talk nonsense.

use crate::attest::{AUDIENCE, Registrar};
use crate::simulator::{PATIENCE, Simulator};
use evidence::{Binding, registrar};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;
use tpm::{Socket, Tpm, TpmError, Transport};

const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };

/// Stands between client and simulator and holds back one answer.
fn held_back(simulator: &Simulator, by: Duration) -> (std::net::SocketAddr, JoinHandle<()>) {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, behind) = (listener.local_addr().unwrap(), simulator.address());
    let relay = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut tpm = TcpStream::connect(behind).unwrap();
        let mut buffer = [0; 4096];
        let mut first = true;
        while let Ok(length) = client.read(&mut buffer)
            && length > 0
        {
            tpm.write_all(&buffer[..length]).unwrap();
            let length = tpm.read(&mut buffer).unwrap();
            if std::mem::take(&mut first) {
                std::thread::sleep(by);
            }
            if client.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
    (address, relay)
}

#[test]
fn a_slow_tpm_is_waited_for() {
    let simulator = Simulator::plain();
    let (address, relay) = held_back(&simulator, Duration::from_secs(2));
    let mut tpm = Tpm::new(Socket::connect(address, PATIENCE).unwrap());
    tpm.registers().unwrap();
    drop(tpm);
    relay.join().unwrap();
}

#[test]
fn a_silent_tpm_is_not_waited_for_endlessly() {
    let simulator = Simulator::plain();
    let (address, relay) = held_back(&simulator, Duration::from_secs(1));
    let mut tpm = Tpm::new(Socket::connect(address, Duration::from_millis(50)).unwrap());
    assert!(matches!(tpm.registers(), Err(TpmError::TimedOut)));
    drop(tpm);
    relay.join().unwrap();
}

#[test]
fn a_tpm_that_goes_away_is_gone_and_counts_its_reset_when_it_is_back() {
    let (registrar, mut simulator) = (Registrar::new(), Simulator::plain());
    let mut tpm = simulator.tpm();
    let statement = registrar.statement(&mut tpm, AUDIENCE);
    let before = registrar.judge(tpm.evidence(&AUDIENCE, &BINDING, statement.clone(), None).unwrap()).unwrap();
    simulator.end();
    assert!(matches!(tpm.evidence(&AUDIENCE, &BINDING, statement.clone(), None), Err(TpmError::Gone(_))));
    simulator.restart();
    // The key is made anew and is the same one: the statement still fits.
    let mut tpm = simulator.tpm();
    let after = registrar.judge(tpm.evidence(&AUDIENCE, &BINDING, statement, None).unwrap()).unwrap();
    assert_eq!(before.facts.machine, after.facts.machine);
    assert!(after.facts.resets > before.facts.resets, "{:?} {:?}", before.facts.resets, after.facts.resets);
}

#[test]
fn a_tpm_that_nobody_started_says_so() {
    let mut simulator = Simulator::plain();
    simulator.restart_without_firmware();
    assert!(matches!(simulator.tpm().registers(), Err(TpmError::NotStarted)));
}

#[test]
fn a_tpm_that_belongs_to_somebody_else_says_so() {
    let simulator = Simulator::plain();
    // TPM2_HierarchyChangeAuth: a password on the owner's hierarchy is no matter to us, one on the endorsement hierarchy is.
    let set = |hierarchy: u32| {
        let mut rest = hierarchy.to_be_bytes().to_vec();
        rest.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        rest.extend([0, 2]);
        rest.extend(b"pw");
        simulator.command(0x8002, 0x129, &rest);
    };
    set(0x4000_0001);
    simulator.tpm().request(&AUDIENCE).unwrap();
    set(0x4000_000b);
    assert!(matches!(simulator.tpm().request(&AUDIENCE), Err(TpmError::Owned)));
}

#[test]
fn whatever_is_refused_leaves_nothing_loaded_behind() {
    let (registrar, simulator) = (Registrar::new(), Simulator::plain());
    let mut tpm = simulator.tpm();
    let request = tpm.request(&AUDIENCE).unwrap();
    let (_, mut wrong) = registrar::challenge(&request, registrar.now).unwrap();
    wrong.credential[40] ^= 1;
    // The simulator has room for three.
    for _ in 0..8 {
        assert!(tpm.answer(&AUDIENCE, &wrong).is_err());
    }
    registrar.statement(&mut tpm, AUDIENCE);
}

/// Answers with these codes, one after the other, before it lets the simulator answer.
struct Moody<T> {
    codes: VecDeque<u32>,
    asked: u32,
    then: T,
}

impl<T: Transport> Transport for Moody<T> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.asked += 1;
        match self.codes.pop_front() {
            Some(code) => Ok([&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()),
            None => self.then.exchange(command),
        }
    }
}

#[test]
fn a_busy_tpm_is_asked_again_and_not_for_ever() {
    let simulator = Simulator::plain();
    let moody = |codes: &[u32]| {
        let then = Socket::connect(simulator.address(), PATIENCE).unwrap();
        Tpm::new(Moody { codes: codes.iter().copied().collect(), asked: 0, then })
    };
    // Again, yielded, testing, no room for objects, no room for sessions.
    moody(&[0x922, 0x908, 0x90a, 0x902, 0x903]).registers().unwrap();
    assert!(matches!(moody(&[0x922; 6]).registers(), Err(TpmError::Busy(0x922))));
    assert!(matches!(moody(&[0x921]).registers(), Err(TpmError::LockedOut)));
    assert!(matches!(moody(&[0x910]).registers(), Err(TpmError::Reset)));
    assert!(matches!(moody(&[0x9a2]).registers(), Err(TpmError::Owned)));
    assert!(matches!(moody(&[0x143]).registers(), Err(TpmError::Unsupported(0x143))));
}

struct Says(Vec<u8>);

impl Transport for Says {
    fn exchange(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }
}

#[test]
fn nonsense_from_a_tpm_is_an_error() {
    let good = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0];
    for length in 0..=good.len() {
        assert!(matches!(Tpm::new(Says(good[..length].to_vec())).registers(), Err(TpmError::Malformed)), "{length}");
    }
    let mut long = good.to_vec();
    long.extend([0xff; 4000]);
    long[2..6].copy_from_slice(&4010_u32.to_be_bytes());
    assert!(matches!(Tpm::new(Says(long)).registers(), Err(TpmError::Malformed)));
}
