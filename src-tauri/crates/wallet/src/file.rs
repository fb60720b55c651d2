//! The encrypted file.
//!
//! ```text
//! "CHRYSKEY" | layout u8 = 1 | protection u8 | wallet version u8 | network u8 | public key, 32 bytes |
//! number of the keychain's entry, 16 bytes | check of its key, 16 bytes | Argon2id: memory in KiB u32, passes u32, lanes u32 |
//! salt, 16 bytes | nonce, 24 bytes | XChaCha20-Poly1305 of: scheme u8, length u16, words, zeros up to 512 bytes
//! ```
//!
//! All in front of the ciphertext is authenticated with it. Numbers are little-endian. The key is HMAC-SHA512 of the keychain's
//! key (32 zeros without) over a label and what Argon2id makes of the password (nothing without), its first half. The check is the
//! same over another label: it tells a replaced key from a damaged file, and says nothing about a key that is random.

use crate::words::hmac;
use crate::{Password, Scheme, Words, WrappingKey};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ton::{Address, Network, WalletContract, WalletVersion};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"CHRYSKEY";
const LAYOUT: u8 = 1;
const HEADER: usize = 8 + 4 + 32 + 16 + 16 + 12 + 16 + 24;
const PLAIN: usize = 512;
const TAG: usize = 16;
/// Bytes of the file: it has no other length.
pub const MAX_FILE: usize = HEADER + PLAIN + TAG;

/// What a new file asks of a password: 64 MiB, three passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// What a file may ask: it must neither be too weak nor bring this program down.
const MEMORY_BOUNDS: std::ops::RangeInclusive<u32> = 8 * 1024..=256 * 1024;
const PASSES_BOUNDS: std::ops::RangeInclusive<u32> = 1..=16;
const LANES_BOUNDS: std::ops::RangeInclusive<u32> = 1..=4;

/// What stands between the file and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Protection {
    /// A random key in the system's keychain.
    Keychain,
    /// That, and a password.
    KeychainAndPassword,
    /// A password alone: chosen by name where no keychain answers.
    Password,
}

impl Protection {
    /// Whether a keychain is needed.
    pub const fn needs_keychain(self) -> bool {
        matches!(self, Self::Keychain | Self::KeychainAndPassword)
    }

    /// Whether a password is needed.
    pub const fn needs_password(self) -> bool {
        matches!(self, Self::KeychainAndPassword | Self::Password)
    }
}

/// What is known of a wallet while it is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Public {
    /// The contract, with its public key.
    pub contract: WalletContract,
    /// On which network.
    pub network: Network,
    /// What stands between the file and its words.
    pub protection: Protection,
}

impl Public {
    /// Where the wallet lives.
    pub fn address(&self) -> Address {
        self.contract.address()
    }
}

/// Why a file is none, or does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Another length than every such file has.
    #[error("{length} bytes are no wallet file, which has {MAX_FILE}")]
    Length {
        /// How many; one more than is read stands for all above.
        length: usize,
    },
    /// Something else than a wallet file.
    #[error("this is no wallet file")]
    Magic,
    /// Made by a newer program.
    #[error("the wallet file has layout {layout}; this program knows layout {LAYOUT}, a newer one may know more")]
    Newer {
        /// Its layout.
        layout: u8,
    },
    /// A value that no such file has, or that would be too weak or too dear.
    #[error("the wallet file's {field} is out of bounds")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The keychain has another key under the file's number.
    #[error("the keychain holds another key than the wallet file was made with")]
    OtherKey,
    /// Wrong password, or a damaged file: that can't be told apart.
    #[error("wrong password, or the wallet file is damaged")]
    Opens,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// What stands in front of the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is known while it is locked.
    pub public: Public,
    /// Under which number the keychain has the key.
    pub key_id: [u8; 16],
    check: [u8; 16],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
    nonce: [u8; 24],
}

impl Header {
    /// Reads a file's header; the rest must have its length.
    pub fn read(file: &[u8]) -> Result<Self, FileError> {
        if file.len() != MAX_FILE {
            return Err(FileError::Length { length: file.len() });
        }
        let mut rest = file;
        if take::<8>(&mut rest) != *MAGIC {
            return Err(FileError::Magic);
        }
        let [layout, protection, version, network] = take(&mut rest);
        if layout != LAYOUT {
            return Err(FileError::Newer { layout });
        }
        let protection = match protection {
            0 => Protection::Keychain,
            1 => Protection::KeychainAndPassword,
            2 => Protection::Password,
            _ => return Err(FileError::Field { field: "protection" }),
        };
        let version = match version {
            0 => WalletVersion::V5R1,
            1 => WalletVersion::V4R2,
            2 => WalletVersion::V3R2,
            _ => return Err(FileError::Field { field: "wallet version" }),
        };
        let network = match network {
            0 => Network::Main,
            1 => Network::Test,
            _ => return Err(FileError::Field { field: "network" }),
        };
        let contract = WalletContract::new(version, network, take(&mut rest));
        let (key_id, check) = (take(&mut rest), take(&mut rest));
        let mut number = || u32::from_le_bytes(take(&mut rest));
        let (memory_kib, passes, lanes) = (number(), number(), number());
        for (bounds, value, field) in [
            (MEMORY_BOUNDS, memory_kib, "memory for the password"),
            (PASSES_BOUNDS, passes, "passes over the password"),
            (LANES_BOUNDS, lanes, "lanes for the password"),
        ] {
            if !bounds.contains(&value) {
                return Err(FileError::Field { field });
            }
        }
        let (salt, nonce) = (take(&mut rest), take(&mut rest));
        let public = Public { contract, network, protection };
        Ok(Self { public, key_id, check, memory_kib, passes, lanes, salt, nonce })
    }

