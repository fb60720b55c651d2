//! Windows: DXGI says which cards there are, the performance counters how full and busy they are and by whom, the kernel's
//! graphics part how hot, the device manager whether they sleep.
//!
//! - [`adapters`]: the cards, their places, drivers and temperatures.
//! - [`counters`]: memory and load, of cards and processes.

mod adapters;
mod counters;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::card::{Card, Fact, GpuId, Kind, PciIds, Unknown, Vendor, Why};
use crate::files::Roots;
use crate::look::{Answered, Look};
use crate::patience::Patience;
use crate::sample::{Counted, Load, Process, Processes, Reading};
use adapters::{Adapter, Luid};
use counters::{Counters, Counts};

/// What this system tells of its cards.
#[derive(Debug)]
pub(crate) struct System {
    adapters: Patience<(), Vec<Adapter>>,
    counts: Patience<(), (Option<Counters>, Option<Counts>)>,
    heats: Patience<Luid, Option<f32>>,
    /// The open counters, which remember the last collection; `None` while a question is out.
    counters: Option<Counters>,
    last: Vec<Adapter>,
    /// Names of processes; `None` where the system does not give any.
    names: Option<sysinfo::System>,
}

impl System {
    pub(crate) fn new(_: Roots, longest: Duration) -> Self {
        Self {
            adapters: Patience::new(longest),
            // Thousands of instances on a busy desktop.
            counts: Patience::new(longest * 2),
            heats: Patience::new(longest),
            counters: None,
            last: Vec::new(),
            names: sysinfo::System::new_with_specifics(sysinfo::RefreshKind::nothing()).ok(),
        }
    }

    /// Looks at every card. Readings of those for which `wants_reading` says so.
    pub(crate) fn round(
        &mut self,
        _: Instant,
        ours: &BTreeSet<u32>,
        wants_reading: impl Fn(&GpuId) -> bool,
    ) -> Vec<Look> {
        self.adapters.ask(&(), adapters::list);
        let in_time = match self.adapters.answer(&()) {
            Some(found) => {
                self.last = found;
                true
            }
            None => false,
        };
        let wanted: Vec<Adapter> =
            self.last.iter().filter(|it| in_time && !it.is_asleep && wants_reading(&it.id)).cloned().collect();
        let counts = if wanted.is_empty() { None } else { self.count() };
        for adapter in &wanted {
            let luid = adapter.luid;
            self.heats.ask(&luid, move || adapters::temperature(luid));
        }
        let heats: BTreeMap<Luid, Option<Option<f32>>> =
            wanted.iter().map(|adapter| (adapter.luid, self.heats.answer(&adapter.luid))).collect();
        if let Some(counts) = &counts {
            self.learn_names(counts);
        }
        let is_wanted = |luid| wanted.iter().any(|adapter| adapter.luid == luid);
        self.last
            .iter()
            .map(|adapter| Look {
                card: card(adapter),
                state: match (in_time, adapter.is_asleep) {
                    (false, _) => Answered::NotInTime,
                    (true, true) => Answered::Asleep,
                    (true, false) => Answered::Awake,
                },
                // Windows does not say; a laptop's second card may. It has no screen, and dedicated memory of its own.
                may_sleep: adapter.has_twin && !adapter.drives_screen,
                reading: is_wanted(adapter.luid).then(|| {
                    let heat = heats.get(&adapter.luid).copied().flatten();
                    reading(adapter, counts.as_ref(), heat, ours, |pid| self.process_name(pid))
                }),
            })
            .collect()
    }

    /// The short name of a process.
    pub(crate) fn process_name(&self, pid: u32) -> Option<String> {
        let process = self.names.as_ref()?.process(sysinfo::Pid::from_u32(pid))?;
        crate::parse::line(&process.name().to_string_lossy()).ok()
    }

    fn count(&mut self) -> Option<Counts> {
        let counters = self.counters.take();
        self.counts.ask(&(), move || {
            let Some(mut counters) = counters.or_else(Counters::open) else { return (None, None) };
            let counts = counters.collect();
            (Some(counters), counts)
        });
        let (counters, counts) = self.counts.answer(&())?;
        self.counters = counters;
        counts
    }

