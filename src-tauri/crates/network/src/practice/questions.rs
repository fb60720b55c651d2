//! What simulated customers ask: a committed list, and how each question is put.

use serde_json::{Value, json};

const TEXT: &str = include_str!("questions.txt");

/// Between two turns of a conversation.
const NEXT_TURN: &str = " >> ";

/// What sort of question it is; decides how long the answer may be and how it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fact,
    Explain,
    HowTo,
    List,
    Write,
    Translate,
    Code,
    Maths,
    Chat,
    /// Raw text to go on with, for `/v1/completions`.
    Complete,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "fact" => Self::Fact,
            "explain" => Self::Explain,
            "howto" => Self::HowTo,
            "list" => Self::List,
            "write" => Self::Write,
            "translate" => Self::Translate,
            "code" => Self::Code,
            "maths" => Self::Maths,
            "chat" => Self::Chat,
            "complete" => Self::Complete,
            _ => return None,
        })
    }

    /// Most tokens of an answer, from and to.
    fn tokens(self) -> (u64, u64) {
        match self {
            Self::Fact | Self::Translate | Self::Maths => (16, 48),
            Self::List | Self::Chat | Self::Complete => (24, 64),
            Self::Explain | Self::HowTo | Self::Write | Self::Code => (32, 96),
        }
    }

    /// What a customer may tell the model beforehand.
    fn system(self) -> &'static str {
        match self {
            Self::Fact | Self::Maths => "Answer in one sentence.",
            Self::Explain | Self::HowTo => "You are a patient teacher. Use plain words.",
            Self::List => "Answer with a numbered list and nothing else.",
            Self::Write => "You are a writer with a light touch.",
            Self::Translate => "You are a translator. Give only the translation.",
            Self::Code => "You are an experienced programmer. Be brief.",
            Self::Chat | Self::Complete => "You are a cheerful companion.",
        }
    }
}

/// One question, perhaps with what the customer says next.
#[derive(Clone)]
pub(crate) struct Question {
    /// Two letters.
    pub(crate) language: &'static str,
    pub(crate) kind: Kind,
    pub(crate) turns: Vec<&'static str>,
}

/// The whole list. Lines that are no questions are left out; a test counts them.
pub(crate) fn all() -> Vec<Question> {
    TEXT.lines().filter_map(parse).collect()
}

fn parse(line: &'static str) -> Option<Question> {
    let mut fields = line.splitn(3, '|');
    let language = fields.next()?;
    let kind = Kind::parse(fields.next()?)?;
    let turns: Vec<&str> = fields.next()?.split(NEXT_TURN).collect();
    Some(Question { language, kind, turns })
}

/// A small generator of numbers, the same for the same seed everywhere (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.roll() % (most.saturating_sub(least) + 1)
    }

    /// The list in another order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let other = self.between(0, last as u64) as usize;
            list.swap(last, other);
        }
    }
}

/// How one customer puts one question: the same through all turns of a conversation.
pub(crate) struct Manner {
    pub(crate) streams: bool,
    max_tokens: u64,
    temperature: f64,
    with_system: bool,
}

impl Manner {
    pub(crate) fn choose(kind: Kind, dice: &mut Dice) -> Self {
        let (least, most) = kind.tokens();
        let temperatures = [0.0, 0.2, 0.7, 1.0];
        let chosen = dice.between(0, 3) as usize;
        Self {
            streams: dice.between(0, 2) > 0,
            max_tokens: dice.between(least, most),
            temperature: temperatures.get(chosen).copied().unwrap_or(0.7),
            with_system: dice.between(0, 2) == 0,
        }
    }
}

/// Path and body of a request. `before` are earlier turns: what was asked and what was answered.
pub(crate) fn request(
    model: &str,
    question: &Question,
    turn: &str,
    before: &[(String, String)],
    manner: &Manner,
) -> (&'static str, Value) {
    let mut body = json!({
        "model": model,
        "max_tokens": manner.max_tokens,
        "temperature": manner.temperature,
        "stream": manner.streams,
    });
    if question.kind == Kind::Complete {
        body["prompt"] = json!(turn);
        return ("/v1/completions", body);
    }
    let mut messages = Vec::new();
    if manner.with_system {
        messages.push(json!({ "role": "system", "content": question.kind.system() }));
    }
    for (asked, answered) in before {
        messages.push(json!({ "role": "user", "content": asked }));
        messages.push(json!({ "role": "assistant", "content": answered }));
    }
    messages.push(json!({ "role": "user", "content": turn }));
    body["messages"] = Value::Array(messages);
    ("/v1/chat/completions", body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_many_varied_questions_and_every_line_is_one() {
        let questions = all();
        let lines = TEXT.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(questions.len(), lines, "a line is no question");
        assert!(questions.len() >= 150, "only {}", questions.len());
        let texts: BTreeSet<&str> = questions.iter().flat_map(|question| question.turns.clone()).collect();
        assert_eq!(texts.len(), questions.iter().map(|question| question.turns.len()).sum::<usize>(), "one twice");
        let languages: BTreeSet<&str> = questions.iter().map(|question| question.language).collect();
        assert!(languages.len() >= 20, "{languages:?}");
        assert!(questions.iter().filter(|question| question.turns.len() > 1).count() >= 20);
        assert!(questions.iter().any(|question| question.kind == Kind::Complete));
        assert!(texts.iter().all(|text| !text.trim().is_empty() && text.len() < 300));
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_seed_another() {
        let order = |seed| {
            let mut list: Vec<usize> = (0..150).collect();
            Dice::new(seed).shuffle(&mut list);
            list
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        let mut sorted = order(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..150).collect::<Vec<_>>());
    }

    #[test]
    fn customers_ask_in_every_manner() {
        let mut dice = Dice::new(1);
        let manners: Vec<Manner> = (0..200).map(|_| Manner::choose(Kind::Explain, &mut dice)).collect();
        assert!(manners.iter().any(|manner| manner.streams) && manners.iter().any(|manner| !manner.streams));
        assert!(manners.iter().any(|manner| manner.with_system));
        let tokens: BTreeSet<u64> = manners.iter().map(|manner| manner.max_tokens).collect();
        assert!(tokens.len() > 20 && tokens.iter().all(|count| (32..=96).contains(count)));
        let warmth: BTreeSet<u64> = manners.iter().map(|manner| (manner.temperature * 10.0) as u64).collect();
        assert_eq!(warmth.len(), 4);
    }

    #[test]
    fn a_second_turn_carries_the_first_and_its_answer() {
        let question = all().into_iter().find(|question| question.turns.len() > 1).unwrap();
        let manner = Manner { streams: false, max_tokens: 9, temperature: 0.0, with_system: true };
        let before = [("asked".to_owned(), "answered".to_owned())];
        let (path, body) = request("m", &question, question.turns[1], &before, &manner);
        assert_eq!(path, "/v1/chat/completions");
        let roles: Vec<&str> =
            body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(body["max_tokens"], 9);
    }
}
