//! What this PC can prove, which networks would take it today, and the one thing that is missing.
//! Pure: whoever asks has looked at the PC before.

mod facts;
mod stated;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use evidence::Grade;

pub use facts::{CardFacts, Facts, Isolation, SecureBoot, System, Tpm, Walls};
pub use stated::{StatedError, demand, stated};

/// What a network asks of a PC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Practice, on this PC: nothing.
    Practice,
    /// An open network: one of these grades.
    Open {
        /// Grades that its proxies accept.
        accepted: BTreeSet<Grade>,
        /// Whether a known machine must have been started with Secure Boot.
        secure_boot: bool,
        /// Registrars it believes, by their key in hexadecimal digits; none named: any.
        registrars: BTreeSet<String>,
    },
    /// Cocoon's main network: its own sealed machine on Intel TDX with a card of the H100 class.
    CocoonMain,
}

/// What would come of it if this PC went there today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It would be taken.
    Yes,
    /// It would not.
    No,
    /// Something that decides about it is not known.
    Unknown,
}

impl Answer {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// The one thing that is missing: without it nothing else helps. What can't be changed comes before what can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Neither Linux nor Windows.
    System,
    /// The worker's box can't be closed here.
    Box,
    /// Nobody is accepted at all.
    Anybody,
    /// Neither Intel TDX nor a card of the H100 class.
    TdxAndCard,
    /// Intel TDX.
    Tdx,
    /// A card of the H100 class.
    Card,
    /// Whether TDX or the card is there is not known.
    TdxOrCardUnknown,
    /// A sealed machine of Cocoon's own, which this app does not start.
    CocoonsMachine,
    /// A processor that seals virtual machines.
    Sealing,
    /// To run inside such a machine.
    SealedMachine,
    /// A verifier of what a graphics card says about itself.
    CardProof,
    /// A security chip.
    Tpm,
    /// A newer one.
    NewerTpm,
    /// Leave to use it.
    Leave,
    /// An answer of it.
    TpmAnswer,
    /// Whether there is one is not known.
    TpmUnknown,
    /// A certificate of its maker.
    Certificate,
    /// Whether there is one is not known.
    CertificateUnknown,
    /// Firmware of the new kind.
    Uefi,
    /// Secure Boot.
    SecureBoot,
    /// Whether it is on is not known.
    SecureBootUnknown,
    /// The log of the boot, by which alone Secure Boot is believed.
    BootLog,
    /// Whether it can be read is not known.
    BootLogUnknown,
    /// A proof of the sealed machine that this is.
    GuestProof,
    /// To be registered.
    Registration,
}

