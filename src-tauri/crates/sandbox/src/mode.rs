//! Which of Windows' walls stand around a worker. Pure: what was tried and what the system says of a process come in as values, and which
//! walls to take, what is missing and what the owner is told come out. It is compiled on every system, so that it is tested on every one.
//!
//! What may not live here: any call of the system. Those are in `windows/`.

mod choice;
mod look;
mod seen;

pub use choice::{Basis, Kind, read, write};
#[cfg(windows)]
pub(crate) use look::LONGEST;
pub use look::{Attempt, Card, Look, Outcome};
pub use seen::{Job, Lack, Mitigation, Seen, Wall};

/// Through what a worker in an AppContainer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphics {
    /// A graphics card through Vulkan.
    Vulkan,
    /// A graphics card through DirectX 12, where Vulkan's driver does not load inside.
    Dx12,
    /// The processor: no card is found inside, and none outside of the container either.
    Processor,
}

/// The walls around a worker on Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An AppContainer without a single capability.
    AppContainer {
        /// What works in it.
        graphics: Graphics,
    },
    /// A restricted token of low integrity.
    Restricted {
        /// Whether a rule of Windows' firewall stops what the worker sends to other computers.
        firewall: bool,
    },
    /// Wine, which runs Windows' programs on other systems and has neither of the two.
    Wine,
}

/// How an owner is to take a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Something is open that the line names.
    Caution,
    /// What matters is open.
    Red,
}

impl Mode {
    /// What the owner is told. It says no more than the walls do; [`Self::tone`] goes with it.
    pub fn words(self) -> &'static str {
        match self {
            Self::AppContainer { graphics: Graphics::Vulkan } => {
                "The worker is in an AppContainer: no network, none of your files, graphics card through Vulkan"
            }
            Self::AppContainer { graphics: Graphics::Dx12 } => {
                "The worker is in an AppContainer: no network, none of your files, graphics card through DirectX 12"
            }
            Self::AppContainer { graphics: Graphics::Processor } => {
                "The worker is in an AppContainer: no network, none of your files, no graphics card"
            }
            Self::Restricted { firewall: true } => {
                "A firewall rule blocks what the worker sends to other computers; Windows doesn't block its reading of your files"
            }
            Self::Restricted { firewall: false } => "Windows doesn't block its network or its reading of your files",
            Self::Wine => "This is Wine, not Windows: nothing blocks the worker's network or its reading of your files",
        }
    }

    /// How to take [`Self::words`].
    pub fn tone(self) -> Tone {
        match self {
            Self::AppContainer { .. } => Tone::Good,
            Self::Restricted { firewall: true } => Tone::Caution,
            Self::Restricted { firewall: false } | Self::Wine => Tone::Red,
        }
    }

    /// Whether there is something that the owner can ask for: the firewall's rule.
    pub fn rule_would_help(self) -> bool {
        self == Self::Restricted { firewall: false }
    }
}

/// What became of a worker program that was started inside such walls to look around; `Err` says why there is nothing to look at.
pub type Trial = Result<Look, String>;

/// What follows from the trials so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// These walls, and why none of the better ones.
    Take {
        /// Which.
        kind: Kind,
        /// One sentence for each better kind that was not taken, the best first.
        passed_over: Vec<String>,
    },
    /// Try the restricted token too.
    TryRestricted,
    /// No worker may be started on this system.
    Refuse(String),
}

/// Decides in the order of what the walls are worth: an AppContainer with Vulkan, one with DirectX 12, a restricted token; and an AppContainer
/// without a card where the restricted token finds none either. Walls through which something came that they should stop are none.
pub fn decide(container: &Trial, restricted: Option<&Trial>) -> Verdict {
    let mut passed_over = Vec::new();
    let inside = match container {
        Ok(look) => match look.came_through(Kind::MUST_STOP_IN_CONTAINER) {
            None => Some(look),
            Some(what) => {
                passed_over.push(format!("the AppContainer does not stop {}", what.words()));
                None
            }
        },
        Err(why) => {
            passed_over.push(format!("no AppContainer: {why}"));
            None
        }
    };
    if let Some(look) = inside {
        if look.has("Vulkan") {
            return Verdict::Take { kind: Kind::AppContainer(Graphics::Vulkan), passed_over };
        }
        passed_over.push("no graphics card is found through Vulkan in an AppContainer".to_owned());
        if look.has("DX12") {
            return Verdict::Take { kind: Kind::AppContainer(Graphics::Dx12), passed_over };
        }
        passed_over.push("no graphics card is found through DirectX 12 in an AppContainer".to_owned());
    }
    let Some(restricted) = restricted else { return Verdict::TryRestricted };
    let without = match restricted {
        Ok(look) => match look.came_through(Kind::MUST_STOP_WITH_TOKEN) {
            None if inside.is_none() || !look.cards.is_empty() => {
                return Verdict::Take { kind: Kind::Restricted, passed_over };
            }
            None => "no graphics card is found with a restricted token either".to_owned(),
            Some(what) => format!("the restricted token does not stop {}", what.words()),
        },
        Err(why) => format!("no restricted token: {why}"),
    };
    if inside.is_some() {
        passed_over.push(without);
        return Verdict::Take { kind: Kind::AppContainer(Graphics::Processor), passed_over };
    }
    passed_over.push(without);
    Verdict::Refuse(passed_over.join("; "))
}

#[cfg(test)]
mod tests;
