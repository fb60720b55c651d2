//! The preamble in front of TLS: the server asks for work, the client shows that it was done.
//!
//! The server writes a [`Challenge`] of 24 bytes as soon as it has accepted, the client answers with a [`Response`] of 12 and
//! goes straight on with TLS. All integers are little-endian. The work is to find a nonce for which
//! `SHA-256(salt || nonce)`, its first eight bytes read as a *little-endian* number, begins with enough zero bits: the zeros
//! that count are those of the hash's eighth byte, then its seventh, and so on.

use sha2::{Digest, Sha256};
use thiserror::Error;

/// What a server asks for unless it is told otherwise.
pub const DEFAULT_DIFFICULTY: i32 = 20;
/// The most a client works unless it is told otherwise.
pub const MAX_DIFFICULTY: i32 = 28;

const CHALLENGE_MAGIC: u32 = 0x418e_1291;
const RESPONSE_MAGIC: u32 = 0x0182_7319;
/// How many nonces are tried between two questions whether to go on.
const SLICE: i64 = 1 << 14;

/// Why a preamble is refused. Nothing is sent to the peer in any of these cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PowError {
    /// The bytes are something else than the message that is due.
    #[error("expected the magic number {expected:#010x}, found {found:#010x}")]
    WrongMagic {
        /// The magic number of the message that is due.
        expected: u32,
        /// What stood in its place.
        found: u32,
    },
    /// The server wants more than this client is willing to do.
    #[error("the server asks for {asked} bits of work, the most done here is {most}")]
    TooHard {
        /// Zero bits that the server asks for.
        asked: i32,
        /// Zero bits that the client is willing to look for.
        most: i32,
    },
    /// The nonce does not solve the challenge.
    #[error("the nonce does not solve the challenge")]
    WrongNonce,
    /// A nonce was offered although none is being waited for.
    #[error("no proof of work is being waited for")]
    NotAsked,
}

/// What the server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Zero bits wanted. Nothing is too little (a negative number is solved by any nonce); more than 64 can't be solved.
    pub difficulty: i32,
    /// Random for each connection, so that work can't be kept for later.
    pub salt: [u8; 16],
}

impl Challenge {
    /// Bytes on the wire.
    pub const LENGTH: usize = 24;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&CHALLENGE_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.difficulty.to_le_bytes());
        bytes[8..].copy_from_slice(&self.salt);
        bytes
    }

    /// Reads the bytes on the wire.
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Result<Self, PowError> {
        let [m0, m1, m2, m3, d0, d1, d2, d3, salt @ ..] = *bytes;
        check_magic(CHALLENGE_MAGIC, u32::from_le_bytes([m0, m1, m2, m3]))?;
        Ok(Self { difficulty: i32::from_le_bytes([d0, d1, d2, d3]), salt })
    }

    /// Whether this nonce solves the challenge.
    pub fn verify(&self, nonce: i64) -> bool {
        i64::from(zero_bits(&self.salt, nonce)) >= i64::from(self.difficulty)
    }
}

/// What the client answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Any number that solves the challenge; the genuine program counts up from 0.
    pub nonce: i64,
}

impl Response {
    /// Bytes on the wire.
    pub const LENGTH: usize = 12;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&RESPONSE_MAGIC.to_le_bytes());
        bytes[4..].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Reads the bytes on the wire.
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Result<Self, PowError> {
        let [m0, m1, m2, m3, nonce @ ..] = *bytes;
        check_magic(RESPONSE_MAGIC, u32::from_le_bytes([m0, m1, m2, m3]))?;
        Ok(Self { nonce: i64::from_le_bytes(nonce) })
    }
}

/// Finds the smallest nonce that solves the challenge, counting up from 0; `None` if `keep_going` said no (it is asked every
/// few milliseconds). Each bit of difficulty doubles the work: 20 bits take a million hashes on average, 28 take 268 million.
pub fn solve(
    challenge: &Challenge,
    max_difficulty: i32,
    keep_going: &mut dyn FnMut() -> bool,
) -> Result<Option<i64>, PowError> {
    check_difficulty(challenge, max_difficulty)?;
    let mut from = 0_i64;
    while keep_going() {
        let Some(to) = from.checked_add(SLICE) else { return Ok(None) };
        if let Some(nonce) = (from..to).find(|&nonce| challenge.verify(nonce)) {
            return Ok(Some(nonce));
        }
        from = to;
    }
    Ok(None)
}

/// Refuses a challenge that is harder than the client is willing to solve, before any work is done.
pub(crate) fn check_difficulty(challenge: &Challenge, most: i32) -> Result<(), PowError> {
    let asked = challenge.difficulty;
    if asked > most { Err(PowError::TooHard { asked, most }) } else { Ok(()) }
}

fn check_magic(expected: u32, found: u32) -> Result<(), PowError> {
    if expected == found { Ok(()) } else { Err(PowError::WrongMagic { expected, found }) }
}

fn zero_bits(salt: &[u8; 16], nonce: i64) -> u32 {
    let mut input = [0_u8; 24];
    input[..16].copy_from_slice(salt);
    input[16..].copy_from_slice(&nonce.to_le_bytes());
    let hash: [u8; 32] = Sha256::digest(input).into();
    let [h0, h1, h2, h3, h4, h5, h6, h7, ..] = hash;
    u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]).leading_zeros()
}