impl Missing {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::System,
        Self::Box,
        Self::Anybody,
        Self::TdxAndCard,
        Self::Tdx,
        Self::Card,
        Self::TdxOrCardUnknown,
        Self::CocoonsMachine,
        Self::Sealing,
        Self::SealedMachine,
        Self::CardProof,
        Self::Tpm,
        Self::NewerTpm,
        Self::Leave,
        Self::TpmAnswer,
        Self::TpmUnknown,
        Self::Certificate,
        Self::CertificateUnknown,
        Self::Uefi,
        Self::SecureBoot,
        Self::SecureBootUnknown,
        Self::BootLog,
        Self::BootLogUnknown,
        Self::GuestProof,
        Self::Registration,
    ];

    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Box => "box",
            Self::Anybody => "anybody",
            Self::TdxAndCard => "tdx_and_card",
            Self::Tdx => "tdx",
            Self::Card => "card",
            Self::TdxOrCardUnknown => "tdx_or_card_unknown",
            Self::CocoonsMachine => "cocoons_machine",
            Self::Sealing => "sealing",
            Self::SealedMachine => "sealed_machine",
            Self::CardProof => "card_proof",
            Self::Tpm => "tpm",
            Self::NewerTpm => "newer_tpm",
            Self::Leave => "leave",
            Self::TpmAnswer => "tpm_answer",
            Self::TpmUnknown => "tpm_unknown",
            Self::Certificate => "certificate",
            Self::CertificateUnknown => "certificate_unknown",
            Self::Uefi => "uefi",
            Self::SecureBoot => "secure_boot",
            Self::SecureBootUnknown => "secure_boot_unknown",
            Self::BootLog => "boot_log",
            Self::BootLogUnknown => "boot_log_unknown",
            Self::GuestProof => "guest_proof",
            Self::Registration => "registration",
        }
    }

    /// What it is and what can be done about it, for the owner.
    pub const fn words(self) -> &'static str {
        match self {
            Self::System => "This system is neither Linux nor Windows, and the app runs on these only.",
            Self::Box => "The box around the worker can't be closed on this system, so the worker would not start.",
            Self::Anybody => "This network's terms accept no evidence at all.",
            Self::TdxAndCard => {
                "It takes only machines with Intel TDX and NVIDIA cards of the H100 class. This PC shows neither. There is nothing to switch on."
            }
            Self::Tdx => {
                "It takes only machines with Intel TDX and NVIDIA cards of the H100 class. The card is here, TDX is not seen."
            }
            Self::Card => {
                "It takes only machines with Intel TDX and NVIDIA cards of the H100 class. TDX is here, such a card is not."
            }
            Self::TdxOrCardUnknown => {
                "It takes only machines with Intel TDX and NVIDIA cards of the H100 class, and this system does not say whether they are here."
            }
            Self::CocoonsMachine => {
                "TDX and the card are here. Joining needs Cocoon's own sealed machine, which this app does not start."
            }
            Self::Sealing => {
                "It asks for a sealed virtual machine, and this PC's processor shows no Intel TDX and no AMD SEV-SNP."
            }
            Self::SealedMachine => {
                "It asks for a sealed virtual machine. This PC could host one, and this app would have to run inside it."
            }
            Self::CardProof => "It asks for a proof of the graphics card that this app can neither make nor check yet.",
            Self::Tpm => {
                "It asks for a security chip (TPM 2.0). None is seen; the firmware's settings may hide it under fTPM or PTT."
            }
            Self::NewerTpm => "It asks for a security chip of version 2.0. The one here is older.",
            Self::Leave => "The security chip is here and this user may not use it.",
            Self::TpmAnswer => "The security chip is here and does not answer.",
            Self::TpmUnknown => "It asks for a security chip (TPM 2.0), and whether there is one is not known.",
            Self::Certificate => {
                "It asks for a security chip whose maker vouches for it. The one here has no certificate of a maker that is known."
            }
            Self::CertificateUnknown => {
                "It asks for a security chip whose maker vouches for it, and whether the one here has such a certificate is not known."
            }
            Self::Uefi => {
                "It asks for Secure Boot. This PC was started in the old way (BIOS, CSM), in which there is none."
            }
            Self::SecureBoot => "It asks for Secure Boot, which is off. The firmware's settings can switch it on.",
            Self::SecureBootUnknown => "It asks for Secure Boot, and this system does not say whether it is on.",
            Self::BootLog => {
                "It believes Secure Boot by the boot log alone, which this user can't read. Where root alone may, this opens it until the next start: sudo chgrp tss /sys/kernel/security/tpm0/binary_bios_measurements, for users of the group tss."
            }
            Self::BootLogUnknown => {
                "It believes Secure Boot by the boot log alone, and whether this user can read that is not known."
            }
            Self::GuestProof => {
                "It asks for a sealed virtual machine. This is one; chrysalis headless shows it, with --shows processor."
            }
            Self::Registration => {
                "This PC has to be registered once: `chrysalis identity enrol`, which shows the security chip's lifelong key to the registrar you name."
            }
        }
    }

    const fn is_unknown(self) -> bool {
        matches!(
            self,
            Self::TdxOrCardUnknown
                | Self::TpmUnknown
                | Self::CertificateUnknown
                | Self::SecureBootUnknown
                | Self::BootLogUnknown
        )
    }
}

/// Whether a network would take this PC today, and if not, why not.
pub fn examine(facts: &Facts, demand: &Demand) -> (Answer, Option<Missing>) {
    let found = stops_everything(facts).or_else(|| match demand {
        Demand::Practice => None,
        Demand::CocoonMain => Some(cocoon(facts)),
        Demand::Open { accepted, secure_boot, registrars } => {
            open(facts, accepted, &Asked { secure_boot: *secure_boot, registrars })
        }
    });
    match found {
        None => (Answer::Yes, None),
        Some(missing) if missing.is_unknown() => (Answer::Unknown, Some(missing)),
        Some(missing) => (Answer::No, Some(missing)),
    }
}

/// The grades that this PC can be given today, the lowest first.
pub fn grades(facts: &Facts) -> BTreeSet<Grade> {
    if stops_everything(facts).is_some() {
        return BTreeSet::new();
    }
    let asked = Asked { secure_boot: false, registrars: &BTreeSet::new() };
    Grade::ALL.into_iter().filter(|grade| lacks(facts, *grade, &asked).is_none()).collect()
}

/// What is asked for besides a grade.
struct Asked<'a> {
    secure_boot: bool,
    registrars: &'a BTreeSet<String>,
}

