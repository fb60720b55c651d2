//! Words that stand for a key, in TON's scheme and in BIP39.
//!
//! ```text
//! TON:   entropy = HMAC-SHA512(words, ""); good if PBKDF2(entropy, "TON seed version", 390)[0] is 0;
//!        seed = PBKDF2(entropy, "TON default seed", 100000), first 32 bytes
//! BIP39: good if the bits behind the entropy begin its SHA-256; master = PBKDF2(words, "mnemonic", 2048);
//!        seed = SLIP-10 of ed25519 along 44'/607'/0'
//! ```
//!
//! Sources: `@ton/crypto`, BIP39, SLIP-10.

use crate::key::Key;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use ton::{Address, Network, WalletContract, WalletVersion};
use zeroize::{Zeroize as _, Zeroizing};

const COUNT: usize = 24;
/// Longest text that is looked at, in bytes: 24 words with much space between.
const MAX_TEXT: usize = 1_024;
const TON_ROUNDS: u32 = 100_000;
const TON_CHECK_ROUNDS: u32 = 390;
const BIP39_ROUNDS: u32 = 2_048;
const PATH: [u32; 3] = [44, 607, 0];
const HARDENED: u32 = 1 << 31;

/// How words become a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Scheme {
    /// TON's own.
    Ton,
    /// BIP39, with the path that hardware wallets use for TON.
    Bip39,
}

/// Why a text is no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Another number of words than any scheme has.
    #[error("{count} words; a phrase has 24, or 12, 15, 18 or 21 in other programs")]
    Count {
        /// How many.
        count: usize,
    },
    /// A word that is not on the list. Which one it is stays unsaid; its place does not.
    #[error("word number {place} is not on the list")]
    Unknown {
        /// Counted from 1.
        place: usize,
    },
    /// The words fit no scheme: one is wrong, or two are swapped.
    #[error("the words do not fit together: one is wrong, or two are swapped")]
    Checksum,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Words, which are money: never printed, wiped when dropped.
pub struct Words {
    /// Lower case, one space between.
    text: Zeroizing<String>,
    schemes: Vec<Scheme>,
}

/// A wallet that words could be meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// How the words become its key.
    pub scheme: Scheme,
    /// The contract.
    pub contract: WalletContract,
    /// Where it lives.
    pub address: Address,
}

