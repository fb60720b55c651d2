//! How kernels are best cut for a card: tried out at the first start, remembered by the caller, tried again when something changed.
//!
//! A backend names its candidates. Each is tested against the processor first, because drivers lie, and what computes the same is
//! measured on the model's own matrices (module `search`). What came of it is a [`Choice`], a few hundred bytes that the caller keeps and
//! hands back at the next start ([`Session::stored`]); they come from outside then and are judged as such (function `stored`). A choice holds
//! a name, never sizes: what is not among the candidates of the card is not run.
//!
//! The order of sums belongs to a candidate, so results may differ in their last bits from one choice to another: between starts,
//! never within one.

#![cfg_attr(not(any(feature = "wgpu", feature = "cuda")), allow(dead_code, reason = "only cards are tried out"))]

mod choice;
pub(crate) mod measure;
pub(crate) mod search;

pub(crate) use choice::text;
pub use choice::{Choice, Key, MAX_BYTES, Measured, Unreadable};

/// What is going on while a card is tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A candidate's results are compared with the processor's.
    Testing {
        /// Which, from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// A candidate is measured.
    Measuring {
        /// Which, from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
}

/// Why a card is tried out although something may have been stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing is stored for this card and model.
    #[error("nothing was stored for this card and this model")]
    First,
    /// The driver is another one.
    #[error("the driver was {was:?} and is {is:?}")]
    Driver {
        /// In the stored choice.
        was: String,
        /// Now.
        is: String,
    },
    /// Kernels are other ones.
    #[error("the kernels are other ones than those that were measured")]
    Kernels,
    /// A stored choice names a candidate that this card does not have.
    #[error("the stored choice {name:?} is none of this card's")]
    Candidate {
        /// Which.
        name: String,
    },
    /// Time ended before every way that this card has was tried: it goes on where it ended.
    #[error("only {seen} of {of} ways had been tried")]
    Unfinished {
        /// Ways that were tried or failed.
        seen: u32,
        /// Ways that there are.
        of: u32,
    },
    /// What is stored cannot be read.
    #[error("the stored choice cannot be used: {0}")]
    Unreadable(#[from] Unreadable),
}

/// What a start with tuning is given.
pub struct Session<'a> {
    /// Choices of earlier starts, of any card and model, as [`Choice::to_bytes`] wrote them; not trusted.
    pub stored: &'a [Vec<u8>],
    /// Told what is going on.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// What a start with tuning decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is used now.
    pub choice: Choice,
    /// Why it was found out anew; `None`: it was stored.
    pub reason: Option<Reason>,
}

/// The stored choice for these circumstances, or why the card must be tried out. `candidates` are the names of what there is to choose.
pub(crate) fn stored(stored: &[Vec<u8>], key: &Key, candidates: &[&str]) -> Result<Choice, Reason> {
    let mut reason = Reason::First;
    for bytes in stored {
        let choice = match Choice::from_bytes(bytes) {
            Ok(choice) => choice,
            Err(error) => {
                if reason == Reason::First {
                    reason = error.into();
                }
                continue;
            }
        };
        let was = &choice.key;
        if !was.same_card(key) || was.model != key.model {
            continue;
        }
        if was.driver != key.driver {
            reason = Reason::Driver { was: was.driver.clone(), is: key.driver.clone() };
        } else if was.kernels != key.kernels {
            reason = Reason::Kernels;
        } else if candidates.contains(&choice.candidate.as_str()) {
            return Ok(choice);
        } else {
            reason = Reason::Candidate { name: choice.candidate };
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::choice::tests::choice;
    use super::*;

    fn judge(bytes: &[Vec<u8>], key: &Key) -> Result<Choice, Reason> {
        stored(bytes, key, &["w64-l64-r4", "w64-l16-r4"])
    }

    #[test]
    fn a_stored_choice_is_used_while_card_driver_kernels_and_model_are_the_same() {
        let stored = choice();
        let other_model = Choice { key: Key { model: [9; 32], ..stored.key.clone() }, ..stored.clone() };
        let bytes = [other_model.to_bytes(), stored.to_bytes()];
        assert_eq!(judge(&bytes, &stored.key), Ok(stored.clone()));
        let key = |change: fn(&mut Key)| {
            let mut key = stored.key.clone();
            change(&mut key);
            judge(&bytes, &key).unwrap_err()
        };
        let driver = Reason::Driver { was: "NVIDIA 550.1".to_owned(), is: "NVIDIA 560.2".to_owned() };
        assert_eq!(key(|key| key.driver = "NVIDIA 560.2".to_owned()), driver);
        assert_eq!(key(|key| key.kernels[0] ^= 1), Reason::Kernels);
        assert_eq!(key(|key| key.model[0] ^= 1), Reason::First);
        assert_eq!(key(|key| key.device ^= 1), Reason::First);
        assert_eq!(key(|key| key.adapter.push('x')), Reason::First);
        assert_eq!(key(|key| key.api = "DX12".to_owned()), Reason::First);
        assert_eq!(judge(&[], &stored.key), Err(Reason::First));
    }

    #[test]
    fn stored_bytes_that_mean_nothing_and_names_that_are_not_known_are_named() {
        let stored = choice();
        let garbage = vec![b"{}".to_vec(), Vec::new(), vec![0xff; 20], vec![b' '; MAX_BYTES + 1]];
        assert!(matches!(judge(&garbage, &stored.key), Err(Reason::Unreadable(_))));
        // They are in nobody's way.
        let mut with = garbage.clone();
        with.push(stored.to_bytes());
        assert_eq!(judge(&with, &stored.key), Ok(stored.clone()));
        let unknown = Choice { candidate: "w4096-l1-r2".to_owned(), ..stored.clone() };
        let reason = judge(&[unknown.to_bytes()], &stored.key).unwrap_err();
        assert_eq!(reason, Reason::Candidate { name: "w4096-l1-r2".to_owned() });
    }
}