/// Without these no worker runs here at all.
fn stops_everything(facts: &Facts) -> Option<Missing> {
    match (facts.system, &facts.walls) {
        (System::Other, _) => Some(Missing::System),
        (_, Walls::Impossible { .. }) => Some(Missing::Box),
        _ => None,
    }
}

fn cocoon(facts: &Facts) -> Missing {
    main_network(facts.tdx, &facts.cards)
}

/// What Cocoon's main network misses in a PC with these cards: it takes only machines of its own with Intel TDX and cards of the H100 class.
pub fn main_network(tdx: Isolation, cards: &[CardFacts]) -> Missing {
    let tdx = match tdx {
        Isolation::Host | Isolation::Guest => Some(true),
        Isolation::Absent => Some(false),
        Isolation::Unknown => None,
    };
    let known = cards.iter().map(CardFacts::is_h100_class);
    let card = if known.clone().any(|is| is == Some(true)) {
        Some(true)
    } else if known.clone().any(|is| is.is_none()) {
        None
    } else {
        Some(false)
    };
    match (tdx, card) {
        (Some(true), Some(true)) => Missing::CocoonsMachine,
        (Some(false), Some(false)) => Missing::TdxAndCard,
        (Some(false), _) => Missing::Tdx,
        (_, Some(false)) => Missing::Card,
        (None, _) | (_, None) => Missing::TdxOrCardUnknown,
    }
}

/// What the easiest of the accepted grades lacks. Where it is not known whether the PC has what another one asks for, that one is nearer.
fn open(facts: &Facts, accepted: &BTreeSet<Grade>, asked: &Asked<'_>) -> Option<Missing> {
    let mut lacking = accepted.iter().map(|grade| lacks(facts, *grade, asked));
    let Some(first) = lacking.next() else { return Some(Missing::Anybody) };
    let mut found = first?;
    for other in lacking {
        let other = other?;
        if !found.is_unknown() && other.is_unknown() {
            found = other;
        }
    }
    Some(found)
}

/// What a grade asks for and this PC has not; `None`: it has everything.
fn lacks(facts: &Facts, grade: Grade, asked: &Asked<'_>) -> Option<Missing> {
    match grade {
        Grade::SelfClaim => None,
        Grade::KnownMachineUncertified => known_machine(facts, false, asked),
        Grade::KnownMachine => known_machine(facts, true, asked),
        Grade::ProcessorIsolated => match [facts.tdx, facts.sev_snp] {
            // The processor signs for it where its owner says so.
            roles if roles.contains(&Isolation::Guest) => Some(Missing::GuestProof),
            roles if roles.contains(&Isolation::Host) => Some(Missing::SealedMachine),
            _ => Some(Missing::Sealing),
        },
        // No verifier for what cards say about themselves is here, so nobody is given this grade.
        Grade::HardwareIsolated => Some(Missing::CardProof),
    }
}

fn known_machine(facts: &Facts, must_be_certified: bool, asked: &Asked<'_>) -> Option<Missing> {
    let certified = match &facts.tpm {
        Tpm::Absent => return Some(Missing::Tpm),
        Tpm::TooOld => return Some(Missing::NewerTpm),
        Tpm::Unknown { .. } => return Some(Missing::TpmUnknown),
        Tpm::Forbidden { .. } => None,
        Tpm::Silent { .. } => return Some(Missing::TpmAnswer),
        Tpm::Ready { certified, .. } => Some(*certified),
    };
    if must_be_certified && certified == Some(Some(false)) {
        return Some(Missing::Certificate);
    }
    if asked.secure_boot {
        match facts.secure_boot {
            SecureBoot::On => {}
            SecureBoot::Off => return Some(Missing::SecureBoot),
            SecureBoot::Impossible => return Some(Missing::Uefi),
            SecureBoot::Unknown => return Some(Missing::SecureBootUnknown),
        }
    }
    let Some(certified) = certified else { return Some(Missing::Leave) };
    // Firmware's word is for the owner. A proxy believes what the security chip has signed, and that can be read by the log only.
    let log = if asked.secure_boot { facts.boot_log } else { Some(true) };
    if log == Some(false) {
        return Some(Missing::BootLog);
    }
    if must_be_certified && certified.is_none() {
        return Some(Missing::CertificateUnknown);
    }
    if log.is_none() {
        return Some(Missing::BootLogUnknown);
    }
    let believed = |key: &String| asked.registrars.is_empty() || asked.registrars.contains(key);
    (!facts.registered_at.iter().any(believed)).then_some(Missing::Registration)
}
