//! Texts that end an answer, found across the borders of tokens.

use zeroize::{Zeroize, Zeroizing};

/// Holds back what might become a stop text until it is certain.
pub(crate) struct StopFilter {
    stops: Zeroizing<Vec<String>>,
    held: String,
}

impl StopFilter {
    pub(crate) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops: Zeroizing::new(stops), held: String::new() }
    }

    /// Takes more text; returns what is certain, and whether a stop text appeared behind it.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            let certain = self.held[..at].to_owned();
            self.held.zeroize();
            return (certain, true);
        }
        let keep = self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let certain = self.held[..self.held.len() - keep].to_owned();
        self.held.drain(..certain.len());
        (certain, false)
    }

    /// What was held back, when the answer ends otherwise.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl Drop for StopFilter {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}

/// Bytes at the end of `text` that begin `stop` without being all of it.
fn overlap(text: &str, stop: &str) -> usize {
    let most = text.len().min(stop.len() - 1);
    (1..=most).rev().find(|&length| text.as_bytes().ends_with(&stop.as_bytes()[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds pieces and returns what came out of each, and the rest at the end; `|` marks the stop.
    fn run(stops: &[&str], pieces: &[&str]) -> String {
        let mut filter = StopFilter::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut out = Vec::new();
        for piece in pieces {
            let (text, hit) = filter.push(piece);
            out.push(text);
            if hit {
                return out.join(".") + "|";
            }
        }
        out.push(filter.finish());
        out.join(".")
    }

    #[test]
    fn a_stop_text_is_found_across_the_borders_of_tokens_and_never_shown() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), "one ..|");
        assert_eq!(run(&["\n\n"], &["a\n", "b\n", "\nc"]), "a.\nb.|");
        assert_eq!(run(&["é!"], &["caf", "é", "!"]), "caf..|");
    }

    #[test]
    fn text_that_only_began_like_a_stop_text_is_given_out() {
        assert_eq!(run(&["END"], &["E", "N", "X"]), "..ENX.");
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), "..a.|");
        assert_eq!(run(&["END"], &["the EN"]), "the .EN");
    }

    #[test]
    fn the_earliest_of_several_stop_texts_counts_and_empty_ones_do_not() {
        assert_eq!(run(&["", "two", "one"], &["zero one two"]), "zero |");
        assert_eq!(run(&[""], &["text"]), "text.");
        assert_eq!(run(&["abc", "b"], &["xab"]), "xa|");
    }
}
