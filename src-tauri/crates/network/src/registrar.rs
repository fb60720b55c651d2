//! A registrar: sees a TPM's endorsement key, once, and says in its place that an attestation key belongs to a machine.
//!
//! What lives here: the port, the two keys and their file, the task of each connection. What is verified and signed is `evidence`'s, the
//! conversation is `protocol`'s. What may not: keep a list of machines or write down an endorsement key. A machine's number is computed
//! from its key with a key of ours, anew each time, another one for each proxy; two numbers alone don't say that they are one machine.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use evidence::registrar::{self, Certification, Pending};
use protocol::enrolment::{Desk, DeskAction, Request, introduction};
use ratls::{Evidence, Identity, Policy};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use zeroize::Zeroizing;

use crate::clock::{Clock, OsRandom, random_bytes, unix_seconds};
use crate::config;
use crate::web;
use crate::wire::{HANDSHAKE_PATIENCE, Wire, WireError};

/// How long an enrolment may take, proof of work included.
const PATIENCE: Duration = Duration::from_mins(2);
/// Connections at once, and of one address.
const GUESTS: (usize, usize) = (256, 8);
/// Pause after the system refused to accept a connection.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// The file of the two keys: the seed that signs, then the key that numbers machines.
const KEYS: &str = "registrar.keys";
const DRAFT: &str = "registrar.keys.new";
/// Both keys, in bytes.
const LENGTH: usize = 64;
const DAY: u64 = 86_400;
/// The largest root certificate that is read.
const ROOT_LIMIT: u64 = 16 * 1024;
/// What a maker is called whose root was added here.
const ADDED: &str = "added by the registrar";

/// What a registrar is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder for its keys; made if it is not there.
    pub data: PathBuf,
    /// Address to listen on.
    pub listen: IpAddr,
    /// Port; 0: any free one.
    pub port: u16,
    /// Bits of proof of work that every dialler must do.
    pub pow_difficulty: i32,
    /// For how many days a statement counts.
    pub days: u32,
    /// Files of makers' roots (DER) that count besides those that are built in.
    pub roots: Vec<PathBuf>,
}

/// Why a registrar did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of keys is not one.
    #[error("{} is not what a registrar's keys are kept in; restore it, or move it away and become another registrar", path.display())]
    Keys {
        /// Which.
        path: PathBuf,
    },
    /// A maker's root is none.
    #[error("{} is no certificate in DER; `openssl x509 -outform DER` makes one of a file that is in PEM", path.display())]
    NoRoot {
        /// Which.
        path: PathBuf,
    },
    /// The port cannot be had.
    #[error("cannot listen on {address}: {}", web::bind_advice(source))]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Both keys. Wiped when dropped; cannot be printed.
