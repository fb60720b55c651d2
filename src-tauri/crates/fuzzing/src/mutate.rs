//! Seeded mutations: the same on every machine, so that a failure can be had again from its number.

/// A small generator, xorshift64*; for spreading mutations, nothing else.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() >> 11) as usize % end.max(1)
    }
}

/// Words at which counts and lengths tend to break.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xfe,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// A mutant of one of the `seeds`, at most `longest` bytes long.
pub fn mutant(seeds: &[Vec<u8>], longest: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = pick(seeds, random).to_vec();
    for _ in 0..=random.below(4) {
        mutate_once(&mut bytes, seeds, random);
    }
    bytes.truncate(longest);
    bytes
}

fn pick<'a>(seeds: &'a [Vec<u8>], random: &mut Random) -> &'a [u8] {
    seeds.get(random.below(seeds.len())).map_or(&[], Vec::as_slice)
}

fn mutate_once(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(9) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.word() as u8;
            }
        }
        3 => {
            // A word of 1, 2, 4 or 8 bytes, aligned or not.
            let width = 1_usize << random.below(4);
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            if let Some(word) = bytes.get_mut(at..at + width) {
                word.copy_from_slice(&edge[..width]);
            }
        }
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + 1 + random.below(32)).min(bytes.len());
            let copied = bytes[at..end].to_vec();
            bytes.splice(at..at, copied);
        }
        7 => {
            let fresh: Vec<u8> = (0..=random.below(8)).map(|_| random.word() as u8).collect();
            bytes.splice(at..at, fresh);
        }
        _ => {
            let other = pick(seeds, random);
            let from = random.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_mutants_and_they_differ_from_each_other() {
        let seeds = vec![b"one seed".to_vec(), b"another seed".to_vec()];
        let mutants = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| mutant(&seeds, 64, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(mutants(7), mutants(7));
        assert_ne!(mutants(7), mutants(8));
        let mut distinct = mutants(7);
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 70, "{} of 100 are distinct", distinct.len());
    }

    #[test]
    fn a_mutant_is_never_longer_than_asked_and_no_seed_at_all_is_no_problem() {
        let mut random = Random::new(3);
        for _ in 0..1_000 {
            assert!(mutant(&[vec![0; 100]], 50, &mut random).len() <= 50);
            assert!(mutant(&[], 50, &mut random).len() <= 50);
        }
    }
}
