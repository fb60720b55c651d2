//! OpenSSL in a process of its own at the other end of a real socket, with the settings of the genuine programs: TLS 1.3, two
//! suites, a certificate demanded from both, no resumption wanted. It knows of no proof of work, so that is done on our side
//! of the socket.
//!
//! OpenSSL is made to verify us as strictly as it can: it trusts our certificate and nothing else, looks for the DNS name that
//! genuine programs look for, and ends the connection on any error but the two that genuine programs overlook.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ratls::pow::MAX_DIFFICULTY;
use ratls::tls::{self, Clock};
use ratls::{
    AppraisalError, ChannelError, ClientChannel, Evidence, Identity, Policy, ServerChannel, State, VerifyError,
};

use crate::fixture;
use crate::maker::{EXTENDED_KEY_USAGE, QUOTE, Recipe, pkcs8, server_only};
use crate::pair::{End, FAKE, NOW, clock, hello_of, past_pow, server_past_pow};

const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
const TLS_1_3: &[&str] = &["-tls1_3"];
/// Only so that a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with the files that OpenSSL wants, and the time at which everything is valid.
struct Stage {
    folder: tempfile::TempDir,
    now: u64,
    ours: Identity,
}

impl Stage {
    /// `None`, and a line that says so, where there is no OpenSSL.
    fn new(now: u64) -> Option<Self> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: no openssl");
            return None;
        }
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            now,
            ours: Identity::generate(Evidence::FakeTdx, now).unwrap(),
        };
        stage.write("ours.pem", &fixture::to_pem("CERTIFICATE", stage.ours.certificate()));
        Some(stage)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What OpenSSL shows: a certificate made here.
    fn made(&self, recipe: &Recipe) -> Peer {
        Peer {
            certificate: self.write("peer.pem", &fixture::to_pem("CERTIFICATE", &recipe.der())),
            key: self.write("peer-key.pem", &fixture::to_pem("PRIVATE KEY", &pkcs8(&recipe.key))),
        }
    }

    fn clock(&self) -> Clock {
        clock(self.now)
    }

    fn openssl(&self, program: &str) -> Command {
        let mut command = Command::new("openssl");
        command
            .arg(program)
            .arg("-attime")
            .arg(self.now.to_string())
            .arg("-CAfile")
            .arg(self.folder.path().join("ours.pem"));
        command.args(["-verify_return_error", "-ignore_critical", "-no_ticket", "-ciphersuites", SUITES]);
        command.stderr(Stdio::null());
        command
    }

    /// A server that sends every line back, reversed. It is killed with the returned value.
    fn server(&self, peer: &Peer) -> (Process, TcpStream) {
        let mut command = self.openssl("s_server");
        command.args(["-tls1_3", "-accept", "127.0.0.1:0", "-Verify", "1", "-rev"]).arg("-cert").arg(&peer.certificate);
        command.arg("-key").arg(&peer.key).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.to_owned();
            }
        };
        // What it prints later must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (process, stream)
    }

    /// A client that sends what is written to its standard input and prints what it receives.
    fn client(&self, shown: &[&str], more: &[&str]) -> (Process, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = self.openssl("s_client");
        command.args(["-verify", "1", "-verify_hostname", "127.0.0.1", "-noservername", "-quiet"]);
        command.arg("-connect").arg(listener.local_addr().unwrap().to_string()).args(shown).args(more);
        let mut process = Process(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        listener.set_nonblocking(true).unwrap();
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => assert!(process.0.try_wait().unwrap().is_none(), "openssl ended without a connection"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (process, stream)
    }
}

struct Peer {
    certificate: PathBuf,
    key: PathBuf,
}

impl Peer {
    fn recorded(name: &str) -> Self {
        let file = |what| fixture::path(&format!("certs/{name}_{what}.pem"));
        Self { certificate: file("cert"), key: file("key") }
    }

    fn arguments(&self) -> [&str; 4] {
        fn text(path: &Path) -> &str {
            path.to_str().unwrap()
        }
        ["-cert", text(&self.certificate), "-key", text(&self.key)]
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Carries bytes between a channel and the socket until the channel is as wanted.
fn carry<E: End>(
    channel: &mut E,
    stream: &mut TcpStream,
    mut until: impl FnMut(&mut E) -> bool,
) -> Result<(), Refusal> {
    let mut buffer = [0; 4_096];
    loop {
        let sent = stream.write_all(&channel.wire());
        if until(channel) {
            return Ok(());
        }
        match sent.and_then(|()| stream.read(&mut buffer)) {
            Ok(0) => return Err(Refusal::OpenSsl),
            Ok(length) => channel.receive(&buffer[..length])?,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                return Err(Refusal::OpenSsl);
            }
            Err(error) => panic!("the peer said nothing: {error}"),
        }
    }
}

fn is_open<E: End>(channel: &mut E) -> bool {
    matches!(End::state(channel), State::Open(_))
}

/// Who ended the connection before a line had gone each way.
#[derive(Debug)]
enum Refusal {
    Ours(ChannelError),
    OpenSsl,
}

/// OpenSSL's own programs, unlike genuine ones, say goodbye with an alert.
macro_rules! by_openssl {
    () => {
        Refusal::OpenSsl | Refusal::Ours(ChannelError::Tls(rustls::Error::AlertReceived(_)))
    };
}

impl From<ChannelError> for Refusal {
    fn from(error: ChannelError) -> Self {
        Self::Ours(error)
    }
}

/// Dials an OpenSSL server that shows this certificate; a line must come back reversed. The peer's key.
fn dial(stage: &Stage, peer: &Peer, policy: Policy) -> Result<[u8; 32], Refusal> {
    let tls = tls::client_config(&stage.ours, policy, stage.clock()).unwrap();
    let (_process, mut stream) = stage.server(peer);
    let mut client = past_pow(ClientChannel::new(&tls, MAX_DIFFICULTY).unwrap());
    stream.write_all(&hello_of(&mut client)).unwrap();
    carry(&mut client, &mut stream, is_open)?;
    client.send_plaintext(b"a question\n")?;
    let mut answer = Vec::new();
    // The session tickets come on the way to the answer.
    carry(&mut client, &mut stream, |client| {
        answer.extend(client.take_plaintext());
        answer.len() >= 11
    })?;
    assert_eq!(answer, b"noitseuq a\n");
    Ok(client.peer().unwrap().public_key)
}

/// Lets an OpenSSL client dial that shows this certificate; a line goes each way.
fn accept(stage: &Stage, shown: &[&str], more: &[&str], policy: Policy) -> Result<[u8; 32], Refusal> {
    let tls = tls::server_config(&stage.ours, policy, stage.clock()).unwrap();
    let (mut process, mut stream) = stage.client(shown, more);
    let mut server: ServerChannel = server_past_pow(&tls);
    carry(&mut server, &mut stream, is_open)?;
    let mut input = process.0.stdin.take().unwrap();
    input.write_all(b"a question\n").unwrap();
    input.flush().unwrap();
    let mut question = Vec::new();
    carry(&mut server, &mut stream, |server| {
        question.extend(server.take_plaintext());
        question.len() >= 11
    })?;
    assert_eq!(question, b"a question\n");
    server.send_plaintext(b"an answer\n")?;
    stream.write_all(&server.take_wire()).unwrap();
    let mut answer = [0; 10];
    process.0.stdout.take().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"an answer\n");
    Ok(server.peer().unwrap().public_key)
}

/// The middle of the day on which the recorded certificate was valid.
fn day_of(name: &str) -> u64 {
    ratls::certificate::parse(&fixture::certificate(name)).unwrap().not_before as u64 + 43_200
}

#[test]
fn we_dial_an_openssl_server_that_shows_a_genuine_certificate() {
    for (name, policy) in [("fakerouter_b", FAKE), ("none_a", Policy::Any)] {
        let Some(stage) = Stage::new(day_of(name)) else { return };
        let key = dial(&stage, &Peer::recorded(name), policy).unwrap();
        assert_eq!(Some(key), ratls::certificate::parse(&fixture::certificate(name)).unwrap().public_key);
    }
}

#[test]
fn an_openssl_client_that_shows_a_genuine_certificate_dials_us() {
    for (name, policy) in [("fake_a", FAKE), ("none_b", Policy::Any)] {
        let Some(stage) = Stage::new(day_of(name)) else { return };
        let key = accept(&stage, &Peer::recorded(name).arguments(), TLS_1_3, policy).unwrap();
        assert_eq!(Some(key), ratls::certificate::parse(&fixture::certificate(name)).unwrap().public_key);
    }
}

#[test]
fn certificates_of_version_1_and_3_made_for_openssl_are_accepted_both_ways() {
    let Some(stage) = Stage::new(NOW) else { return };
    for recipe in [Recipe::genuine(31), Recipe::genuine(32).version_3()] {
        let peer = stage.made(&recipe);
        let expected = recipe.key.verifying_key().to_bytes();
        assert_eq!(dial(&stage, &peer, FAKE).unwrap(), expected);
        assert_eq!(accept(&stage, &peer.arguments(), TLS_1_3, FAKE).unwrap(), expected);
    }
}

#[test]
fn openssl_and_we_agree_on_the_second_suite_too() {
    let Some(stage) = Stage::new(NOW) else { return };
    let peer = stage.made(&Recipe::genuine(33));
    // The later list of suites overrides the earlier one.
    let second = ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"];
    assert!(accept(&stage, &peer.arguments(), &second, FAKE).is_ok());
}

#[test]
fn openssl_clients_with_bad_certificates_are_refused() {
    let Some(stage) = Stage::new(NOW) else { return };
    let good = Recipe::genuine(34);
    for (recipe, why) in [
        (good.clone().without(QUOTE), VerifyError::Appraisal(AppraisalError::NoEvidence)),
        (good.clone().with(QUOTE, true, &[0; 64]), VerifyError::Appraisal(AppraisalError::AnotherKey)),
        (
            good.clone().with(EXTENDED_KEY_USAGE, true, &server_only()),
            VerifyError::WrongPurpose { role: ratls::Role::Client },
        ),
    ] {
        let peer = stage.made(&recipe);
        let refused = accept(&stage, &peer.arguments(), TLS_1_3, FAKE);
        assert!(matches!(&refused, Err(Refusal::Ours(ChannelError::Peer(found))) if *found == why), "{refused:?}");
    }
    let nobody = accept(&stage, &[], TLS_1_3, FAKE);
    assert!(matches!(nobody, Err(Refusal::Ours(ChannelError::Peer(VerifyError::NotOneCertificate { count: 0 })))));
    let expired = accept(&stage, &Peer::recorded("fake_a").arguments(), TLS_1_3, FAKE);
    assert!(matches!(expired, Err(Refusal::Ours(ChannelError::Peer(VerifyError::Expired { .. })))));
}

#[test]
fn openssl_servers_with_bad_certificates_are_refused() {
    let Some(stage) = Stage::new(NOW) else { return };
    let peer = stage.made(&Recipe::genuine(35).without(crate::maker::ALTERNATIVE_NAMES));
    let refused = dial(&stage, &peer, FAKE);
    assert!(matches!(refused, Err(Refusal::Ours(ChannelError::Peer(VerifyError::WrongName)))), "{refused:?}");
    let refused = dial(&stage, &Peer::recorded("fake_b"), FAKE);
    assert!(matches!(refused, Err(Refusal::Ours(ChannelError::Peer(VerifyError::Expired { .. })))), "{refused:?}");
}

#[test]
fn an_openssl_client_of_tls_1_2_is_refused_silently() {
    let Some(stage) = Stage::new(NOW) else { return };
    let peer = stage.made(&Recipe::genuine(36));
    let refused = accept(&stage, &peer.arguments(), &["-tls1_2"], FAKE);
    assert!(matches!(refused, Err(Refusal::Ours(ChannelError::Tls(_)))), "{refused:?}");
}

#[test]
fn openssl_does_verify_us_in_these_tests() {
    let Some(mut stage) = Stage::new(NOW) else { return };
    let peer = stage.made(&Recipe::genuine(37));
    // Another certificate than the one it was told to trust.
    stage.ours = Identity::generate(Evidence::FakeTdx, NOW).unwrap();
    assert!(matches!(dial(&stage, &peer, FAKE), Err(by_openssl!())));
    assert!(matches!(accept(&stage, &peer.arguments(), TLS_1_3, FAKE), Err(by_openssl!())));
    // Told of it, OpenSSL lets it in, but not under another name.
    stage.write("ours.pem", &fixture::to_pem("CERTIFICATE", stage.ours.certificate()));
    assert!(accept(&stage, &peer.arguments(), TLS_1_3, FAKE).is_ok());
    let elsewhere = ["-tls1_3", "-verify_hostname", "127.0.0.2"];
    assert!(matches!(accept(&stage, &peer.arguments(), &elsewhere, FAKE), Err(by_openssl!())));
}
