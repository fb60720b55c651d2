//! The machine around the cards.

use sysinfo::{CpuRefreshKind, DiskKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

use crate::files::{self, Roots};
use crate::parse;

/// Longest `/proc/cpuinfo` that is read: the flags stand in the first processor's part.
const LONGEST_CPUINFO: u64 = 64 << 10;

/// A machine. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The system with its version, as it calls itself.
    pub os: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// The processor's name.
    pub cpu: Option<String>,
    /// Real cores.
    pub cores: Option<usize>,
    /// Threads that run at once.
    pub threads: Option<usize>,
    /// Bytes of memory.
    pub memory_total: Option<u64>,
    /// Bytes of memory that programs could have now.
    pub memory_available: Option<u64>,
    /// Its disks that hold files, without those that exist in memory only.
    pub disks: Vec<Disk>,
    /// Whether it speaks of Intel TDX.
    pub tdx: Option<Tdx>,
}

/// A disk, or the part of it that holds files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it hangs in the tree of files.
    pub mount: String,
    /// Bytes.
    pub total: Option<u64>,
    /// Bytes this program could write.
    pub available: Option<u64>,
    /// Whether nothing in it turns.
    pub is_ssd: Option<bool>,
}

/// Intel TDX, which seals virtual machines from their host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tdx {
    /// This machine can host sealed machines.
    Host,
    /// This machine is a sealed one.
    Guest,
    /// Neither.
    Absent,
}

impl Machine {
    /// Asks the system.
    pub fn read(roots: &Roots) -> Self {
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(wanted).ok();
        let system = system.as_ref();
        let positive = |bytes: u64| (bytes > 0).then_some(bytes);
        let cpu = system.and_then(|system| parse::line(system.cpus().first()?.brand()).ok());
        Self {
            os: System::long_os_version().ok().filter(|text| !text.is_empty()),
            kernel: System::kernel_version().ok(),
            cpu,
            cores: System::physical_core_count().ok(),
            threads: system.map(|system| system.cpus().len()).filter(|count| *count > 0),
            memory_total: system.and_then(|system| positive(system.total_memory())),
            memory_available: system.and_then(|system| positive(system.available_memory())),
            disks: disks(),
            tdx: tdx(roots),
        }
    }
}

fn disks() -> Vec<Disk> {
    let wanted = DiskRefreshKind::nothing().with_kind().with_storage();
    let Ok(found) = Disks::new_with_refreshed_list_specifics(wanted) else { return Vec::new() };
    let mut devices = std::collections::BTreeSet::new();
    let mut disks: Vec<Disk> = found
        .iter()
        .filter(|disk| disk.total_space() > 0)
        // One device can hang in several places (containers, snapshots).
        .filter(|disk| devices.insert(disk.name().to_owned()))
        .map(|disk| Disk {
            mount: disk.mount_point().to_string_lossy().into_owned(),
            total: Some(disk.total_space()),
            available: Some(disk.available_space()),
            is_ssd: match disk.kind() {
                DiskKind::SSD => Some(true),
                DiskKind::HDD => Some(false),
                DiskKind::Unknown(_) => None,
            },
        })
        .collect();
    disks.sort_by(|one, other| one.mount.cmp(&other.mount));
    disks
}

/// From the processor's flags and the hypervisor's switch.
pub(crate) fn tdx(roots: &Roots) -> Option<Tdx> {
    let cpuinfo = files::text_up_to(&roots.proc.join("cpuinfo"), LONGEST_CPUINFO).ok()?;
    let switch = files::text(&roots.sys.join("module/kvm_intel/parameters/tdx")).unwrap_or_default();
    if parse::has_flag(&cpuinfo, "tdx_guest") {
        Some(Tdx::Guest)
    } else if parse::has_flag(&cpuinfo, "tdx_host_platform") || matches!(switch.trim(), "Y" | "1") {
        Some(Tdx::Host)
    } else {
        Some(Tdx::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let machine = Machine::read(&Roots::of_this_machine());
        assert!(machine.threads.is_some_and(|threads| threads >= 1), "{machine:?}");
        assert!(machine.memory_total.is_some_and(|bytes| bytes > 64 << 20), "{machine:?}");
        assert!(machine.memory_available <= machine.memory_total, "{machine:?}");
    }
}
