//! Whether there is a TPM, and whether this user may talk to it. May not: talk to it.

use serde::Serialize;
use std::io;
use std::path::Path;

/// What the system shows of a TPM. The words are for the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Presence {
    /// None is shown: there is none, or it is switched off in the firmware's settings.
    Absent,
    /// One of the older kind, which is of no use here.
    TooOld,
    /// There is one, and this user may not open it.
    NotAllowed {
        /// What to do about it.
        remedy: String,
    },
    /// There is one, and it can't be opened for another reason.
    Broken {
        /// What the system said.
        why: String,
    },
    /// There is one, and this user may open it.
    Usable,
}

impl Presence {
    /// Looks under a root folder, which is `/` but in tests. Opens the device and closes it again.
    pub fn look(root: &Path) -> Self {
        let device = root.join("dev/tpmrm0");
        match std::fs::OpenOptions::new().read(true).write(true).open(device) {
            Ok(_) => Self::Usable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The resource manager is for TPM 2.0 alone; the old kind has the other device.
                let version = root.join("sys/class/tpm/tpm0/tpm_version_major");
                let old = std::fs::read_to_string(version).is_ok_and(|version| version.trim() == "1");
                if old { Self::TooOld } else { Self::Absent }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Self::NotAllowed { remedy: "run `sudo usermod -aG tss $USER`, then log out and in again".to_owned() }
            }
            Err(error) => Self::Broken { why: error.to_string() },
        }
    }
}
