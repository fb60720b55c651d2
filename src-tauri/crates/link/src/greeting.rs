//! The first sentence each way: which build speaks.

use crate::{FromWorker, ToWorker, frame::Frame};

/// Names this build: the package's version and a fingerprint of the sources that define the pipe.
pub const BUILD: &str = match std::str::from_utf8(&NAME) {
    Ok(name) => name,
    Err(_) => VERSION,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const HEX_DIGITS: usize = 16;
const NAME: [u8; VERSION.len() + 1 + HEX_DIGITS] = name();

const fn name() -> [u8; VERSION.len() + 1 + HEX_DIGITS] {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = fnv1a(hash, include_bytes!("message.rs"));
    hash = fnv1a(hash, include_bytes!("proof.rs"));
    hash = fnv1a(hash, include_bytes!("frame.rs"));
    hash = fnv1a(hash, include_bytes!("flow.rs"));
    let mut name = [b'+'; VERSION.len() + 1 + HEX_DIGITS];
    let mut at = 0;
    while at < VERSION.len() {
        name[at] = VERSION.as_bytes()[at];
        at += 1;
    }
    let mut digit = 0;
    while digit < HEX_DIGITS {
        name[at + 1 + digit] = b"0123456789abcdef"[(hash >> (60 - 4 * digit) & 15) as usize];
        digit += 1;
    }
    name
}

/// FNV-1a, because it is four lines at compile time; a mismatch is an accident here, not an attack.
const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Why a conversation did not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// Something else came first.
    #[error("the first message is not a greeting")]
    NotGreeted,
    /// The two programs do not belong together.
    #[error("the two programs are of different builds: {ours} and {theirs}")]
    DifferentBuild {
        /// This program's [`BUILD`].
        ours: String,
        /// What the other called itself, cut to 64 characters.
        theirs: String,
    },
    /// A second greeting.
    #[error("a second greeting")]
    Again,
}

/// A message that may be a greeting.
pub trait Greets {
    /// The build it names, if it is one.
    fn greeting(&self) -> Option<&str>;
}

impl Greets for ToWorker {
    fn greeting(&self) -> Option<&str> {
        match self {
            Self::Hello { build } => Some(build),
            _ => None,
        }
    }
}

impl Greets for FromWorker {
    fn greeting(&self) -> Option<&str> {
        match self {
            Self::Hello { build } => Some(build),
            _ => None,
        }
    }
}

/// The rule for one direction: exactly one greeting, first, naming our own build.
#[derive(Debug, Default)]
pub struct Greeting {
    done: bool,
}

impl Greeting {
    /// Nothing has been heard.
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a frame. `Ok(true)`: it was the greeting and needs no more attention; `Ok(false)`: handle it.
    pub fn admit<M: Greets>(&mut self, frame: &Frame<M>) -> Result<bool, GreetingError> {
        let build = match frame {
            Frame::Control(message) => message.greeting(),
            _ => None,
        };
        match (self.done, build) {
            (true, None) => Ok(false),
            (true, Some(_)) => Err(GreetingError::Again),
            (false, None) => Err(GreetingError::NotGreeted),
            (false, Some(BUILD)) => {
                self.done = true;
                Ok(true)
            }
            (false, Some(other)) => {
                Err(GreetingError::DifferentBuild { ours: BUILD.to_owned(), theirs: other.chars().take(64).collect() })
            }
        }
    }

    /// Has the other end greeted?
    pub fn is_done(&self) -> bool {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LaneId;

    fn hello(build: &str) -> Frame<ToWorker> {
        Frame::Control(ToWorker::Hello { build: build.to_owned() })
    }

    #[test]
    fn the_build_names_version_and_fingerprint() {
        let (version, fingerprint) = BUILD.split_once('+').unwrap();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        assert_eq!(fingerprint.len(), HEX_DIGITS);
        assert!(u64::from_str_radix(fingerprint, 16).unwrap() != 0);
    }

    #[test]
    fn one_greeting_of_the_same_build_comes_first() {
        let mut greeting = Greeting::new();
        assert_eq!(greeting.admit(&hello(BUILD)), Ok(true));
        assert!(greeting.is_done());
        assert_eq!(greeting.admit(&Frame::Control(ToWorker::SetEnabled(true))), Ok(false));
        assert_eq!(greeting.admit(&hello(BUILD)), Err(GreetingError::Again));
    }

    #[test]
    fn anything_before_the_greeting_ends_the_conversation() {
        let data = Frame::<ToWorker>::Data { lane: LaneId(0), bytes: vec![1] };
        assert_eq!(Greeting::new().admit(&data), Err(GreetingError::NotGreeted));
        let early = Frame::Control(ToWorker::SetEnabled(true));
        assert_eq!(Greeting::new().admit(&early), Err(GreetingError::NotGreeted));
    }

    #[test]
    fn another_build_is_named_and_refused() {
        let mut greeting = Greeting::new();
        let long = "9".repeat(1000);
        let Err(GreetingError::DifferentBuild { theirs, .. }) = greeting.admit(&hello(&long)) else {
            panic!("admitted");
        };
        assert_eq!(theirs.len(), 64);
        assert!(!greeting.is_done());
    }
}
