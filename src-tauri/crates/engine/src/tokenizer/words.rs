//! The pre-tokenizer `smollm`: every digit by itself, then GPT-2's words.

use fancy_regex::Regex;

/// GPT-2's words. Its look-ahead (of several white characters the last one belongs to the word behind them) is done by hand
/// below, which keeps this expression free of back-tracking: time grows with the length of the text only.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+";

pub(super) struct Words {
    expression: Option<Regex>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self { expression: Regex::new(WORDS).ok() }
    }

    /// Calls back with every word, in order; together they are the text.
    pub(super) fn each(&self, text: &str, mut word: impl FnMut(&[u8])) {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_numeric) {
            self.each_without_digits(&rest[..at], &mut word);
            let behind = at + rest[at..].chars().next().map_or(0, char::len_utf8);
            word(&rest.as_bytes()[at..behind]);
            rest = &rest[behind..];
        }
        self.each_without_digits(rest, &mut word);
    }

    fn each_without_digits(&self, text: &str, word: &mut impl FnMut(&[u8])) {
        let mut from = 0;
        while from < text.len() {
            let found =
                self.expression.as_ref().and_then(|expression| expression.find_from_pos(text, from).ok().flatten());
            let Some(found) = found else { break };
            if found.start() > from {
                word(&text.as_bytes()[from..found.start()]);
            }
            let mut end = found.end();
            let white = found.as_str().chars().next_back().filter(|last| last.is_whitespace());
            if let Some(last) = white
                && end < text.len()
                && found.as_str().len() > last.len_utf8()
            {
                end -= last.len_utf8();
            }
            word(&text.as_bytes()[found.start()..end]);
            from = end;
        }
        if from < text.len() {
            word(&text.as_bytes()[from..]);
        }
    }
}