    fn learn_names(&mut self, counts: &Counts) {
        let pids: Vec<sysinfo::Pid> = counts.pids().into_iter().map(sysinfo::Pid::from_u32).collect();
        if let Some(names) = &mut self.names {
            let whom = sysinfo::ProcessesToUpdate::Some(&pids);
            // Those whose names are not found stay without one.
            let _ = names.refresh_processes_specifics(whom, true, sysinfo::ProcessRefreshKind::nothing());
        }
    }
}

fn card(adapter: &Adapter) -> Card {
    let vendor = Vendor::of(adapter.vendor);
    let mut unknown = Vec::new();
    let mut or = |is_known: bool, fact: Fact, why: Why| {
        if !is_known {
            unknown.push(Unknown { fact, why });
        }
    };
    let kind = match vendor {
        Vendor::Virtual => Some(Kind::Virtual),
        Vendor::Nvidia => Some(Kind::Discrete),
        // A part of the processor has a token amount of its own; cards have gigabytes.
        Vendor::Amd | Vendor::Intel if adapter.dedicated >= 3 << 30 => Some(Kind::Discrete),
        Vendor::Intel => Some(Kind::Integrated),
        Vendor::Amd | Vendor::Other(_) | Vendor::Unknown => None,
    };
    let vram_total = (adapter.dedicated > 0).then_some(adapter.dedicated);
    or(adapter.name.is_some(), Fact::Name, Why::NotTold);
    or(adapter.driver.is_some(), Fact::Driver, Why::NotTold);
    or(adapter.driver_version.is_some(), Fact::DriverVersion, Why::NotTold);
    or(vram_total.is_some(), Fact::VramTotal, Why::SharesMemory);
    Card {
        id: adapter.id.clone(),
        vendor,
        pci: Some(PciIds { vendor: adapter.vendor, device: adapter.device, revision: adapter.revision }),
        name: adapter.name.clone(),
        kind,
        driver: adapter.driver.clone(),
        driver_version: adapter.driver_version.clone(),
        vram_total,
        shared_total: (adapter.shared > 0).then_some(adapter.shared),
        drives_screen: Some(adapter.drives_screen),
        unknown,
    }
}

fn reading(
    adapter: &Adapter,
    counts: Option<&Counts>,
    heat: Option<Option<f32>>,
    ours: &BTreeSet<u32>,
    name: impl Fn(u32) -> Option<String>,
) -> Reading {
    let temperature = match heat {
        None => Err(Why::Unresponsive),
        Some(None) => Err(Why::NotTold),
        Some(Some(degrees)) => crate::parse::celsius(degrees),
    };
    let Some(counts) = counts else {
        return Reading { temperature, ..Reading::nothing(&Why::Unresponsive) };
    };
    let luid = adapter.luid.halves();
    let vram_used = match counts.card_memory.get(&luid) {
        Some(used) if adapter.dedicated == 0 || *used <= adapter.dedicated => Ok(*used),
        Some(_) => Err(Why::Nonsense),
        None => Err(Why::NotTold),
    };
    let load = match counts.card_load(luid) {
        Some(percent) => Ok(Load { percent, counted: Counted::Card }),
        None if counts.is_first => Err(Why::FirstReading),
        None => Err(Why::NotTold),
    };
    let seen = counts.processes(luid).into_iter().map(|(pid, memory, load)| Process {
        pid,
        name: name(pid),
        memory,
        load,
        ours: ours.contains(&pid),
    });
    Reading {
        vram_used,
        shared_used: counts.card_shared.get(&luid).copied(),
        temperature,
        hotspot: None,
        // The kernel has it in percent of an unknown whole only.
        power: Err(Why::NotTold),
        // It has turns a minute, and not how many are all.
        fan: None,
        load,
        processes: Ok(Processes { seen: seen.collect(), complete: true }),
    }
}
