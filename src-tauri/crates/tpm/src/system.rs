//! The TPM of the system that this runs on, and what the system says of itself: the same functions on Linux and on Windows.

use crate::chip::Chip;
use crate::client::TpmError;
use crate::machine::Machine;
use crate::presence::Presence;
use std::path::Path;
use std::time::Duration;

/// Opens the TPM: the system's, or the device at a place that somebody named. An answer may take that long, where the system lets us choose.
pub fn open(place: Option<&Path>, patience: Duration) -> Result<Box<dyn Chip>, TpmError> {
    of_system::open(place, patience)
}

/// Whether there is one, and whether this user may use it.
pub fn presence() -> Presence {
    of_system::presence()
}

/// How this computer was started, and what it runs on.
pub fn machine() -> Machine {
    of_system::machine()
}

/// The log of the measured boot, if the system shows it to this user and it is no larger than evidence may carry.
pub fn boot_log() -> Option<Vec<u8>> {
    of_system::boot_log()
}

/// Destroys the attestation keys that the system keeps for this user, and says how many those were. On Linux none are kept.
pub fn forget() -> Result<usize, TpmError> {
    of_system::forget()
}

#[cfg(unix)]
mod of_system {
    use super::{Chip, Duration, Machine, Path, Presence, TpmError};
    use crate::client::Tpm;
    use crate::transport::Device;

    /// The device behind the system's resource manager.
    const DEVICE: &str = "/dev/tpmrm0";

    pub(super) fn open(place: Option<&Path>, patience: Duration) -> Result<Box<dyn Chip>, TpmError> {
        let device = Device::open(place.unwrap_or(Path::new(DEVICE)), patience).map_err(TpmError::Closed)?;
        Ok(Box::new(Tpm::new(device)))
    }

    pub(super) fn presence() -> Presence {
        Presence::look(Path::new("/"))
    }

    pub(super) fn machine() -> Machine {
        Machine::look(Path::new("/"))
    }

    pub(super) fn boot_log() -> Option<Vec<u8>> {
        crate::machine::boot_log(Path::new("/"))
    }

    #[expect(clippy::unnecessary_wraps, reason = "on Windows it can fail")]
    pub(super) fn forget() -> Result<usize, TpmError> {
        Ok(0)
    }
}

#[cfg(windows)]
mod of_system {
    use super::{Chip, Duration, Machine, Path, Presence, TpmError};
    use crate::kept::Kept;
    use crate::windows::{Provider, registry, services};
    use std::io;

    pub(super) fn open(place: Option<&Path>, _patience: Duration) -> Result<Box<dyn Chip>, TpmError> {
        let closed = |why| Err(TpmError::Closed(io::Error::new(io::ErrorKind::Unsupported, why)));
        if place.is_some() {
            return closed("on Windows a TPM has no place in the file system");
        }
        if services::version()? == 1 {
            return closed("this PC's TPM is older than 2.0");
        }
        Ok(Box::new(Kept::new(Provider::open()?)))
    }

    pub(super) fn presence() -> Presence {
        services::presence()
    }

    pub(super) fn machine() -> Machine {
        registry::machine()
    }

    pub(super) fn boot_log() -> Option<Vec<u8>> {
        services::boot_log()
    }

    pub(super) fn forget() -> Result<usize, TpmError> {
        match presence() {
            // What is not there keeps nothing.
            Presence::Absent | Presence::TooOld => Ok(0),
            _ => Kept::new(Provider::open()?).forget(),
        }
    }
}