impl Words {
    /// 24 new words in TON's scheme: drawn until they are good, one time in 256, and not good for BIP39 as well, so that they mean one thing.
    pub fn generate() -> Result<Self, WordsError> {
        let list = list();
        loop {
            let mut random = Zeroizing::new([0_u8; COUNT * 2]);
            getrandom::fill(random.as_mut_slice()).map_err(|_| WordsError::Random)?;
            let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
            for pair in random.chunks_exact(2) {
                let number = pair.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) % list.len();
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(list.get(number).copied().unwrap_or_default());
            }
            if let Ok(words) = Self::parse(&text)
                && words.schemes == [Scheme::Ton]
            {
                return Ok(words);
            }
        }
    }

    /// Reads what somebody typed: any case, any white space. TON's checksum is tried first; BIP39 where it fits.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        if text.len() > MAX_TEXT {
            return Err(WordsError::Count { count: text.split_whitespace().count() });
        }
        let list = list();
        let mut joined = Zeroizing::new(String::with_capacity(MAX_TEXT));
        let mut numbers = Zeroizing::new(Vec::with_capacity(MAX_TEXT));
        for word in text.split_whitespace() {
            let word = Zeroizing::new(word.to_ascii_lowercase());
            let number = list.binary_search(&word.as_str());
            let place = numbers.len() + 1;
            numbers.push(number.map_err(|_| WordsError::Unknown { place })?);
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(&word);
        }
        let count = numbers.len();
        if ![12, 15, 18, 21, COUNT].contains(&count) {
            return Err(WordsError::Count { count });
        }
        let mut schemes = Vec::new();
        if count == COUNT && is_ton(&joined) {
            schemes.push(Scheme::Ton);
        }
        if is_bip39(&numbers) {
            schemes.push(Scheme::Bip39);
        }
        if schemes.is_empty() { Err(WordsError::Checksum) } else { Ok(Self { text: joined, schemes }) }
    }

    /// The schemes whose checksum fits, TON's first. Where both do, the owner chooses by the address.
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// The words, for the one screen that shows them.
    pub fn reveal(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ')
    }

    /// Every wallet that these words could be meant for on a network, the likeliest first: to be shown before anything is saved.
    /// It takes as long as making the keys does.
    pub fn candidates(&self, network: Network) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for scheme in &self.schemes {
            let public_key = self.key(*scheme).public();
            for version in WalletVersion::ALL {
                let contract = WalletContract::new(version, network, public_key);
                candidates.push(Candidate { scheme: *scheme, contract, address: contract.address() });
            }
        }
        candidates
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn key(&self, scheme: Scheme) -> Key {
        match scheme {
            Scheme::Ton => {
                let entropy = ton_entropy(&self.text);
                let seed = stretch(entropy.as_slice(), b"TON default seed", TON_ROUNDS);
                Key::new(&first_half(&seed))
            }
            Scheme::Bip39 => {
                let master = stretch(self.text.as_bytes(), b"mnemonic", BIP39_ROUNDS);
                let mut node = hmac(b"ed25519 seed", &[master.as_slice()]);
                for step in PATH {
                    let number = (step | HARDENED).to_be_bytes();
                    let (key, chain) = node.split_at(32);
                    node = hmac(chain, &[&[0], key, &number]);
                }
                Key::new(&first_half(&node))
            }
        }
    }
}

fn list() -> &'static [&'static str] {
    bip39::Language::English.word_list()
}

fn is_ton(text: &str) -> bool {
    stretch(ton_entropy(text).as_slice(), b"TON seed version", TON_CHECK_ROUNDS).first() == Some(&0)
}

fn is_bip39(numbers: &[usize]) -> bool {
    let mut bytes = Zeroizing::new(vec![0_u8; (numbers.len() * 11).div_ceil(8)]);
    for (word, number) in numbers.iter().enumerate() {
        for bit in (0..11).filter(|bit| number >> (10 - bit) & 1 == 1) {
            let at = word * 11 + bit;
            if let Some(byte) = bytes.get_mut(at / 8) {
                *byte |= 0x80 >> (at % 8);
            }
        }
    }
    // One bit of checksum for each three words, behind 32 of entropy for each.
    let (entropy, check) = bytes.split_at(numbers.len() / 3 * 4);
    let bits = numbers.len() / 3;
    let digest = Sha256::digest(entropy);
    let (Some(found), Some(expected)) = (check.first(), digest.first()) else { return false };
    found >> (8 - bits) == expected >> (8 - bits)
}

fn ton_entropy(text: &str) -> Zeroizing<[u8; 64]> {
    hmac(text.as_bytes(), &[])
}

pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0; 64]);
    // Any length of key will do.
    if let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(key) {
        for part in parts {
            mac.update(part);
        }
        let mut bytes = mac.finalize().into_bytes();
        out.copy_from_slice(&bytes);
        bytes.as_mut_slice().zeroize();
    }
    out
}

fn stretch(secret: &[u8], salt: &[u8], rounds: u32) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0; 64]);
    pbkdf2::pbkdf2_hmac::<Sha512>(secret, salt, rounds, out.as_mut_slice());
    out
}

