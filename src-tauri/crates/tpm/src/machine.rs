//! What the system says about how it was started and what it runs on. Nobody signed any of it: it is for the owner, and a hint.

use serde::Serialize;
use std::io::Read as _;
use std::path::Path;

/// EFI's variable: four bytes of attributes, then one of value.
const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const BOOT_LOG: &str = "sys/kernel/security/tpm0/binary_bios_measurements";
/// The most bytes that are read of a file that says what it is in a few lines.
const TEXT_LIMIT: u64 = 256 * 1024;

/// Facts about this computer. `None` is "the system does not say".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Whether it was started by EFI.
    pub efi: Option<bool>,
    /// Whether Secure Boot was on.
    pub secure_boot: Option<bool>,
    /// Whether this is a machine inside Intel TDX.
    pub tdx_guest: bool,
    /// Whether this is a machine inside AMD SEV-SNP.
    pub snp_guest: bool,
    /// Whether the processor could host machines of Intel TDX, and the system is set up for it.
    pub tdx_host: Option<bool>,
    /// Whether the processor could host machines of AMD SEV-SNP, and the system is set up for it.
    pub snp_host: Option<bool>,
    /// Whether a guest can make reports here, see [`guest`](crate::guest).
    pub reports: bool,
}

impl Machine {
    /// Looks under a root folder, which is `/` but in tests.
    pub fn look(root: &Path) -> Self {
        let system = root.join("sys").is_dir();
        let efi = system.then(|| root.join("sys/firmware/efi").is_dir());
        let flags = flags(root);
        let has = |flag: &str| flags.as_ref().map(|flags| flags.iter().any(|known| known == flag));
        let parameter = |path: &str| text(root, path).map(|said| matches!(said.trim(), "Y" | "1"));
        Self {
            efi,
            secure_boot: secure_boot(root),
            // The device, or the flag that the system sets for itself inside.
            tdx_guest: root.join("dev/tdx_guest").exists() || has("tdx_guest") == Some(true),
            snp_guest: root.join("dev/sev-guest").exists(),
            tdx_host: has("tdx_host_platform")
                .map(|able| able && parameter("sys/module/kvm_intel/parameters/tdx").unwrap_or(false)),
            snp_host: has("sev_snp")
                .map(|able| able && parameter("sys/module/kvm_amd/parameters/sev_snp").unwrap_or(false)),
            reports: root.join(crate::guest::REPORTS).is_dir(),
        }
    }
}

impl Machine {
    /// What Windows' registry says: whether Secure Boot is on, and how the PC was started. It says nothing of sealed machines.
    pub fn of_registry(secure_boot: Option<u32>, firmware: Option<u32>) -> Self {
        let efi = match firmware {
            Some(1) => Some(false),
            Some(2) => Some(true),
            _ => None,
        };
        let secure_boot = match secure_boot {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        };
        Self { efi, secure_boot, ..Self::default() }
    }
}

/// The log of the measured boot, if the system shows it to this user. It is not shown to everybody everywhere; and not if it is larger than
/// evidence may carry.
pub fn boot_log(root: &Path) -> Option<Vec<u8>> {
    let file = std::fs::File::open(root.join(BOOT_LOG)).ok()?;
    let mut log = Vec::new();
    file.take(evidence::LOG_LIMIT as u64 + 1).read_to_end(&mut log).ok()?;
    (!log.is_empty() && log.len() <= evidence::LOG_LIMIT).then_some(log)
}

fn secure_boot(root: &Path) -> Option<bool> {
    match std::fs::read(root.join(SECURE_BOOT)).ok()?.as_slice() {
        [_, _, _, _, 0] => Some(false),
        [_, _, _, _, 1] => Some(true),
        _ => None,
    }
}

/// The first processor's flags.
fn flags(root: &Path) -> Option<Vec<String>> {
    let said = text(root, "proc/cpuinfo")?;
    let line = said.lines().find(|line| line.starts_with("flags"))?;
    let (_, flags) = line.split_once(':')?;
    Some(flags.split_whitespace().map(str::to_owned).collect())
}

fn text(root: &Path, path: &str) -> Option<String> {
    let mut said = String::new();
    std::fs::File::open(root.join(path)).ok()?.take(TEXT_LIMIT).read_to_string(&mut said).ok()?;
    Some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_registry_does_not_say_is_unknown() {
        let read = |secure_boot, firmware| {
            let machine = Machine::of_registry(secure_boot, firmware);
            (machine.secure_boot, machine.efi)
        };
        assert_eq!(read(Some(1), Some(2)), (Some(true), Some(true)));
        assert_eq!(read(Some(0), Some(2)), (Some(false), Some(true)));
        // Started in the old way: the value is missing.
        assert_eq!(read(None, Some(1)), (None, Some(false)));
        assert_eq!(read(Some(7), Some(0)), (None, None));
        assert_eq!(read(None, None), (None, None));
    }
}
