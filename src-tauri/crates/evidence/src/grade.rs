//! The grades of proof, from nothing to most, and what each of them means in plain words.
//!
//! May not: promise more than the verifier of that grade checks. The sentences here are the strongest that any text of the app may say.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much is proved about a computer. Ordered: a later one proves more.
///
/// Between [`Self::KnownMachine`] and [`Self::ProcessorIsolated`] there is room for a measured image: a computer that boots an image of
/// ours, named by its TPM's registers. Nothing makes or checks one yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Nothing is proved: it says what it is.
    SelfClaim,
    /// The same computer as before, by a TPM of which nobody says that it is a real one.
    KnownMachineUncertified,
    /// A TPM whose maker is known, with how the computer was started.
    KnownMachine,
    /// A processor that keeps the machine's memory from its owner; nothing about a graphics card.
    ProcessorIsolated,
    /// Processor and graphics card, both isolated. Nothing here grants it: there is no verifier for a card yet.
    HardwareIsolated,
}

/// What a grade means, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Wording {
    /// A few words, as a headline.
    pub title: &'static str,
    /// What is proved.
    pub proves: &'static str,
    /// What is not, though one might think so.
    pub does_not_prove: &'static str,
    /// Who can read questions and answers.
    pub who_can_read: &'static str,
}

impl Grade {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [
        Self::SelfClaim,
        Self::KnownMachineUncertified,
        Self::KnownMachine,
        Self::ProcessorIsolated,
        Self::HardwareIsolated,
    ];

    /// Its name in files and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SelfClaim => "self-claim",
            Self::KnownMachineUncertified => "known-machine-uncertified",
            Self::KnownMachine => "known-machine",
            Self::ProcessorIsolated => "processor-isolated",
            Self::HardwareIsolated => "hardware-isolated",
        }
    }

    /// The grade of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grade| grade.name() == name)
    }

    /// The number that it has on the wire: its place in the order, from 0.
    pub fn number(self) -> i32 {
        Self::ALL.iter().zip(0..).find(|(one, _)| **one == self).map_or(0, |(_, number)| number)
    }

    /// The grade of a number on the wire.
    pub fn from_number(number: i32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied()
    }

    /// What it means, for people.
    pub const fn wording(self) -> Wording {
        match self {
            Self::SelfClaim => Wording {
                title: "Not verified",
                proves: "Nothing. This computer says what it runs, and nobody checked it.",
                does_not_prove: "Which computer this is, how it was started and what runs on it.",
                who_can_read: "The owner of this computer can read and change everything. So can the proxy's operator, and whoever \
                    controls either of them.",
            },
            Self::KnownMachineUncertified => Wording {
                title: "Known computer, chip without a certificate",
                proves: "This is the same computer as before, as far as its security chip can be believed. Nobody says that the chip is a \
                    real one: it may be a program that plays one.",
                does_not_prove: "That the chip is real, that the computer was started as it says, and what runs on it.",
                who_can_read: "The owner of this computer can read and change everything. So can the proxy's operator, and whoever \
                    controls either of them.",
            },
            Self::KnownMachine => Wording {
                title: "Known computer",
                proves: "A security chip of a known maker says which computer this is and how it was started. It does not say which \
                    program runs.",
                does_not_prove: "What the computer does: its owner can run any program after it has started, and let the chip sign for it. \
                    It may pass questions on to another computer.",
                who_can_read: "The owner of this computer can read and change everything. So can the proxy's operator, and whoever \
                    controls either of them.",
            },
            Self::ProcessorIsolated => Wording {
                title: "Isolated by its processor, graphics card not proven",
                proves: "The processor runs an image that is on the list and keeps its memory from the computer's owner.",
                does_not_prove: "Anything about a graphics card: what is computed there may be read there. Attacks on the hardware itself are \
                    known and are not ruled out.",
                who_can_read: "Whoever controls the graphics card, if there is one: that may be this computer's owner. Besides, whoever made \
                    the image, and whoever attacks the hardware. The proxy's operator, unless the proxy proves the same.",
            },
            Self::HardwareIsolated => Wording {
                title: "Isolated by processor and graphics card",
                proves: "Processor and graphics card both run what is on the list and keep their memory from the computer's owner.",
                does_not_prove: "That nobody attacks the hardware itself: such attacks are known, and cost money and a visit.",
                who_can_read: "Whoever made the image, and whoever attacks the hardware. The proxy's operator, unless the proxy proves the \
                    same.",
            },
        }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_in_order_and_are_called_the_same_everywhere() {
        assert!(Grade::ALL.is_sorted_by(|lower, higher| lower < higher));
        for grade in Grade::ALL {
            assert_eq!(serde_json::to_value(grade).unwrap(), grade.name());
            assert_eq!(Grade::from_name(grade.name()), Some(grade));
            assert_eq!(grade.to_string(), grade.name());
            assert_eq!(Grade::from_number(grade.number()), Some(grade));
        }
        assert_eq!((Grade::from_number(-1), Grade::from_number(5)), (None, None));
        assert_eq!(Grade::from_name("measured-image"), None);
    }

    #[test]
    fn no_grade_below_the_isolated_ones_keeps_anything_from_the_owner() {
        for grade in Grade::ALL {
            let wording = grade.wording();
            let isolated = grade >= Grade::ProcessorIsolated;
            assert_eq!(
                wording.who_can_read.contains("The owner of this computer can read and change everything"),
                !isolated
            );
            assert!(wording.who_can_read.contains("proxy's operator"), "{grade}: TLS ends at the proxy");
            for promise in ["private", "confidential", "secret", "nobody can read", "anonymous"] {
                let texts = [wording.title, wording.proves, wording.does_not_prove, wording.who_can_read];
                assert!(texts.iter().all(|text| !text.to_lowercase().contains(promise)), "{grade} says {promise}");
            }
        }
    }
}
