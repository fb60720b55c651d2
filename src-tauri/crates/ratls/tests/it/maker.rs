//! Certificates written byte by byte, so that every field can be wrong. Independent of the code under test.

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha512};

pub(crate) const QUOTE: &[u8] = &[0x2b, 6, 1, 4, 1, 0xe0, 0x39, 1];
pub(crate) const CLAIMS: &[u8] = &[0x2b, 6, 1, 4, 1, 0xe0, 0x39, 2];
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
pub(crate) const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
pub(crate) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
/// 1.2.3.4
pub(crate) const STRANGE: &[u8] = &[0x2a, 3, 4];
pub(crate) const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
const ED448: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x71];
const SERVER_AUTH: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];

#[derive(Clone)]
pub(crate) struct Extension {
    pub(crate) identifier: Vec<u8>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// What goes into a certificate; begin with [`Recipe::genuine`] and spoil it.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// As encoded (2 means version 3); `None` is what genuine programs write.
    pub(crate) version: Option<u8>,
    pub(crate) key: SigningKey,
    pub(crate) signer: SigningKey,
    pub(crate) subject: &'static str,
    pub(crate) issuer: &'static str,
    /// Tag and digits.
    pub(crate) not_before: (u8, String),
    pub(crate) not_after: (u8, String),
    pub(crate) extensions: Vec<Extension>,
    pub(crate) outer_algorithm_is_another: bool,
    pub(crate) both_algorithms_are_others: bool,
    pub(crate) signature_bit_flipped: bool,
    /// A key and a signature that were not made with `key`.
    pub(crate) forged: Option<([u8; 32], [u8; 64])>,
}

impl Recipe {
    /// Version 1 with extensions, all of them, valid in the year 2026.
    pub(crate) fn genuine(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        Self {
            version: None,
            signer: key.clone(),
            key,
            subject: "localhost",
            issuer: "localhost",
            not_before: (0x17, "260101000000Z".into()),
            not_after: (0x17, "270101000000Z".into()),
            extensions: vec![
                extension(QUOTE, true, &Sha512::digest(public)),
                extension(CLAIMS, true, &public),
                extension(BASIC_CONSTRAINTS, true, &[0x30, 0]),
                extension(KEY_USAGE, true, &[3, 2, 7, 0x80]),
                extension(EXTENDED_KEY_USAGE, true, &both_purposes()),
                extension(ALTERNATIVE_NAMES, false, &alternative_names(&[(0x82, b"localhost"), (0x82, b"127.0.0.1")])),
            ],
            outer_algorithm_is_another: false,
            both_algorithms_are_others: false,
            signature_bit_flipped: false,
            forged: None,
        }
    }

    pub(crate) fn version_3(mut self) -> Self {
        self.version = Some(2);
        self
    }

    pub(crate) fn without(mut self, identifier: &[u8]) -> Self {
        self.extensions.retain(|extension| extension.identifier != identifier);
        self
    }

    /// Replaces an extension in its place, or adds it at the end.
    pub(crate) fn with(mut self, identifier: &[u8], critical: bool, value: &[u8]) -> Self {
        let new = extension(identifier, critical, value);
        match self.extensions.iter_mut().find(|extension| extension.identifier == identifier) {
            Some(old) => *old = new,
            None => self.extensions.push(new),
        }
        self
    }

    pub(crate) fn change(mut self, how: impl FnOnce(&mut Self)) -> Self {
        how(&mut self);
        self
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let inner = if self.both_algorithms_are_others { ED448 } else { ED25519 };
        let outer = if self.outer_algorithm_is_another { ED448 } else { inner };
        let mut key = vec![0];
        key.extend_from_slice(&self.forged.map_or_else(|| self.key.verifying_key().to_bytes(), |(key, _)| key));
        let extensions: Vec<u8> = self.extensions.iter().flat_map(Extension::der).collect();
        let body = tlv(
            0x30,
            &[
                self.version.map(|version| tlv(0xa0, &[2, 1, version])).unwrap_or_default(),
                tlv(2, &[0x51; 16]),
                inner.to_vec(),
                name(self.issuer),
                tlv(0x30, &[time(&self.not_before), time(&self.not_after)].concat()),
                name(self.subject),
                tlv(0x30, &[ED25519.to_vec(), tlv(3, &key)].concat()),
                if extensions.is_empty() { Vec::new() } else { tlv(0xa3, &tlv(0x30, &extensions)) },
            ]
            .concat(),
        );
        let mut signature =
            [&[0][..], &self.forged.map_or_else(|| self.signer.sign(&body).to_bytes(), |(_, signature)| signature)]
                .concat();
        if self.signature_bit_flipped {
            signature[20] ^= 1;
        }
        tlv(0x30, &[body, outer.to_vec(), tlv(3, &signature)].concat())
    }
}

impl Extension {
    fn der(&self) -> Vec<u8> {
        let critical = if self.critical { vec![1, 1, 0xff] } else { Vec::new() };
        tlv(0x30, &[tlv(6, &self.identifier), critical, tlv(4, &self.value)].concat())
    }
}

pub(crate) fn extension(identifier: &[u8], critical: bool, value: &[u8]) -> Extension {
    Extension { identifier: identifier.to_vec(), critical, value: value.to_vec() }
}

pub(crate) fn both_purposes() -> Vec<u8> {
    tlv(0x30, &[SERVER_AUTH, CLIENT_AUTH].concat())
}

pub(crate) fn server_only() -> Vec<u8> {
    tlv(0x30, SERVER_AUTH)
}

pub(crate) fn client_only() -> Vec<u8> {
    tlv(0x30, CLIENT_AUTH)
}

pub(crate) fn alternative_names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> = names.iter().flat_map(|(tag, text)| tlv(*tag, text)).collect();
    tlv(0x30, &names)
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut bytes = vec![tag];
    match content.len() {
        0..0x80 => bytes.push(length[3]),
        0x80..0x100 => bytes.extend_from_slice(&[0x81, length[3]]),
        0x100..0x1_0000 => bytes.extend_from_slice(&[0x82, length[2], length[3]]),
        _ => bytes.extend_from_slice(&[0x83, length[1], length[2], length[3]]),
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The secret half in the form that programs read.
pub(crate) fn pkcs8(key: &SigningKey) -> Vec<u8> {
    tlv(0x30, &[tlv(2, &[0]), ED25519.to_vec(), tlv(4, &tlv(4, key.as_bytes()))].concat())
}

fn name(common_name: &str) -> Vec<u8> {
    let attribute = [vec![6, 3, 0x55, 4, 3], tlv(0x0c, common_name.as_bytes())].concat();
    tlv(0x30, &tlv(0x31, &tlv(0x30, &attribute)))
}

fn time((tag, digits): &(u8, String)) -> Vec<u8> {
    tlv(*tag, digits.as_bytes())
}
