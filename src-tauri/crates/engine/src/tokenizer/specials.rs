//! Finding special tokens in a text before anything else is done with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

/// A token that is looked for in texts as a whole.
pub(super) struct Special {
    /// Its text; not empty.
    pub(super) text: String,
    /// Its id.
    pub(super) token: u32,
    /// Recognised even where special tokens are not to be parsed.
    pub(super) always: bool,
}

/// A part of a text.
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

/// The special tokens of a vocabulary, for both ways of looking for them.
pub(super) struct Specials {
    all: Index,
    always: Index,
}

/// Texts in alphabetical order. Those that begin alike stand together, so a position of a text is compared with all of them at once.
#[derive(Default)]
struct Index {
    entries: Vec<Entry>,
    /// Where the texts stand that begin with a byte.
    first: BTreeMap<u8, Range<usize>>,
}

struct Entry {
    text: String,
    token: u32,
    /// Of texts of equal length the one that comes first in the vocabulary goes first.
    rank: usize,
    /// The longest other entry that this one begins with.
    shorter: Option<usize>,
}

impl Specials {
    pub(super) fn new(specials: Vec<Special>) -> Self {
        let always = specials.iter().enumerate().filter(|(_, special)| special.always);
        let always = Index::new(always.map(|(rank, special)| (rank, special.text.clone(), special.token)).collect());
        let all = specials.into_iter().enumerate();
        Self { all: Index::new(all.map(|(rank, special)| (rank, special.text, special.token)).collect()), always }
    }

    /// Cuts a text at its special tokens. The longest token goes first wherever it stands in the text, then the next longest in what
    /// is left, of each kind from left to right: what looking for one after another in every part would find.
    pub(super) fn cut<'a>(&self, text: &'a str, parse_special: bool) -> Vec<Fragment<'a>> {
        let index = if parse_special { &self.all } else { &self.always };
        let mut fragments = Vec::new();
        let mut from = 0;
        for (at, entry) in index.find(text) {
            if at > from {
                fragments.push(Fragment::Text(&text[from..at]));
            }
            fragments.push(Fragment::Token(index.entries[entry].token));
            from = at + index.entries[entry].text.len();
        }
        if from < text.len() {
            fragments.push(Fragment::Text(&text[from..]));
        }
        fragments
    }
}

impl Index {
    fn new(mut specials: Vec<(usize, String, u32)>) -> Self {
        specials.sort_by(|(left_rank, left, _), (right_rank, right, _)| (left, left_rank).cmp(&(right, right_rank)));
        specials.dedup_by(|(_, later, _), (_, earlier, _)| later == earlier);
        let mut index = Self::default();
        // The chain of entries that the last one begins with, the longest on top.
        let mut begun: Vec<usize> = Vec::new();
        for (at, (rank, text, token)) in specials.into_iter().enumerate() {
            while begun.last().is_some_and(|&entry| !text.starts_with(&index.entries[entry].text)) {
                begun.pop();
            }
            let first = text.as_bytes().first().copied().unwrap_or_default();
            index.first.entry(first).or_insert(at..at).end = at + 1;
            index.entries.push(Entry { text, token, rank, shorter: begun.last().copied() });
            begun.push(at);
        }
        index
    }

