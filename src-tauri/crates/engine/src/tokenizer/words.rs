//! Cutting a text into words, as `tokenizer.ggml.pre` names the way. The expressions are those that the makers of the models
//! publish with them (`pre_tokenizer` in their `tokenizer.json`), in the form in which llama.cpp applies them; where the two
//! differ (a contraction such as 'S is ASCII only), llama.cpp is followed.

use fancy_regex::Regex;

/// GPT-2's words. The published expression has `\s+(?!\S)` before the last alternative: of several white characters the last one
/// belongs to the word behind them. Here [`Stage::gives_back`] does that by hand, which keeps every expression free of
/// back-tracking: time grows with the length of the text only.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Llama 3's words: any character may stand before letters, digits come by threes, the ends of lines stay with what they end.
const LLAMA3: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// Qwen 2's words: as Llama 3's, but digits come one by one.
const QWEN2: &str = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";

/// Letters, numbers and marks, of those characters that Unicode had when llama.cpp took its tables from it.
const LETTERS: &str = r"[\p{L}&&\p{age:15.0}]";
const NUMBERS: &str = r"[\p{N}&&\p{age:15.0}]";
const MARKS: &str = r"[\p{P}&&\p{age:15.0}]";

/// Names that [`Words::named`] knows, for messages.
pub(super) const NAMES: &str = "smollm, qwen2, llama-bpe, gpt-2 and default";

/// One way of cutting. Its stages are applied one after another, each to the pieces of the one before.
pub(super) struct Words {
    stages: Vec<Stage>,
    /// Whether a word that is a token as a whole is taken as that token, whatever its merges would come to.
    pub(super) takes_whole: bool,
    /// Whether a prompt begins with the beginning-of-sequence token where the file does not say.
    pub(super) begins: bool,
}

struct Stage {
    expression: Regex,
    white: White,
}

/// What becomes of white characters that were found together.
#[derive(Clone, Copy, PartialEq)]
enum White {
    /// They stay together.
    Kept,
    /// The last of several belongs to what follows.
    GivesBack,
    /// As before, but not if it ends a line.
    GivesBackUnlessNewline,
}

impl Words {
    /// The way of this name; `None` if there is none.
    pub(super) fn named(name: &str) -> Option<Self> {
        let stages: &[(&str, White)] = match name {
            "smollm" => &[(r"\p{N}", White::Kept), (GPT2, White::GivesBack)],
            "qwen2" | "deepseek-r1-qwen" => &[(QWEN2, White::GivesBackUnlessNewline)],
            "llama-bpe" | "llama3" | "llama-v3" => &[(LLAMA3, White::GivesBackUnlessNewline)],
            "gpt-2" => &[(GPT2, White::GivesBack)],
            "default" => &[
                (r"[\p{P}$+<=>^~|]+", White::Kept),
                (GPT2, White::GivesBack),
                (r"\p{N}+", White::Kept),
                ("[0-9][0-9][0-9]", White::Kept),
            ],
            _ => return None,
        };
        let llama3 = stages[0].0 == LLAMA3;
        let stages = stages
            .iter()
            .map(|&(expression, white)| {
                let expression =
                    expression.replace(r"\p{L}", LETTERS).replace(r"\p{N}", NUMBERS).replace(r"\p{P}", MARKS);
                Some(Stage { expression: Regex::new(&expression).ok()?, white })
            })
            .collect::<Option<_>>()?;
        Some(Self { stages, takes_whole: llama3, begins: llama3 })
    }

    /// Calls back with every word, in order; together they are the text.
    pub(super) fn each(&self, text: &str, mut word: impl FnMut(&[u8])) {
        cut(&self.stages, text, &mut word);
    }
}

fn cut(stages: &[Stage], text: &str, word: &mut dyn FnMut(&[u8])) {
    let Some((stage, rest)) = stages.split_first() else {
        if !text.is_empty() {
            word(text.as_bytes());
        }
        return;
    };
    let mut from = 0;
    while from < text.len() {
        let Some(found) = stage.expression.find_from_pos(text, from).ok().flatten() else { break };
        let end = found.end() - stage.gives_back(found.as_str(), found.end() == text.len());
        cut(rest, &text[from..found.start()], word);
        cut(rest, &text[found.start()..end], word);
        from = end;
    }
    cut(rest, &text[from..], word);
}

impl Stage {
    /// How many bytes at the end of what was found belong to what follows.
    fn gives_back(&self, found: &str, at_end: bool) -> usize {
        let Some(last) = found.chars().next_back().filter(|last| last.is_whitespace()) else { return 0 };
        let kept = match self.white {
            White::Kept => true,
            White::GivesBack => false,
            White::GivesBackUnlessNewline => matches!(last, '\r' | '\n'),
        };
        if kept || at_end || found.len() == last.len_utf8() { 0 } else { last.len_utf8() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        Words::named(name).unwrap().each(text, |word| found.push(String::from_utf8(word.to_vec()).unwrap()));
        assert_eq!(found.concat(), text);
        found
    }

    #[test]
    fn each_way_cuts_as_its_name_says() {
        let text = "I'm  at 12345,\n\n it'S\u{a0}x";
        assert_eq!(
            words("smollm", text),
            ["I", "'m", " ", " at", " ", "1", "2", "3", "4", "5", ",", "\n\n", " it", "'", "S", "\u{a0}", "x"]
        );
        assert_eq!(
            words("gpt-2", text),
            ["I", "'m", " ", " at", " 12345", ",", "\n\n", " it", "'", "S", "\u{a0}", "x"]
        );
        assert_eq!(
            words("qwen2", text),
            ["I", "'m", " ", " at", " ", "1", "2", "3", "4", "5", ",\n\n", " it", "'S", "\u{a0}x"]
        );
        assert_eq!(
            words("llama-bpe", text),
            ["I", "'m", " ", " at", " ", "123", "45", ",\n\n", " it", "'S", "\u{a0}x"]
        );
        assert_eq!(
            words("default", text),
            ["I", "'", "m", " ", " at", " ", "123", "45", ",", "\n\n", " it", "'", "S", "\u{a0}", "x"]
        );
        assert!(Words::named("").is_none() && Words::named("Smollm").is_none());
    }

    #[test]
    fn white_before_the_end_of_a_line_stays_with_it_and_at_the_end_of_the_text_stays_together() {
        assert_eq!(words("qwen2", "a \t\n  b   "), ["a", " \t\n", " ", " b", "   "]);
        assert_eq!(words("llama3", "\r\n\u{2003}\u{2003}\u{2003}1"), ["\r\n", "\u{2003}\u{2003}", "\u{2003}", "1"]);
        assert_eq!(words("gpt-2", "a \n\n b"), ["a", " \n\n", " b"]);
    }
}
