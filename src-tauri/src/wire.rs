//! What the app and its window's process say to each other: JSON, one message a line, over the window's standard input and output. Both
//! ends are one program of one build.

use std::io::BufRead;

use serde::{Deserialize, Serialize};

use crate::view::{ApiError, Card, Event, Home, JobPage, JobQuery, Wish};

/// Longest line that is read, in bytes.
const MAX_LINE: u64 = 8 << 20;

/// What the page asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// The page Home.
    Home,
    /// The cards.
    Cards,
    /// Some jobs.
    Jobs(JobQuery),
    /// The owner wants something.
    SetWish(Wish),
    /// The owner wants the app to end.
    Quit,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The page Home.
    Home(Box<Home>),
    /// The cards.
    Cards(Vec<Card>),
    /// Some jobs.
    Jobs(JobPage),
    /// It was heard.
    Done,
}

/// What the window says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToApp {
    /// The page asks.
    Ask {
        /// Its number, for the answer.
        id: u64,
        /// What.
        question: Question,
    },
}

/// What the app says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ToWindow {
    /// Something changed.
    Event(Event),
    /// The answer to a question.
    Answer {
        /// The question's number.
        id: u64,
        /// What.
        answer: Result<Answer, ApiError>,
    },
    /// Come to the front.
    Raise,
}

/// Reads the next message. `None`: the other end is gone, or does not keep to the form.
pub(crate) fn read<M: for<'de> Deserialize<'de>>(reader: &mut impl BufRead) -> Option<M> {
    let mut line = Vec::new();
    let length = std::io::Read::take(reader.by_ref(), MAX_LINE).read_until(b'\n', &mut line).ok()?;
    if length == 0 || line.last() != Some(&b'\n') {
        return None;
    }
    serde_json::from_slice(&line).ok()
}

/// Writes a message down as a line.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    // Our own types always serialise: they have no maps with keys that are no text.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{ErrorCode, Page};

    #[test]
    fn messages_survive_the_line() {
        let said = [
            ToWindow::Event(Event::Show { page: Page::Jobs }),
            ToWindow::Answer { id: 7, answer: Ok(Answer::Done) },
            ToWindow::Answer {
                id: 8,
                answer: Err(ApiError { code: ErrorCode::Ledger, message: "two\nlines".to_owned() }),
            },
            ToWindow::Raise,
        ];
        let bytes: Vec<u8> = said.iter().flat_map(line).collect();
        let mut reader = bytes.as_slice();
        for message in said {
            assert_eq!(read::<ToWindow>(&mut reader), Some(message));
        }
        assert_eq!(read::<ToWindow>(&mut reader), None);
        let asked = ToApp::Ask { id: 1, question: Question::SetWish(Wish::Pause { until: Some(5.0) }) };
        assert_eq!(read::<ToApp>(&mut line(&asked).as_slice()), Some(asked));
    }

    #[test]
    fn garbage_cut_and_endless_lines_end_the_conversation() {
        for bytes in [&b"nonsense\n"[..], b"{\"Ask\":{\"id\":1", b"\xff\xfe\n", b"\n"] {
            assert_eq!(read::<ToApp>(&mut &*bytes), None);
        }
        let endless = vec![b'['; MAX_LINE as usize + 10];
        assert_eq!(read::<ToApp>(&mut endless.as_slice()), None);
    }
}