    /// Whether this is the keychain's key that the file was made with.
    pub(crate) fn is_key(&self, key: &WrappingKey) -> bool {
        check_of(Some(key), &self.key_id) == self.check
    }

    /// Memory that trying a password takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.memory_kib) * 1024
    }

    /// As it stands in front of the ciphertext.
    pub fn to_bytes(self) -> Vec<u8> {
        let Public { contract, network, protection } = self.public;
        let mut bytes = MAGIC.to_vec();
        let version = match contract.version {
            WalletVersion::V5R1 => 0,
            WalletVersion::V4R2 => 1,
            WalletVersion::V3R2 => 2,
        };
        let protection = match protection {
            Protection::Keychain => 0,
            Protection::KeychainAndPassword => 1,
            Protection::Password => 2,
        };
        bytes.extend([LAYOUT, protection, version, u8::from(network == Network::Test)]);
        bytes.extend(contract.public_key);
        bytes.extend(self.key_id);
        bytes.extend(self.check);
        for number in [self.memory_kib, self.passes, self.lanes] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.salt);
        bytes.extend(self.nonce);
        bytes
    }

    fn cipher(&self, key: Option<&WrappingKey>, password: Option<&Password>) -> Result<XChaCha20Poly1305, FileError> {
        let zeros = Zeroizing::new([0; 32]);
        let key = key.map_or(zeros.as_slice(), |key| key.bytes());
        let mut stretched = Zeroizing::new(Vec::new());
        if let Some(password) = password {
            stretched.resize(32, 0);
            let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
            let params = params.map_err(|_| FileError::Field { field: "parameters for the password" })?;
            // Ours, so that it is wiped.
            let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into_with_memory(password.bytes(), &self.salt, &mut stretched, memory.as_mut_slice())
                .map_err(|_| FileError::Field { field: "parameters for the password" })?;
        }
        let bytes = hmac(key, &[b"chrysalis wallet file 1", &stretched]);
        XChaCha20Poly1305::new_from_slice(&bytes[..32]).map_err(|_| FileError::Opens)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    // The length has been checked.
    let Some((taken, left)) = rest.split_first_chunk::<N>() else { return [0; N] };
    *rest = left;
    *taken
}

fn check_of(key: Option<&WrappingKey>, key_id: &[u8; 16]) -> [u8; 16] {
    let mut check = [0; 16];
    if let Some(key) = key {
        check.copy_from_slice(&hmac(key.bytes(), &[b"chrysalis wallet check 1", key_id])[..16]);
    }
    check
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| FileError::Random)?;
    Ok(bytes)
}

/// Makes the file of a wallet.
pub(crate) fn seal(
    words: &Words,
    scheme: Scheme,
    public: Public,
    key_id: [u8; 16],
    key: Option<&WrappingKey>,
    password: Option<&Password>,
) -> Result<Vec<u8>, FileError> {
    let header = Header {
        public,
        key_id,
        check: check_of(key, &key_id),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: random()?,
        nonce: random()?,
    };
    let text = words.text().as_bytes();
    let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN));
    plain.push(u8::from(scheme == Scheme::Bip39));
    plain.extend((text.len() as u16).to_le_bytes());
    plain.extend(text);
    if plain.len() > PLAIN {
        return Err(FileError::Field { field: "words" });
    }
    plain.resize(PLAIN, 0);
    let mut file = header.to_bytes();
    let payload = Payload { msg: &plain, aad: &file };
    let sealed = header.cipher(key, password)?.encrypt(XNonce::from_slice(&header.nonce), payload);
    file.extend(sealed.map_err(|_| FileError::Opens)?);
    Ok(file)
}

