//! The preamble in front of TLS: the server asks for work, the client shows that it was done.
//!
//! The server writes a [`Challenge`] of 24 bytes as soon as it has accepted, the client answers with a [`Response`] of 12 and
//! goes straight on with TLS. All integers are little-endian. The work is to find a nonce for which
//! `SHA-256(salt || nonce)`, its first eight bytes read as a *little-endian* number, begins with enough zero bits: the zeros
//! that count are those of the hash's eighth byte, then its seventh, and so on.

use ring::digest::{SHA256, digest};
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

/// ring's SHA-256, because this is run a million times and ring is fast in every build.
fn zero_bits(salt: &[u8; 16], nonce: i64) -> u32 {
    let mut input = [0_u8; 24];
    input[..16].copy_from_slice(salt);
    input[16..].copy_from_slice(&nonce.to_le_bytes());
    let hash = digest(&SHA256, &input);
    let Some(&[h0, h1, h2, h3, h4, h5, h6, h7]) = hash.as_ref().first_chunk() else { return 0 };
    u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_smallest_nonce_is_found_and_written_as_genuine_programs_do() {
        for (difficulty, challenge, nonce, response) in [
            (8, "91128e4108000000000102030405060708090a0b0c0d0e0f", 480, "19738201e001000000000000"),
            (20, "91128e4114000000000102030405060708090a0b0c0d0e0f", 303_607, "19738201f7a1040000000000"),
        ] {
            let made = Challenge { difficulty, salt: SALT };
            assert_eq!(made.encode(), bytes(challenge));
            assert_eq!(Challenge::decode(&bytes(challenge)), Ok(made));
            assert_eq!(solve(&made, MAX_DIFFICULTY, &mut || true), Ok(Some(nonce)));
            assert_eq!(Response { nonce }.encode(), bytes(response));
            assert_eq!(Response::decode(&bytes(response)), Ok(Response { nonce }));
        }
    }

    #[test]
    fn solutions_recorded_between_genuine_programs_are_accepted() {
        for (difficulty, salt, nonce, zero_bits) in [
            (20, "8ca9f52dc9c76c383ca74857cbd17b08", 221_335, 20),
            (20, "5e404d3549df0bde9ea19ac23fab66c1", 969_015, 22),
            (8, "2e5d1a5b2cac7f38463b85ffaf6004ea", 311, 9),
            (8, "f87e421708df36be46ec46765d0cca19", 77, 10),
        ] {
            let challenge = Challenge { difficulty, salt: bytes(salt) };
            assert!(challenge.verify(nonce));
            assert!(Challenge { difficulty: zero_bits, ..challenge }.verify(nonce));
            assert!(!Challenge { difficulty: zero_bits + 1, ..challenge }.verify(nonce));
        }
    }

    #[test]
    fn zero_bits_are_counted_from_the_eighth_byte_of_the_hash() {
        // The hash begins e7 e9 68 8b a1 0a 00 00: none the usual way round, twenty this way.
        let salt = bytes("8ca9f52dc9c76c383ca74857cbd17b08");
        let mut input = salt.to_vec();
        input.extend_from_slice(&221_335_i64.to_le_bytes());
        assert_eq!(Sha256::digest(&input)[..8], [0xe7, 0xe9, 0x68, 0x8b, 0xa1, 0x0a, 0, 0]);
        assert_eq!(zero_bits(&salt, 221_335), 20);
    }

    #[test]
    fn any_nonce_will_do_below_one_bit_and_none_above_64() {
        for difficulty in [i32::MIN, -1, 0] {
            assert!(Challenge { difficulty, salt: SALT }.verify(i64::MIN));
            assert_eq!(solve(&Challenge { difficulty, salt: SALT }, MAX_DIFFICULTY, &mut || true), Ok(Some(0)));
        }
        for difficulty in [65, i32::MAX] {
            assert!(!Challenge { difficulty, salt: SALT }.verify(0));
        }
    }

    #[test]
    fn work_beyond_the_limit_is_refused_before_it_begins() {
        let challenge = Challenge { difficulty: 29, salt: SALT };
        let refused = solve(&challenge, MAX_DIFFICULTY, &mut || panic!("work has begun"));
        assert_eq!(refused, Err(PowError::TooHard { asked: 29, most: 28 }));
    }

    #[test]
    fn the_search_stops_when_it_is_told_to() {
        let mut slices = 0;
        let challenge = Challenge { difficulty: 64, salt: SALT };
        let stopped = solve(&challenge, 64, &mut || {
            slices += 1;
            slices < 3
        });
        assert_eq!((stopped, slices), (Ok(None), 3));
    }

    #[test]
    fn another_message_is_refused() {
        let mut challenge = Challenge { difficulty: 20, salt: SALT }.encode();
        challenge[3] ^= 1;
        let expected = CHALLENGE_MAGIC;
        let found = expected ^ 0x0100_0000;
        assert_eq!(Challenge::decode(&challenge), Err(PowError::WrongMagic { expected, found }));
        let mut response = Response { nonce: 1 }.encode();
        response[0] ^= 1;
        let expected = RESPONSE_MAGIC;
        assert_eq!(Response::decode(&response), Err(PowError::WrongMagic { expected, found: expected ^ 1 }));
    }
}
