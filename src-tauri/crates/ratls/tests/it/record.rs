//! TLS 1.3 taken apart with the secrets of a key log: just enough of RFC 8446 to read a recording.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};

/// What one record holds once it is decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Type and the whole message, its four bytes of header included.
    Handshake(u8, Vec<u8>),
    ChangeCipherSpec,
    Alert(Vec<u8>),
    Application(Vec<u8>),
}

/// Names of handshake message types.
pub(crate) mod handshake {
    pub(crate) const CLIENT_HELLO: u8 = 1;
    pub(crate) const SERVER_HELLO: u8 = 2;
    pub(crate) const NEW_SESSION_TICKET: u8 = 4;
    pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(crate) const CERTIFICATE: u8 = 11;
    pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
    pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
    pub(crate) const FINISHED: u8 = 20;
}

/// One direction's keys, in the order in which they are used.
pub(crate) struct Secrets {
    pub(crate) handshake: Vec<u8>,
    pub(crate) traffic: Vec<u8>,
}

/// The secrets of one connection, found by the random number of its ClientHello. A line stands there once per side and both
/// must agree.
pub(crate) fn secrets(log: &str, random: &[u8], side: &str) -> Secrets {
    let find = |label: &str| {
        let mut found: Vec<Vec<u8>> = log
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                (fields[0] == label && fields[1] == hex::encode(random)).then(|| hex::decode(fields[2]).unwrap())
            })
            .collect();
        found.dedup();
        assert!(found.len() <= 1, "two sides disagree about {label}");
        found.pop().unwrap_or_default()
    };
    Secrets {
        handshake: find(&format!("{side}_HANDSHAKE_TRAFFIC_SECRET")),
        traffic: find(&format!("{side}_TRAFFIC_SECRET_0")),
    }
}

/// Everything one side said, in the suite that every recording uses, AES-128-GCM with SHA-256. A side that never got beyond its
/// hello needs no secrets.
pub(crate) fn decrypt(mut bytes: &[u8], secrets: &Secrets) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut key = Key::new(&secrets.handshake);
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let (record, rest) = bytes.split_at(5 + length);
        let (header, body) = record.split_at(5);
        bytes = rest;
        match header[0] {
            20 => {
                assert_eq!(body, [1]);
                messages.push(Message::ChangeCipherSpec);
            }
            21 => messages.push(Message::Alert(body.to_vec())),
            22 => split_handshake(body, &mut messages),
            23 => {
                assert_eq!(header[1..3], [3, 3], "the version that stands in front of encrypted records");
                let (kind, plain) = key.as_mut().expect("a secret for this side").open(header, body);
                match kind {
                    21 => messages.push(Message::Alert(plain)),
                    22 => split_handshake(&plain, &mut messages),
                    23 => messages.push(Message::Application(plain)),
                    other => panic!("a record of type {other} inside an encrypted one"),
                }
                if messages.iter().any(|message| matches!(message, Message::Handshake(handshake::FINISHED, _)))
                    && key.as_ref().is_some_and(|key| key.of_handshake)
                {
                    key = Key::new(&secrets.traffic).map(|key| Key { of_handshake: false, ..key });
                }
            }
            other => panic!("a record of type {other}"),
        }
    }
    messages
}

fn split_handshake(mut bytes: &[u8], into: &mut Vec<Message>) {
    while !bytes.is_empty() {
        let length = usize::from(bytes[1]) << 16 | usize::from(bytes[2]) << 8 | usize::from(bytes[3]);
        let (message, rest) = bytes.split_at(4 + length);
        into.push(Message::Handshake(message[0], message.to_vec()));
        bytes = rest;
    }
}

struct Key {
    aead: LessSafeKey,
    iv: [u8; 12],
    count: u64,
    of_handshake: bool,
}

impl Key {
    fn new(secret: &[u8]) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        let secret = Prk::new_less_safe(HKDF_SHA256, secret);
        let aead = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &expand(&secret, "key", 16)).unwrap());
        Some(Self { aead, iv: expand(&secret, "iv", 12).try_into().unwrap(), count: 0, of_handshake: true })
    }

    /// The inner type and the content, padding removed.
    fn open(&mut self, header: &[u8], body: &[u8]) -> (u8, Vec<u8>) {
        let mut nonce = self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count += 1;
        let mut body = body.to_vec();
        let plain = self.aead.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut body).unwrap();
        let end = plain.iter().rposition(|&byte| byte != 0).unwrap();
        (plain[end], plain[..end].to_vec())
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label with an empty context.
fn expand(secret: &Prk, label: &str, length: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let size = u16::try_from(length).unwrap().to_be_bytes();
    let info = [&size[..], &[u8::try_from(label.len()).unwrap()], label.as_bytes(), &[0]];
    let mut out = vec![0; length];
    secret.expand(&info, Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

/// Reads fields one after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// A length of `width` bytes and as many bytes as it says.
    pub(crate) fn vector(&mut self, width: usize) -> &'a [u8] {
        let length = self.take(width).iter().fold(0, |value, &byte| value << 8 | usize::from(byte));
        self.take(length)
    }

    pub(crate) fn number(&mut self) -> u16 {
        let bytes = self.take(2);
        u16::from_be_bytes([bytes[0], bytes[1]])
    }
}

/// A ClientHello or ServerHello taken apart.
pub(crate) struct Hello {
    pub(crate) legacy_version: u16,
    pub(crate) random: Vec<u8>,
    pub(crate) session: Vec<u8>,
    /// One in a ServerHello.
    pub(crate) suites: Vec<u16>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// `message` with its four bytes of header.
    pub(crate) fn read(message: &[u8]) -> Self {
        let mut fields = Fields(&message[4..]);
        let legacy_version = fields.number();
        let random = fields.take(32).to_vec();
        let session = fields.vector(1).to_vec();
        let suites = if message[0] == handshake::CLIENT_HELLO {
            let suites = fields.vector(2).chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            assert_eq!(fields.vector(1), [0], "no compression");
            suites
        } else {
            let suite = fields.number();
            assert_eq!(fields.take(1), [0], "no compression");
            vec![suite]
        };
        let mut list = Fields(fields.vector(2));
        let mut extensions = Vec::new();
        while !list.0.is_empty() {
            extensions.push((list.number(), list.vector(2).to_vec()));
        }
        Self { legacy_version, random, session, suites, extensions }
    }

    pub(crate) fn extension(&self, number: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|(found, _)| *found == number).map(|(_, content)| content.as_slice())
    }
}

/// Certificates in a Certificate message.
pub(crate) fn certificates(message: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Fields(&message[4..]);
    assert!(fields.vector(1).is_empty());
    let mut list = Fields(fields.vector(3));
    let mut certificates = Vec::new();
    while !list.0.is_empty() {
        certificates.push(list.vector(3).to_vec());
        assert!(list.vector(2).is_empty(), "no extensions of a certificate entry");
    }
    certificates
}
