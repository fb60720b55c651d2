//! What does not change about a card while the machine runs, and why something is not known.

use std::fmt;
use std::str::FromStr;

/// Where a card sits: stays the same over restarts as long as nobody moves the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// Usually 0; 32 bits, because virtual machines on Azure use more than 16.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The slot on the bus, at most 31.
    pub device: u8,
    /// The function of the device, at most 7.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

/// The text is no PCI address like `0000:01:00.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPciAddress;

impl FromStr for PciAddress {
    type Err = NoPciAddress;

    /// Takes what Linux writes (`0000:01:00.0`) and what NVIDIA writes (`00000000:01:00.0`), in either case.
    fn from_str(text: &str) -> Result<Self, NoPciAddress> {
        let mut parts = text.split(':');
        let (Some(domain), Some(bus), Some(rest), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoPciAddress);
        };
        let (device, function) = rest.split_once('.').ok_or(NoPciAddress)?;
        let address = Self {
            domain: hex(domain, 8)?,
            bus: u8::try_from(hex(bus, 2)?).map_err(|_| NoPciAddress)?,
            device: u8::try_from(hex(device, 2)?).map_err(|_| NoPciAddress)?,
            function: u8::try_from(hex(function, 1)?).map_err(|_| NoPciAddress)?,
        };
        if address.device > 31 || address.function > 7 { Err(NoPciAddress) } else { Ok(address) }
    }
}

fn hex(digits: &str, most: usize) -> Result<u32, NoPciAddress> {
    // `from_str_radix` alone would take a sign.
    if digits.is_empty() || digits.len() > most || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(NoPciAddress);
    }
    u32::from_str_radix(digits, 16).map_err(|_| NoPciAddress)
}

/// One card, the same in every reading and after a restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GpuId {
    /// By its place.
    Pci(PciAddress),
    /// By the name of its device, for cards that are not on a PCI bus (some virtual machines, small boards).
    Device(String),
}

impl fmt::Display for GpuId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(out),
            Self::Device(name) => write!(out, "device:{name}"),
        }
    }
}

/// Who made the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// A card that a virtual machine's software pretends to have.
    Virtual,
    /// Somebody else, by PCI vendor number.
    Other(u16),
    /// A card that does not say.
    Unknown,
}

impl Vendor {
    pub(crate) fn of(number: u16) -> Self {
        match number {
            0x10de => Self::Nvidia,
            0x1002 | 0x1022 => Self::Amd,
            0x8086 => Self::Intel,
            // virtio, QEMU, Red Hat's QXL, VMware, VirtualBox, Hyper-V, Cirrus as QEMU has it.
            0x1af4 | 0x1234 | 0x1b36 | 0x15ad | 0x80ee | 0x1414 | 0x1013 => Self::Virtual,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvidia => out.write_str("NVIDIA"),
            Self::Amd => out.write_str("AMD"),
            Self::Intel => out.write_str("Intel"),
            Self::Virtual => out.write_str("virtual machine"),
            Self::Other(number) => write!(out, "vendor {number:04x}"),
            Self::Unknown => out.write_str("unknown vendor"),
        }
    }
}

/// How the card is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A card with memory of its own.
    Discrete,
    /// A part of the processor, living on the machine's memory.
    Integrated,
    /// Pretended by a virtual machine.
    Virtual,
}

/// The numbers a card is known by in lists of hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciIds {
    /// The maker.
    pub vendor: u16,
    /// The chip.
    pub device: u16,
    /// The variant of the chip; tells an XTX from an XT.
    pub revision: Option<u8>,
}

/// A card, as far as nothing about it moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Which one.
    pub id: GpuId,
    /// Who made it.
    pub vendor: Vendor,
    /// Its numbers; `None` for cards outside a PCI bus.
    pub pci: Option<PciIds>,
    /// What its maker calls it.
    pub name: Option<String>,
    /// Built in or plugged in.
    pub kind: Option<Kind>,
    /// The driver that has it, by the system's word for it (`nvidia`, `amdgpu`, `xe`, `vfio-pci`…).
    pub driver: Option<String>,
    /// The driver's version; `None` for drivers that are a part of the kernel.
    pub driver_version: Option<String>,
    /// Bytes of memory of its own. On an integrated card: the part of the machine's memory set aside for it.
    pub vram_total: Option<u64>,
    /// Bytes of the machine's memory it may use besides.
    pub shared_total: Option<u64>,
    /// Whether a screen hangs on it.
    pub drives_screen: Option<bool>,
    /// Why something above is `None`.
    pub unknown: Vec<Unknown>,
}