fn first_half(bytes: &[u8; 64]) -> Zeroizing<[u8; 32]> {
    let mut half = Zeroizing::new([0; 32]);
    half.copy_from_slice(&bytes[..32]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Public, of no worth: the phrase of the documented vectors.
    const KNOWN: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple crew one";
    const BIP39: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    #[test]
    fn the_list_is_in_order_and_complete() {
        assert_eq!(list().len(), 2_048);
        assert!(list().is_sorted());
    }

    #[test]
    fn known_words_have_their_known_key_and_addresses() {
        let words = Words::parse(&KNOWN.to_uppercase().replace(' ', " \n\t")).unwrap();
        assert_eq!(words.schemes(), [Scheme::Ton]);
        let candidates = words.candidates(Network::Main);
        let key = hex::encode(candidates[0].contract.public_key);
        assert_eq!(key, "625e6906f4ef98f75ae47dd38374f8abbb12bf33b34279fa2467ce287b45d67f");
        let addresses: Vec<String> = candidates.iter().map(|candidate| candidate.address.to_string()).collect();
        assert_eq!(
            addresses,
            [
                "0:4880bb7e1a267a7e8e5f1a8dc88320ad47dd094ecaae556a5f9f06c643b8969a",
                "0:a9b1ab60540eb590384bc99b92e5fde3cc7a42c9044d46431b4376141c61f592",
                "0:8cfc245fb3801ef21f3eb8b91817e4acc925a48ef5d5a5cd48bd5cf3df533d66",
            ]
        );
    }

    #[test]
    fn new_words_are_good_for_ton_and_differ() {
        let (one, other) = (Words::generate().unwrap(), Words::generate().unwrap());
        assert_eq!(one.schemes(), [Scheme::Ton]);
        assert_eq!(one.reveal().count(), COUNT);
        assert!(one.text() != other.text(), "the same words twice");
        assert_eq!(Words::parse(one.text()).unwrap().schemes(), [Scheme::Ton]);
    }

    #[test]
    fn words_of_other_programs_are_recognised_as_such() {
        let words = Words::parse(BIP39).unwrap();
        assert_eq!(words.schemes(), [Scheme::Bip39]);
        for text in [
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo vote",
        ] {
            assert!(Words::parse(text).unwrap().schemes().contains(&Scheme::Bip39), "{text}");
        }
        assert_eq!(words.candidates(Network::Test).len(), WalletVersion::ALL.len());
    }

    #[test]
    fn one_wrong_word_is_noticed_and_no_word_is_repeated_in_the_refusal() {
        let refused = |text: &str| Words::parse(text).err().unwrap();
        assert_eq!(refused(""), WordsError::Count { count: 0 });
        assert_eq!(refused("one two three"), WordsError::Count { count: 3 });
        assert_eq!(refused(&KNOWN.replace("clown", "clowm")), WordsError::Unknown { place: 1 });
        assert_eq!(refused(&KNOWN.replace("crew one", "one crew")), WordsError::Checksum);
        assert_eq!(refused(&BIP39.replace("about", "abandon")), WordsError::Checksum);
        assert!(matches!(refused(&"zoo ".repeat(1_000)), WordsError::Count { .. }));
    }

    #[test]
    fn derivation_along_a_path_is_that_of_slip_10() {
        // SLIP-10, test vector 1 for ed25519: the master key and its first hardened child.
        let seed = hex::decode("000102030405060708090a0b0c0d0e0f").unwrap();
        let node = hmac(b"ed25519 seed", &[&seed]);
        assert_eq!(hex::encode(&node[..32]), "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7");
        let child = hmac(&node[32..], &[&[0], &node[..32], &HARDENED.to_be_bytes()]);
        assert_eq!(hex::encode(&child[..32]), "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3");
    }

    proptest::proptest! {
        #[test]
        fn no_text_brings_the_reader_down(text: String, places in proptest::collection::vec(0_usize..2_048, 0..30)) {
            assert!(Words::parse(&text).is_err());
            let listed: Vec<&str> = places.iter().map(|place| list()[*place]).collect();
            if let Err(error) = Words::parse(&listed.join(" ")) {
                assert!(matches!(error, WordsError::Count { .. } | WordsError::Checksum), "{error}");
            }
        }
    }
}
