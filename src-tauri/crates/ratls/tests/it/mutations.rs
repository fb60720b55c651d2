//! Damage to everything that comes from outside: no panic, and no damaged certificate is ever in order.
//! `CHRYSALIS_MUTANTS` says how many mutants of each certificate are tried.

use ratls::pow::{Challenge, Response};
use ratls::tls::peer_identity;
use ratls::{Policy, Role, certificate};
use rustls::pki_types::CertificateDer;

use crate::fixture;
use crate::maker::Recipe;
use crate::pair::NOW;

/// Small, seeded and good enough to spoil bytes with (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % bound
    }
}

fn mutants() -> usize {
    std::env::var("CHRYSALIS_MUTANTS").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000)
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        let place = dice.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match dice.below(6) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << dice.below(8),
            1 if !bytes.is_empty() => bytes[place] = dice.below(256) as u8,
            2 => bytes.truncate(place),
            3 => bytes.insert(place, dice.below(256) as u8),
            4 => {
                let end = (place + dice.below(40)).min(bytes.len());
                bytes.drain(place..end);
            }
            // Lengths that lie: the byte behind a tag becomes a long form.
            _ if bytes.len() > place + 5 => bytes[place + 1] = [0x80, 0x81, 0x82, 0x83, 0x84, 0xff][dice.below(6)],
            _ => {}
        }
    }
}

#[test]
fn no_damaged_certificate_is_in_order() {
    let mut originals: Vec<(Vec<u8>, u64)> = ["fake_a", "fakerouter_b", "none_a"]
        .map(fixture::certificate)
        .into_iter()
        .map(|der| {
            let time = certificate::parse(&der).unwrap().not_before as u64 + 60;
            (der, time)
        })
        .collect();
    originals.push((Recipe::genuine(1).version_3().der(), NOW));
    let mut refused = 0;
    for (number, (original, time)) in originals.iter().enumerate() {
        let good = peer_identity(&[original.as_slice().into()], &Policy::Any, Role::Server, *time);
        assert!(good.is_ok(), "original {number}");
        let mut dice = Dice::new(number as u64 + 1);
        for mutant in 0..mutants() {
            let mut bytes = original.clone();
            mutate(&mut bytes, &mut dice);
            if bytes == *original {
                continue;
            }
            let verdict = peer_identity(&[CertificateDer::from(bytes)], &Policy::Any, Role::Server, *time);
            assert!(verdict.is_err(), "mutant {mutant} of original {number} was let in");
            refused += 1;
        }
    }
    assert!(refused > mutants() * 3);
}

#[test]
fn every_cut_of_a_certificate_is_refused() {
    let whole = fixture::certificate("fake_b");
    for length in 0..whole.len() {
        assert!(certificate::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(certificate::parse(&longer).is_err(), "a byte behind the certificate");
    assert!(certificate::parse(&vec![0x30; certificate::MAX_LENGTH + 1]).is_err());
}

#[test]
fn every_single_flipped_bit_of_a_certificate_is_noticed() {
    let whole = fixture::certificate("fakerouter_a");
    let time = certificate::parse(&whole).unwrap().not_before as u64 + 60;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verdict = peer_identity(&[CertificateDer::from(bytes)], &Policy::Any, Role::Client, time);
        assert!(verdict.is_err(), "bit {bit}");
    }
}

#[test]
fn nested_and_endless_structures_are_refused_quickly() {
    // As deep as the size allows: a reader that recurses would be gone.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested = if nested.len() < 60_000 { crate::maker::tlv(0x30, &nested) } else { nested };
    }
    assert!(certificate::parse(&nested).is_err());
    let many = Recipe::genuine(1).change(|recipe| {
        recipe.extensions =
            (0..200).map(|number| crate::maker::extension(&[0x2a, 3, number as u8 & 0x7f, 1], false, &[])).collect();
    });
    assert!(certificate::parse(&many.der()).is_err());
}

#[test]
fn preambles_of_any_bytes_are_read_or_refused() {
    let mut dice = Dice::new(99);
    for _ in 0..mutants() {
        let mut challenge = Challenge { difficulty: 20, salt: [1; 16] }.encode();
        challenge[dice.below(24)] = dice.below(256) as u8;
        if let Ok(read) = Challenge::decode(&challenge) {
            assert_eq!(read.encode(), challenge);
        }
        let mut response = Response { nonce: -1 }.encode();
        response[dice.below(12)] = dice.below(256) as u8;
        if let Ok(read) = Response::decode(&response) {
            assert_eq!(read.encode(), response);
        }
    }
}
