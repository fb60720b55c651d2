//! What a worker program that looks around inside its walls writes, and what is read of it.

use std::fmt::Write as _;

/// Something that walls may stop, tried from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// To read a file of the owner's.
    OwnersFile,
    /// To make a file where the owner's are.
    NewFile,
    /// To reach a program on this PC through the network.
    Loopback,
    /// To send to another computer.
    Network,
    /// To look into the app's memory.
    AppMemory,
    /// To start a program.
    Program,
}

impl Attempt {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::OwnersFile, Self::NewFile, Self::Loopback, Self::Network, Self::AppMemory, Self::Program];

    /// In a few words that go on after "does not stop".
    pub fn words(self) -> &'static str {
        match self {
            Self::OwnersFile => "reading a file of yours",
            Self::NewFile => "writing beside your files",
            Self::Loopback => "connections to programs on this PC",
            Self::Network => "sending to other computers",
            Self::AppMemory => "looking into the app's memory",
            Self::Program => "starting programs",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::OwnersFile => "owners-file",
            Self::NewFile => "new-file",
            Self::Loopback => "loopback",
            Self::Network => "network",
            Self::AppMemory => "app-memory",
            Self::Program => "program",
        }
    }

    /// Where nothing was there to be reached it proves nothing that it was not; for all others there is.
    fn may_be_unknown(self) -> bool {
        self == Self::Network
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The system said no.
    Refused,
    /// It succeeded.
    Reached,
    /// It failed for another reason, or was not made.
    Unknown,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reached => "reached",
            Self::Unknown => "unknown",
        }
    }
}

/// A graphics card that a worker inside can open and use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// `Vulkan`, `DX12` or `CUDA`.
    pub api: String,
    /// Its name.
    pub name: String,
}

/// What was found inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What became of each of [`Attempt::ALL`], in that order.
    pub outcomes: [Outcome; Attempt::ALL.len()],
    /// Cards that can be used; software that plays one is none.
    pub cards: Vec<Card>,
}

/// A report has no more bytes than this.
pub(crate) const LONGEST: usize = 16 * 1024;
const MOST_CARDS: usize = 32;
const LAST: &str = "end";

impl Look {
    /// The first of these that the walls do not stop for certain.
    pub(super) fn came_through(&self, attempts: &[Attempt]) -> Option<Attempt> {
        attempts.iter().copied().find(|attempt| match self.outcome(*attempt) {
            Outcome::Refused => false,
            Outcome::Unknown => !attempt.may_be_unknown(),
            Outcome::Reached => true,
        })
    }

    /// What became of one.
    pub fn outcome(&self, attempt: Attempt) -> Outcome {
        let made = Attempt::ALL.iter().zip(self.outcomes).find(|(one, _)| **one == attempt);
        made.map_or(Outcome::Unknown, |(_, outcome)| outcome)
    }

    /// Whether there is a card through this.
    pub(super) fn has(&self, api: &str) -> bool {
        self.cards.iter().any(|card| card.api == api)
    }

    /// As lines, with one at the end by which a report that was cut is known.
    pub fn write(&self) -> String {
        let one_word = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
        let one_line = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(200).collect::<String>();
        let mut text = String::new();
        for (attempt, outcome) in Attempt::ALL.into_iter().zip(self.outcomes) {
            let _ = writeln!(text, "{} {}", attempt.name(), outcome.name());
        }
        for card in self.cards.iter().take(MOST_CARDS) {
            let _ = writeln!(text, "card {} {}", one_word(&card.api), one_line(&card.name));
        }
        text.push_str(LAST);
        text.push('\n');
        text
    }

    /// Reads what [`Self::write`] wrote; anything else is an error in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("what the worker says of its walls {what}"));
        if bytes.len() > LONGEST {
            return wrong("is too long");
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return wrong("is no text") };
        let mut lines = text.lines();
        let mut outcomes = [Outcome::Unknown; Attempt::ALL.len()];
        for (attempt, place) in Attempt::ALL.into_iter().zip(&mut outcomes) {
            let said = lines.next().and_then(|line| line.strip_prefix(attempt.name())?.strip_prefix(' '));
            let known = [Outcome::Refused, Outcome::Reached, Outcome::Unknown];
            match known.into_iter().find(|outcome| said == Some(outcome.name())) {
                Some(outcome) => *place = outcome,
                None => return wrong("ends too early or is of another build"),
            }
        }
        let mut cards = Vec::new();
        loop {
            match lines.next() {
                Some(LAST) if lines.next().is_none() => return Ok(Self { outcomes, cards }),
                Some(line) if cards.len() < MOST_CARDS => {
                    match line.strip_prefix("card ").and_then(|line| line.split_once(' ')) {
                        Some((api, name)) => cards.push(Card { api: api.to_owned(), name: name.to_owned() }),
                        None => return wrong("has a line that means nothing"),
                    }
                }
                Some(_) => return wrong("has too many lines"),
                None => return wrong("ends too early"),
            }
        }
    }
}