struct Keys {
    signs: SigningKey,
    machines: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Reads them, or makes them.
    fn of(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(KEYS);
        let failed = |source| StartError::File { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
        match File::open(&path) {
            Ok(file) => {
                file.take(LENGTH as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bytes.extend_from_slice(&*Zeroizing::new(random_bytes::<LENGTH>()));
                // Written whole before it has its name: half a file of keys would be one that nothing mends.
                let draft = folder.join(DRAFT);
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let mut file = options.open(&draft).map_err(failed)?;
                file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
                drop(file);
                std::fs::rename(&draft, &path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let (seed, machines) =
            bytes.split_first_chunk::<32>().ok_or_else(|| StartError::Keys { path: path.clone() })?;
        let machines = machines.try_into().map_err(|_| StartError::Keys { path: path.clone() })?;
        Ok(Self { signs: SigningKey::from_bytes(seed), machines: Zeroizing::new(machines) })
    }

    fn public(&self) -> [u8; 32] {
        self.signs.verifying_key().to_bytes()
    }
}

/// What every connection needs.
struct Office {
    keys: Keys,
    lifetime: u64,
    difficulty: i32,
    roots: Vec<(&'static str, Vec<u8>)>,
    clock: Clock,
    guests: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A registrar that runs.
pub struct Running {
    address: SocketAddr,
    key: [u8; 32],
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that it signs with.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Ends it.
    pub async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Starts a registrar on the current tokio runtime.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    let keys = Keys::of(&settings.data)?;
    let key = keys.public();
    let roots = settings.roots.iter().map(|path| root(path)).collect::<Result<_, _>>()?;
    let address = SocketAddr::new(settings.listen, settings.port);
    let port = |source| StartError::Port { address, source };
    let listener = TcpListener::bind(address).await.map_err(port)?;
    let address = listener.local_addr().map_err(port)?;
    let office = Arc::new(Office {
        keys,
        lifetime: u64::from(settings.days).saturating_mul(DAY),
        difficulty: settings.pow_difficulty,
        roots,
        clock: Clock::new(),
        guests: Mutex::default(),
    });
    Ok(Running { address, key, task: tokio::spawn(office.open(listener)) })
}

fn root(path: &Path) -> Result<(&'static str, Vec<u8>), StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    let bytes = config::read_bytes(path, ROOT_LIMIT).map_err(failed)?.to_vec();
    if !registrar::is_certificate(&bytes) {
        return Err(StartError::NoRoot { path: path.to_owned() });
    }
    Ok((ADDED, bytes))
}

/// A place among the connections, free again when dropped.
struct Place {
    office: Arc<Office>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.office.guests();
        if let Some(count) = guests.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

impl Office {
    fn guests(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut guests = self.guests();
        let here = guests.get(&address).copied().unwrap_or(0);
        if guests.values().sum::<usize>() >= GUESTS.0 || here >= GUESTS.1 {
            return None;
        }
        *guests.entry(address).or_default() += 1;
        Some(Place { office: Arc::clone(self), address })
    }

    async fn open(self: Arc<Self>, listener: TcpListener) {
        let mut inside = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = inside.join_next() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    if let Some(place) = self.place(address.ip()) {
                        inside.spawn(self.clone().receive(stream, place));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE_AFTER_REFUSAL).await;
                }
            }
        }
    }

    /// Who comes is not written down, only what becomes of it.
    async fn receive(self: Arc<Self>, stream: TcpStream, place: Place) {
        let result = tokio::time::timeout(PATIENCE, self.converse(stream)).await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
            Err(_) => tracing::debug!("a connection took too long"),
        }
        drop(place);
    }

    async fn converse(&self, stream: TcpStream) -> Result<(), WireError> {
        let refused = |words: String| WireError::Io(std::io::Error::other(words));
        let identity =
            Identity::generate(Evidence::None, unix_seconds() as u64).map_err(|error| refused(error.to_string()))?;
        let clock = Arc::new(|| unix_seconds() as u64);
        let tls =
            ratls::tls::server_config(&identity, Policy::Any, clock).map_err(|error| refused(error.to_string()))?;
        let mut wire = Wire::accept(stream, &tls, self.difficulty, HANDSHAKE_PATIENCE).await?;
        let mut desk = Desk::new(Box::new(OsRandom), self.clock.now());
        let mut case = Case { office: self, tls_key: identity.public_key(), pending: None };
        while let Some(bytes) = wire.receive().await? {
            let mut out = Vec::new();
            let result = desk.receive(&bytes, self.clock.now(), &mut out);
            let mut replies = Vec::new();
            for action in out {
                case.perform(action, &mut desk, &mut replies);
            }
            for bytes in replies {
                wire.send(&bytes).await?;
            }
            result.map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }

    /// The challenge for these keys, by built-in roots or by those that were added.
    fn challenge(&self, request: Request) -> Result<(Pending, registrar::Challenge), registrar::RegistrarError> {
        let now = unix_seconds() as u64;
        let mut certificates = request.ek_certificates.into_iter();
        let request = registrar::Request {
            ek_public: request.ek_public,
            ek_certificate: certificates.next(),
            carried: certificates.collect(),
            ak_public: request.ak_public,
        };
        let made = registrar::challenge(&request, now)?;
        if matches!(made.0.certification(), Certification::Certified { .. }) || self.roots.is_empty() {
            return Ok(made);
        }
        let roots: Vec<(&'static str, &[u8])> = self.roots.iter().map(|(who, root)| (*who, &root[..])).collect();
        registrar::challenge_under(&request, now, &roots)
    }
}

/// One connection's keys under way.
struct Case<'a> {
    office: &'a Office,
    tls_key: [u8; 32],
    pending: Option<(Pending, [u8; 32])>,
}

impl Case<'_> {
    fn perform(&mut self, action: DeskAction, desk: &mut Desk, replies: &mut Vec<Vec<u8>>) {
        let mut out = Vec::new();
        match action {
            DeskAction::Send(bytes) => replies.push(bytes),
            DeskAction::Introduce { query, nonce } => {
                let signature = self.office.keys.signs.sign(&introduction(&nonce, &self.tls_key));
                desk.introduce(query, self.office.keys.public(), &signature.to_bytes(), &mut out);
            }
            DeskAction::Enrol { query, request } => {
                let audience = request.audience;
                // What was pending is void, whatever comes of this.
                self.pending = None;
                match self.office.challenge(*request) {
                    Ok((pending, challenge)) => {
                        if let Certification::Uncertified(why) = pending.certification() {
                            tracing::info!(%why, "an endorsement key is not certified");
                        }
                        self.pending = Some((pending, audience));
                        desk.challenge(query, challenge.credential, challenge.secret, &mut out);
                    }
                    Err(error) => desk.refuse(query, &error.to_string(), &mut out),
                }
            }
            DeskAction::Judge { query, secret } => {
                let office = self.office;
                let finished = self.pending.take().map(|(pending, audience)| {
                    let desk = registrar::Desk {
                        key: &office.keys.signs,
                        machines: &office.keys.machines,
                        audience,
                        now: unix_seconds() as u64,
                        lifetime: office.lifetime,
                    };
                    pending.finish(&secret, &desk)
                });
                match finished {
                    Some(Ok(statement)) => {
                        tracing::info!("an attestation key is certified");
                        desk.certify(query, statement, &mut out);
                    }
                    Some(Err(error)) => desk.refuse(query, &error.to_string(), &mut out),
                    None => desk.refuse(query, "nothing was asked", &mut out),
                }
            }
        }
        for action in out {
            if let DeskAction::Send(bytes) = action {
                replies.push(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_makers_root_that_is_no_certificate_in_der_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.der");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            root(&path).map(drop).unwrap_err().to_string()
        };
        for wrong in [
            &b""[..],
            b"garbage",
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            &[0x30, 0x03, 1, 1, 0],
        ] {
            let said = refused(wrong);
            assert!(said.contains("root.der is no certificate in DER"), "{said}");
        }
        assert!(refused(&vec![0; 20_000]).contains("longer than"));
        let identity = Identity::generate(Evidence::None, 1_800_000_000).unwrap();
        std::fs::write(&path, identity.certificate().as_ref()).unwrap();
        assert_eq!(root(&path).unwrap().1, identity.certificate().as_ref());
    }

    #[test]
    fn keys_are_made_once_kept_from_others_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::of(folder.path()).ok().unwrap();
        let again = Keys::of(folder.path()).ok().unwrap();
        assert_eq!(first.public(), again.public());
        assert_eq!(first.machines, again.machines);
        assert_ne!(*first.machines, first.signs.to_bytes());
        let path = folder.path().join(KEYS);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        }
        for length in [0, 31, 63, 65] {
            std::fs::write(&path, vec![7; length]).unwrap();
            assert!(matches!(Keys::of(folder.path()), Err(StartError::Keys { .. })), "{length} bytes");
        }
    }
}