/// Opens the file of a wallet.
pub(crate) fn open(
    file: &[u8],
    key: Option<&WrappingKey>,
    password: Option<&Password>,
) -> Result<(Words, Scheme, Header), FileError> {
    let header = Header::read(file)?;
    if header.public.protection.needs_keychain() && check_of(key, &header.key_id) != header.check {
        return Err(FileError::OtherKey);
    }
    let (front, sealed) = file.split_at_checked(HEADER).ok_or(FileError::Opens)?;
    let password = password.filter(|_| header.public.protection.needs_password());
    let key = key.filter(|_| header.public.protection.needs_keychain());
    let payload = Payload { msg: sealed, aad: front };
    let plain = header.cipher(key, password)?.decrypt(XNonce::from_slice(&header.nonce), payload);
    let plain = Zeroizing::new(plain.map_err(|_| FileError::Opens)?);
    let [scheme, low, high, rest @ ..] = plain.as_slice() else { return Err(FileError::Opens) };
    let scheme = if *scheme == 0 { Scheme::Ton } else { Scheme::Bip39 };
    let text = rest.get(..usize::from(u16::from_le_bytes([*low, *high]))).ok_or(FileError::Opens)?;
    let text = std::str::from_utf8(text).map_err(|_| FileError::Opens)?;
    let words = Words::parse(text).map_err(|_| FileError::Opens)?;
    if !words.schemes().contains(&scheme) {
        return Err(FileError::Opens);
    }
    Ok((words, scheme, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple crew one";

    fn sealed(protection: Protection) -> (Vec<u8>, Option<WrappingKey>, Option<Password>) {
        let words = Words::parse(KNOWN).unwrap();
        let contract = WalletContract::new(WalletVersion::V4R2, Network::Test, [7; 32]);
        let public = Public { contract, network: Network::Test, protection };
        let key = protection.needs_keychain().then(|| WrappingKey::random().unwrap());
        let password = protection.needs_password().then(|| Password::new("swordfish".to_owned()));
        let file = seal(&words, Scheme::Ton, public, [3; 16], key.as_ref(), password.as_ref()).unwrap();
        (file, key, password)
    }

    #[test]
    fn a_file_opens_with_what_it_was_made_with_and_with_nothing_else() {
        for protection in [Protection::Keychain, Protection::KeychainAndPassword, Protection::Password] {
            let (file, key, password) = sealed(protection);
            assert_eq!(file.len(), MAX_FILE);
            assert!(!file.windows(5).any(|window| window == b"clown"), "words stand in the file");
            let (words, scheme, header) = open(&file, key.as_ref(), password.as_ref()).ok().unwrap();
            assert!(words.text() == KNOWN && scheme == Scheme::Ton && header.public.protection == protection);
            if protection.needs_password() {
                let wrong = Password::new("swordfisH".to_owned());
                assert_eq!(open(&file, key.as_ref(), Some(&wrong)).err(), Some(FileError::Opens));
                assert_eq!(open(&file, key.as_ref(), None).err(), Some(FileError::Opens));
            }
            if protection.needs_keychain() {
                let other = WrappingKey::random().unwrap();
                assert_eq!(open(&file, Some(&other), password.as_ref()).err(), Some(FileError::OtherKey));
                assert_eq!(open(&file, None, password.as_ref()).err(), Some(FileError::OtherKey));
            }
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed() {
        let (file, key, _) = sealed(Protection::Keychain);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&changed, key.as_ref(), None).is_err(), "byte {at}");
        }
        for length in [0, 1, HEADER, MAX_FILE - 1, MAX_FILE + 1] {
            let mut cut = file.clone();
            cut.resize(length, 0);
            assert_eq!(open(&cut, key.as_ref(), None).err(), Some(FileError::Length { length }));
        }
    }

    #[test]
    fn what_a_file_asks_for_a_password_is_bounded() {
        let (file, _, password) = sealed(Protection::Password);
        for (at, value) in [(76, u32::MAX), (76, 0), (80, 1_000), (80, 0), (84, 5), (84, 0)] {
            let mut dear = file.clone();
            dear[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(
                matches!(open(&dear, None, password.as_ref()).err(), Some(FileError::Field { .. })),
                "{at} {value}"
            );
        }
    }

    #[test]
    fn a_file_of_a_newer_program_is_named_as_such() {
        let (mut file, ..) = sealed(Protection::Keychain);
        file[8] = 2;
        assert_eq!(Header::read(&file), Err(FileError::Newer { layout: 2 }));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_bring_the_header_down(bytes in proptest::collection::vec(proptest::num::u8::ANY, MAX_FILE), known: bool) {
            let mut bytes = bytes;
            if known {
                bytes[..12].copy_from_slice(b"CHRYSKEY\x01\x00\x00\x00");
                bytes[76..88].copy_from_slice(&[0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
                let header = Header::read(&bytes).unwrap();
                assert_eq!(header.to_bytes(), &bytes[..HEADER]);
                assert!(open(&bytes, None, None).is_err());
            } else {
                assert!(Header::read(&bytes).is_err());
            }
        }
    }
}