    /// Places and entries, in the order of the text; no two overlap.
    fn find(&self, text: &str) -> Vec<(usize, usize)> {
        let mut candidates: BinaryHeap<_> =
            (0..text.len()).filter_map(|at| Some(self.candidate(at, self.longest(&text.as_bytes()[at..])?))).collect();
        let mut taken = vec![false; if candidates.is_empty() { 0 } else { text.len() }];
        let mut found = Vec::new();
        while let Some((length, _, Reverse(at), entry)) = candidates.pop() {
            match taken[at..at + length].iter().position(|&taken| taken) {
                None => {
                    taken[at..at + length].fill(true);
                    found.push((at, entry));
                }
                Some(0) => {}
                // A shorter one may fit before what is taken already.
                Some(free) => {
                    let mut shorter = self.entries[entry].shorter;
                    while let Some(entry) = shorter.filter(|&entry| self.entries[entry].text.len() > free) {
                        shorter = self.entries[entry].shorter;
                    }
                    candidates.extend(shorter.map(|entry| self.candidate(at, entry)));
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// The longest goes first, then what comes first in the vocabulary, then what comes first in the text.
    fn candidate(&self, at: usize, entry: usize) -> (usize, Reverse<usize>, Reverse<usize>, usize) {
        (self.entries[entry].text.len(), Reverse(self.entries[entry].rank), Reverse(at), entry)
    }

    /// The longest entry that these bytes begin with.
    fn longest(&self, bytes: &[u8]) -> Option<usize> {
        let mut alike = self.first.get(bytes.first()?)?.clone();
        let mut longest = None;
        for depth in 1.. {
            // The entry that ends here, if there is one, stands before those that go on.
            if self.entries[alike.start].text.len() == depth {
                longest = Some(alike.start);
                alike.start += 1;
            }
            let entries = &self.entries[alike.clone()];
            let (Some(next), Some(least), Some(most)) = (bytes.get(depth), entries.first(), entries.last()) else {
                break;
            };
            let byte = |entry: &Entry| entry.text.as_bytes()[depth];
            if byte(least) == *next && byte(most) == *next {
                continue;
            }
            let start = entries.partition_point(|entry| byte(entry) < *next);
            let end = start + entries[start..].partition_point(|entry| byte(entry) == *next);
            alike = alike.start + start..alike.start + end;
            if alike.is_empty() {
                break;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One after another, the longest first, in every part: what is to be equalled.
    fn plainly(specials: &[(&str, bool)], text: &str, parse_special: bool) -> Vec<String> {
        let mut order: Vec<usize> = (0..specials.len()).collect();
        order.sort_by_key(|&at| Reverse(specials[at].0.len()));
        let mut parts = vec![(text.to_owned(), false)];
        parts.retain(|(part, _)| !part.is_empty());
        for at in order.into_iter().filter(|&at| parse_special || specials[at].1) {
            let special = specials[at].0;
            parts = parts
                .into_iter()
                .flat_map(|(part, is_token)| {
                    if is_token {
                        return vec![(part, true)];
                    }
                    let mut texts: Vec<(String, bool)> = Vec::new();
                    for (number, between) in part.split(special).enumerate() {
                        if number > 0 {
                            texts.push((special.to_owned(), true));
                        }
                        texts.push((between.to_owned(), false));
                    }
                    texts
                })
                .filter(|(part, _)| !part.is_empty())
                .collect();
        }
        parts.into_iter().map(|(part, is_token)| if is_token { format!("[{part}]") } else { part }).collect()
    }

    fn found(specials: &[(&str, bool)], text: &str, parse_special: bool) -> Vec<String> {
        let list =
            specials.iter().zip(0..).map(|(&(text, always), token)| Special { text: text.to_owned(), token, always });
        let fragments = Specials::new(list.collect()).cut(text, parse_special).into_iter();
        fragments
            .map(|fragment| match fragment {
                Fragment::Text(text) => text.to_owned(),
                Fragment::Token(token) => format!("[{}]", specials[token as usize].0),
            })
            .collect()
    }

    #[test]
    fn what_is_found_equals_looking_for_one_after_another() {
        let specials = [
            ("a", true),
            ("aa", false),
            ("aab", true),
            ("ba", false),
            ("bab", true),
            ("abc", false),
            ("cab", true),
            ("aaaa", true),
            ("é", true),
            ("éa", false),
            ("bcabca", true),
        ];
        let mut state = 7_u32;
        for round in 0..20_000 {
            let mut text = String::new();
            for _ in 0..round % 17 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push(['a', 'b', 'c', 'é', 'a'][(state >> 16) as usize % 5]);
            }
            let count = (state >> 8) as usize % (specials.len() + 1);
            for parse_special in [false, true] {
                let wanted = plainly(&specials[..count], &text, parse_special);
                assert_eq!(found(&specials[..count], &text, parse_special), wanted, "{text:?}, {count} specials");
            }
        }
    }

    #[test]
    fn many_overlapping_tokens_in_a_long_text_take_no_more_than_their_share_of_time() {
        let specials =
            (1..=256).map(|length| Special { text: "\n".repeat(length), token: length as u32, always: true });
        let specials = Specials::new(specials.collect());
        let text = "\n".repeat(1 << 20);
        assert_eq!(specials.cut(&text, false).len(), (1 << 20) / 256);
    }
}
