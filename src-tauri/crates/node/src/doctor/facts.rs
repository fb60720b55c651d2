//! What was found out about a PC, in the words that `chrysalis doctor --json` prints and reads again.

use serde::{Deserialize, Serialize};

/// A PC. What is not known is `None`, or has a case of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The system it runs.
    pub system: System,
    /// Its graphics cards.
    pub cards: Vec<CardFacts>,
    /// Its security chip.
    pub tpm: Tpm,
    /// Whether its firmware starts only what is signed.
    pub secure_boot: SecureBoot,
    /// Whether the app can read the log of the boot; without it nobody believes that Secure Boot was on. `None`: not known.
    pub boot_log: Option<bool>,
    /// Intel's sealed virtual machines.
    pub tdx: Isolation,
    /// AMD's.
    pub sev_snp: Isolation,
    /// What the box around the worker would be.
    pub walls: Walls,
    /// Registrars that know this PC and whose statement has not expired, by their key in hexadecimal digits.
    pub registered_at: Vec<String>,
}

/// A system, as far as it matters for the worker's box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
    /// Another one: the app does not run there.
    Other,
}

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFacts {
    /// Its name.
    pub name: Option<String>,
    /// Who made it, a number of the PCI list.
    pub pci_vendor: Option<u16>,
    /// Which chip it is, a number of its maker's.
    pub pci_device: Option<u16>,
    /// The driver that has it.
    pub driver: Option<String>,
    /// Its version.
    pub driver_version: Option<String>,
    /// Bytes of memory of its own.
    pub memory: Option<u64>,
}

impl CardFacts {
    /// Whether Cocoon's main network takes such a card: the chips of the H100 and H200 (GH100) and of the B100, B200 and B300 (GB100, GB110)
    /// by their PCI numbers. `None`: the numbers are not known.
    pub fn is_h100_class(&self) -> Option<bool> {
        const NVIDIA: u16 = 0x10de;
        let (vendor, device) = (self.pci_vendor?, self.pci_device?);
        Some(vendor == NVIDIA && matches!(device, 0x2300..=0x23ff | 0x2900..=0x29ff | 0x3180..=0x31ff))
    }
}

/// The security chip, or the part of the processor that plays one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tpm {
    /// Nobody could say.
    Unknown {
        /// Why not.
        why: String,
    },
    /// There is none, or the firmware hides it.
    Absent,
    /// An older one than 2.0.
    TooOld,
    /// It is there and this user may not use it.
    Forbidden {
        /// The group that may, where the system names one.
        group: Option<String>,
    },
    /// It is there and does not answer.
    Silent {
        /// What it did instead.
        why: String,
    },
    /// It answers.
    Ready {
        /// Who made it.
        maker: Option<String>,
        /// Whether its endorsement key has a certificate of a maker we know; `None`: not known.
        certified: Option<bool>,
    },
}

/// Whether the firmware starts only what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecureBoot {
    /// Yes.
    On,
    /// No, though it could.
    Off,
    /// It was started in the old way, in which there is no such thing.
    Impossible,
    /// The system does not say.
    Unknown,
}

/// What there is of sealed virtual machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Nothing.
    Absent,
    /// This PC can host them.
    Host,
    /// This is one.
    Guest,
    /// The system does not say.
    Unknown,
}

/// What the worker's box would be here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum Walls {
    /// It closes: no network, no files, no other programs.
    Closed,
    /// It closes but for something.
    Open {
        /// What stays open, a sentence.
        what: String,
    },
    /// It can't be closed, so the worker would not start.
    Impossible {
        /// Why, a sentence.
        why: String,
    },
    /// Nobody has tried yet.
    Unknown,
}