/// A thing somebody may want to know of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// [`Card::name`]
    Name,
    /// [`Card::driver`]
    Driver,
    /// [`Card::driver_version`]
    DriverVersion,
    /// [`Card::vram_total`]
    VramTotal,
    /// [`crate::Sample::vram_used`]
    VramUsed,
    /// [`crate::Sample::temperature`]
    Temperature,
    /// [`crate::Sample::power`]
    Power,
    /// [`crate::Sample::load`]
    Load,
    /// [`crate::Sample::processes`]
    Processes,
}

impl Fact {
    /// The field's name, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Driver => "driver",
            Self::DriverVersion => "driver_version",
            Self::VramTotal => "vram_total",
            Self::VramUsed => "vram_used",
            Self::Temperature => "temperature",
            Self::Power => "power",
            Self::Load => "load",
            Self::Processes => "processes",
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Name => "name",
            Self::Driver => "driver",
            Self::DriverVersion => "version of the driver",
            Self::VramTotal => "size of its memory",
            Self::VramUsed => "memory in use",
            Self::Temperature => "temperature",
            Self::Power => "power draw",
            Self::Load => "load",
            Self::Processes => "programs using it",
        })
    }
}

/// Something not known, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What.
    pub fact: Fact,
    /// Why.
    pub why: Why,
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The card sleeps to save power, and asking would wake it.
    Asleep,
    /// The card idles and may fall asleep if nobody asks; we ask again later.
    LeftAlone,
    /// No driver has the card.
    NoDriver,
    /// The card is set aside for a virtual machine.
    GivenAway,
    /// Its driver does not tell.
    NotTold,
    /// It lives on the machine's memory and has none of its own.
    SharesMemory,
    /// The driver is a part of the kernel and has no version of its own.
    PartOfTheKernel,
    /// We may not look.
    Refused,
    /// The system's answer could not be read.
    Unreadable(String),
    /// The answer cannot be true, or was no answer.
    Nonsense,
    /// The driver did not answer in time; it may hang.
    Unresponsive,
    /// It is a difference between two readings, and this is the first.
    FirstReading,
    /// This machine's lists of hardware do not name it.
    NotInLists,
    /// NVIDIA's own library would tell, but cannot be used; the text says why.
    NoLibrary(String),
    /// NVIDIA's own library refuses this card; the text is its reason.
    LibrarySays(String),
}

impl Why {
    /// One word for programs.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::LeftAlone => "left_alone",
            Self::NoDriver => "no_driver",
            Self::GivenAway => "given_away",
            Self::NotTold => "not_told",
            Self::SharesMemory => "shares_memory",
            Self::PartOfTheKernel => "part_of_the_kernel",
            Self::Refused => "refused",
            Self::Unreadable(_) => "unreadable",
            Self::Nonsense => "nonsense",
            Self::Unresponsive => "unresponsive",
            Self::FirstReading => "first_reading",
            Self::NotInLists => "not_in_lists",
            Self::NoLibrary(_) => "no_library",
            Self::LibrarySays(_) => "library_says",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asleep => out.write_str("the card sleeps to save power, and asking would wake it"),
            Self::LeftAlone => out.write_str("the card idles and is left alone so that it can fall asleep"),
            Self::NoDriver => out.write_str("no driver has the card"),
            Self::GivenAway => out.write_str("the card is set aside for a virtual machine"),
            Self::NotTold => out.write_str("its driver does not tell"),
            Self::SharesMemory => out.write_str("it has no memory of its own"),
            Self::PartOfTheKernel => out.write_str("the driver is a part of the kernel"),
            Self::Refused => out.write_str("we are not allowed to look"),
            Self::Unreadable(error) => write!(out, "it could not be read: {error}"),
            Self::Nonsense => out.write_str("what the driver says makes no sense"),
            Self::Unresponsive => out.write_str("the driver does not answer; the card may hang"),
            Self::FirstReading => out.write_str("it takes two readings"),
            Self::NotInLists => out.write_str("no list of hardware on this machine names it"),
            Self::NoLibrary(error) => write!(out, "NVIDIA's library cannot be used: {error}"),
            Self::LibrarySays(error) => write!(out, "NVIDIA's library says: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_linux_and_nvidia_are_the_same_address() {
        let address: PciAddress = "0000:0a:00.0".parse().unwrap();
        assert_eq!("00000000:0A:00.0".parse(), Ok(address));
        assert_eq!(address.to_string(), "0000:0a:00.0");
        assert_eq!("10000:e1:1f.7".parse::<PciAddress>().unwrap().to_string(), "10000:e1:1f.7");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":", "0000:01:00", "0000:01:00.8", "0000:01:20.0", "0000:01:00.0:1", "+000:01:00.0", "x:y:z.w"]
        {
            assert_eq!(text.parse::<PciAddress>(), Err(NoPciAddress), "{text}");
        }
    }
}
