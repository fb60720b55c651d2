//! How many tokens of prompts a step reads: as many as take about a tenth of a second, whatever the device.
//!
//! Whoever drives the engine can only react between steps, and systems reset a graphics card that has not answered for two seconds.

use std::time::Duration;

/// How long a step that reads may take.
const ALONE: Duration = Duration::from_millis(100);
/// The same while other sequences generate: each of them waits a step for each of its tokens.
const BESIDE_OTHERS: Duration = Duration::from_millis(50);
/// What is read at first, before anything is known.
const FIRST: usize = 16;
/// What is read at least, or prompts would starve behind answers on a slow device.
const LEAST: usize = 4;

/// Pure: it is told how long steps took.
pub(crate) struct Pace {
    /// Tokens that take [`ALONE`], or fewer.
    chunk: usize,
    most: usize,
    fixed: bool,
}

impl Pace {
    /// For a device that reads so many tokens at once at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { chunk: FIRST.min(most.max(1)), most: most.max(1), fixed: false }
    }

    /// Always so many tokens, however long that takes.
    pub(crate) fn fixed(tokens: usize) -> Self {
        Self { chunk: tokens.max(1), most: tokens.max(1), fixed: true }
    }

    /// Tokens that the next step should read.
    pub(crate) fn chunk(&self, beside_others: bool) -> usize {
        if beside_others && !self.fixed { (self.chunk / 2).max(LEAST).min(self.most) } else { self.chunk }
    }

    /// A step read so many tokens and took so long.
    pub(crate) fn took(&mut self, read: usize, beside_others: bool, time: Duration) {
        if self.fixed || read == 0 {
            return;
        }
        let (bound, share) = if beside_others { (BESIDE_OTHERS, 2) } else { (ALONE, 1) };
        // What would have taken three quarters of the time there is: the next tokens have more to attend to.
        let fits = read as f64 * 0.75 * bound.as_secs_f64() / time.as_secs_f64().max(1e-9);
        let fits = (fits as usize).max(LEAST).saturating_mul(share);
        if time > bound {
            self.chunk = self.chunk.min(fits).min(self.most);
        } else if read >= self.chunk(beside_others) {
            // Step by step: the first one of all may have been quick for another reason.
            self.chunk = self.chunk.max(fits.min(self.chunk.saturating_mul(2))).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that takes so many microseconds for a token that it reads and so many more for a step.
    struct Device {
        token: u64,
        step: u64,
    }

    impl Device {
        fn time(&self, read: usize) -> Duration {
            Duration::from_micros(self.step + self.token * read as u64)
        }

        /// The times of steps, the first one included.
        fn steps(&self, pace: &mut Pace, count: usize, beside_others: bool) -> Vec<Duration> {
            let step = |_| {
                let read = pace.chunk(beside_others);
                let time = self.time(read);
                pace.took(read, beside_others, time);
                time
            };
            (0..count).map(step).collect()
        }
    }

    #[test]
    fn no_step_but_the_first_takes_more_than_its_time() {
        for token in [1, 10, 100, 500, 1_000, 5_000, 12_000] {
            for step in [0, 200, 2_000, 20_000] {
                let device = Device { token, step };
                let mut pace = Pace::new(512);
                let alone = device.steps(&mut pace, 50, false);
                assert!(alone[2..].iter().all(|time| *time <= ALONE), "{token} {step}: {alone:?}");
                // Others come, and go again. Four tokens are read in any case.
                let bound = BESIDE_OTHERS.max(device.time(4));
                let beside = device.steps(&mut pace, 50, true);
                assert!(beside[3..].iter().all(|time| *time <= bound), "{token} {step}: {beside:?}");
                let alone = device.steps(&mut pace, 50, false);
                assert!(alone[2..].iter().all(|time| *time <= ALONE), "{token} {step}: {alone:?}");
            }
        }
    }

    #[test]
    fn a_fast_device_soon_reads_as_much_as_it_can_and_a_slow_one_goes_on_reading() {
        let mut pace = Pace::new(512);
        Device { token: 10, step: 500 }.steps(&mut pace, 6, false);
        assert_eq!(pace.chunk(false), 512);
        // Twenty times as slow of a sudden: one step is late, the next is not.
        let late = Device { token: 400, step: 500 }.steps(&mut pace, 2, false);
        assert!(late[0] > ALONE && late[1] <= ALONE, "{late:?}");
        let mut pace = Pace::new(512);
        Device { token: 1_000_000, step: 0 }.steps(&mut pace, 9, true);
        assert_eq!((pace.chunk(true), pace.chunk(false)), (4, 8), "four tokens beside others, however slow");
    }

    #[test]
    fn the_end_of_a_prompt_tells_nothing_about_larger_steps() {
        let mut pace = Pace::new(512);
        pace.took(3, false, Duration::from_micros(1));
        pace.took(0, false, Duration::from_secs(9));
        assert_eq!(pace.chunk(false), FIRST);
        let mut fixed = Pace::fixed(7);
        fixed.took(7, true, Duration::from_secs(9));
        assert_eq!((fixed.chunk(true), fixed.chunk(false)), (7, 7));
        assert_eq!(Pace::new(1).chunk(true), 1);
    }
}
