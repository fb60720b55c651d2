//! Whether the owner wrote the words down: three of them, asked by their places.

use crate::{Words, WordsError};

/// Three places of a phrase. It holds no words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiz {
    places: [usize; 3],
}

impl Quiz {
    /// Chooses three places by twelve random bytes.
    pub fn new(words: &Words, random: [u8; 12]) -> Self {
        let mut left: Vec<usize> = (1..=words.reveal().count()).collect();
        let mut places = [0; 3];
        for (place, bytes) in places.iter_mut().zip(random.chunks_exact(4)) {
            let number = bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
            // A phrase has twelve words or more.
            if let Some(at) = number.checked_rem(left.len()) {
                *place = left.remove(at);
            }
        }
        places.sort_unstable();
        Self { places }
    }

    /// Chooses three places by chance.
    pub fn drawn(words: &Words) -> Result<Self, WordsError> {
        let mut random = [0; 12];
        getrandom::fill(&mut random).map_err(|_| WordsError::Random)?;
        Ok(Self::new(words, random))
    }

    /// Which words are asked, counted from 1, in rising order.
    pub fn places(&self) -> [usize; 3] {
        self.places
    }

    /// Whether these are the words, in the order of [`Quiz::places`]; case and space around them don't matter.
    pub fn passes(&self, words: &Words, answers: [&str; 3]) -> bool {
        self.places.iter().zip(answers).all(|(place, answer)| {
            let word = place.checked_sub(1).and_then(|at| words.reveal().nth(at));
            word.is_some_and(|word| word.eq_ignore_ascii_case(answer.trim()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple crew one";

    proptest! {
        #[test]
        fn three_different_words_are_asked_and_only_they_pass(random: [u8; 12]) {
            let words = Words::parse(KNOWN).unwrap();
            let quiz = Quiz::new(&words, random);
            let [one, two, three] = quiz.places();
            prop_assert!(1 <= one && one < two && two < three && three <= 24);
            let right = [one, two, three].map(|place| words.reveal().nth(place - 1).unwrap());
            prop_assert!(quiz.passes(&words, right));
            let loud = format!(" {}\n", right[0].to_uppercase());
            prop_assert!(quiz.passes(&words, [&loud, right[1], right[2]]));
            prop_assert!(!quiz.passes(&words, [right[1], right[0], right[2]]));
            prop_assert!(!quiz.passes(&words, [right[0], right[1], ""]));
        }
    }

    #[test]
    fn other_random_bytes_ask_other_words() {
        let words = Words::parse(KNOWN).unwrap();
        let asked = |first: u8| Quiz::new(&words, [0, 0, 0, first, 0, 0, 0, 0, 0, 0, 0, 0]).places();
        assert_eq!(asked(0), [1, 2, 3]);
        assert_eq!(asked(23), [1, 2, 24]);
    }
}
