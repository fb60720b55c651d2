//! How fast this machine's memory can be read: no engine generates faster than it reads the weights.

use std::time::Instant;

/// Passes over the memory; the fastest counts.
const PASSES: usize = 8;

/// Bytes a second that so many threads read together, each its own part of `bytes`; `None` if there is nothing to measure or not so
/// much memory.
pub fn read_rate(bytes: u64, threads: usize) -> Option<f64> {
    let words = usize::try_from(bytes / 8).ok()?;
    let mut memory: Vec<u64> = Vec::new();
    memory.try_reserve_exact(words).ok()?;
    memory.extend((0..words as u64).map(|word| word | 1));
    let part = words.div_ceil(threads.max(1)).max(1);
    let fastest = (0..PASSES)
        .filter_map(|_| {
            let begin = Instant::now();
            let sum = std::thread::scope(|scope| {
                let threads: Vec<_> = memory.chunks(part).map(|part| scope.spawn(move || sum(part))).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()).fold(0, u64::wrapping_add)
            });
            std::hint::black_box(sum);
            let seconds = begin.elapsed().as_secs_f64();
            (seconds > 0.0 && words > 0).then(|| bytes as f64 / seconds)
        })
        .fold(0.0, f64::max);
    (fastest > 0.0).then_some(fastest)
}

/// Adds up in several sums, so that the processor waits for memory only.
fn sum(words: &[u64]) -> u64 {
    let (blocks, rest) = words.as_chunks::<64>();
    let mut sums = [0_u64; 64];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read() {
        assert_eq!(sum(&[1; 1000]), 1000);
        assert!(read_rate(1 << 20, 2).is_some());
        assert!(read_rate(0, 2).is_none());
        assert!(read_rate(u64::MAX, 1).is_none(), "more than there is");
    }
}
