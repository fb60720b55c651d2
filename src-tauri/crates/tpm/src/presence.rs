//! Whether there is a TPM, and whether this user may talk to it. May not: talk to it.

use crate::kept::Refusal;
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
    /// Whether there is one the system does not say.
    Unknown {
        /// Why not.
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

    /// What Windows' TPM services mean by what they said: the version of the TPM, or a code; and whether they let this user in.
    pub fn of_services(version: Result<u32, Refusal>, entry: Result<(), Refusal>) -> Self {
        /// No TPM; the services' own name for it.
        const NOT_FOUND: u32 = 0x8028_400f;
        match (version, entry) {
            (Err(Refusal { code: NOT_FOUND, .. }), _) => Self::Absent,
            (Ok(1), _) => Self::TooOld,
            (Ok(2), Ok(())) => Self::Usable,
            (Ok(2), Err(refusal)) if refusal.wants_an_administrator() => {
                Self::NotAllowed { remedy: "ask whoever administers this PC to let you use its TPM".to_owned() }
            }
            (Err(refusal), _) => Self::Unknown { why: refusal.to_string() },
            (Ok(2), Err(refusal)) => Self::Broken { why: refusal.to_string() },
            (Ok(other), _) => {
                Self::Broken { why: format!("Windows names a TPM of a version that is not known: {other}") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_says_of_a_tpm_is_absent_too_old_closed_broken_usable_or_unknown() {
        let said = |code| Refusal { asked: "say which TPM this is", code };
        let is = |version, entry| Presence::of_services(version, entry);
        assert_eq!(is(Ok(2), Ok(())), Presence::Usable);
        assert_eq!(is(Ok(1), Ok(())), Presence::TooOld);
        assert_eq!(is(Err(said(0x8028_400f)), Err(said(0x8028_400f))), Presence::Absent);
        assert!(
            matches!(is(Ok(2), Err(said(0x8028_4012))), Presence::NotAllowed { remedy } if !remedy.contains("sudo"))
        );
        // The service does not run.
        assert!(matches!(is(Err(said(0x8028_4008)), Ok(())), Presence::Unknown { why } if why.contains("0x80284008")));
        assert!(matches!(is(Ok(2), Err(said(0x8028_4008))), Presence::Broken { .. }));
        assert!(matches!(is(Ok(3), Ok(())), Presence::Broken { .. }));
    }
}
