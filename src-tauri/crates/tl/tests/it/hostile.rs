//! No bytes make the decoder panic, and none make it allocate more than a small multiple of themselves.

use allocation_counter::measure;
use serde_json::Value;
use std::collections::BTreeMap;
use tl::{Boxed, Combinator, Error};

const GOLDEN: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/cocoon/golden_tl.jsonl"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fixtures/chrysalis/golden_tl.jsonl"),
];

/// The dearest elements are empty strings and pairs of them: 24 bytes in memory for 4 on the wire; with the bytes of the
/// content itself that makes 7 for 1.
const MOST_PER_BYTE: u64 = 7;

#[test]
fn a_golden_vector_cut_anywhere_is_refused_and_allocates_little() {
    let mut cuts = 0_u64;
    for (vector, decode) in vectors() {
        for length in 0..vector.len() {
            let error = decode_counted(decode, &vector[..length]).expect_err("a part was taken for the whole");
            assert!(!error.to_string().is_empty());
            cuts += 1;
        }
    }
    assert!(cuts > 250_000, "{cuts} cuts");
}

#[test]
fn a_golden_vector_with_bytes_behind_it_is_refused() {
    for (vector, decode) in vectors() {
        let longer = [&vector[..], &[0; 4]].concat();
        assert_eq!(decode_counted(decode, &longer), Err(Error::LeftOver { at: vector.len(), left: 4 }));
    }
}

#[test]
fn flipped_bits_never_panic_and_allocate_little() {
    let mutants = std::env::var("CHRYSALIS_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let mut random = Random(0x7463_6f63_6f6f_6e31);
    let mut taken = 0_u64;
    for (vector, decode) in vectors().iter().cycle().take(mutants) {
        let mut mutant = vector.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(mutant.len() as u64) as usize;
            mutant[at] ^= 1 << random.below(8);
        }
        // What is taken must be written as something that is taken again, and equal from then on.
        if let Ok(first) = decode_counted(*decode, &mutant) {
            assert_eq!(decode_counted(*decode, &first).as_ref(), Ok(&first));
            taken += 1;
        }
    }
    assert!(taken > 1_000, "only {taken} mutants were taken: the flips missed the content");
}

#[test]
fn random_bytes_behind_a_true_id_never_panic_and_allocate_little() {
    let mut random = Random(0x6c64_6570_7468_2121);
    for each in known() {
        for _ in 0..200 {
            let mut bytes = each.id.to_le_bytes().to_vec();
            for _ in 0..random.below(96) {
                // Mostly small words, so that counts, lengths and flags are plausible.
                let word = if random.below(3) == 0 { random.next() as u32 } else { random.below(6) as u32 };
                bytes.extend(word.to_le_bytes());
            }
            let _ = decode_counted(each.round_trip, &bytes);
        }
    }
}

#[test]
fn the_dearest_elements_stay_within_the_bound() {
    let empty = || tl::http::Header { name: String::new(), value: String::new() };
    let headers = (0..tl::MAX_ELEMENTS).map(|_| empty()).collect();
    let request = tl::http::Request {
        method: String::new(),
        url: String::new(),
        http_version: String::new(),
        headers,
        payload: Vec::new(),
    };
    let bytes = request.to_bytes();
    assert!(counted(&bytes, MOST_PER_BYTE, || tl::http::Request::from_bytes(&bytes).is_ok()));
}

#[test]
fn a_count_or_length_that_lies_allocates_nothing() {
    let mut bytes = tl::client::WorkerTypes::ID.to_le_bytes().to_vec();
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.resize(4_000, 0);
    let used = measure(|| assert!(tl::client::WorkerTypes::from_bytes(&bytes).is_err()));
    assert_eq!(used.bytes_total, 0);

    let mut bytes = tl::client::AuthorizeWithProxyShort::ID.to_le_bytes().to_vec();
    bytes.extend([0xfe, 0xff, 0xff, 0xff]);
    bytes.resize(4_000, 0);
    let used = measure(|| assert!(tl::client::AuthorizeWithProxyShort::from_bytes(&bytes).is_err()));
    assert_eq!(used.bytes_total, 0);
}

type Decode = fn(&[u8]) -> Result<Vec<u8>, Error>;

/// The schema's types and ours.
fn known() -> Vec<Combinator> {
    [tl::combinators(), tl::own_combinators()].concat()
}

/// Every golden vector, with the decoder of its type.
fn vectors() -> Vec<(Vec<u8>, Decode)> {
    let known: BTreeMap<&str, Combinator> = known().into_iter().map(|each| (each.name, each)).collect();
    let text = GOLDEN.map(|file| std::fs::read_to_string(file).unwrap()).concat();
    let vectors: Vec<(Vec<u8>, Decode)> = text
        .lines()
        .map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            let bytes = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
            (bytes, known[vector["type"].as_str().unwrap()].round_trip)
        })
        .collect();
    assert_eq!(vectors.len(), 468 + 17);
    vectors
}

/// Decodes and encodes again. Encoding takes the bytes once more, in a vector that doubles as it grows.
fn decode_counted(decode: Decode, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    counted(bytes, MOST_PER_BYTE + 3, || decode(bytes))
}

fn counted<T>(bytes: &[u8], most_per_byte: u64, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = measure(|| result = Some(work()));
    let most = most_per_byte * bytes.len() as u64 + 64;
    assert!(used.bytes_max <= most, "{} bytes of input took {} bytes", bytes.len(), used.bytes_max);
    result.unwrap()
}

/// xorshift64*: enough to spread flips, the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
