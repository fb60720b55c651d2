//! Linux: sysfs says which cards there are and how they do, `/proc` who uses them.
//!
//! - [`device`]: one card's folder.
//! - [`attributes`]: one file of it.
//! - [`hwmon`]: its sensors.
//! - [`fdinfo`]: what a driver says of one open file.
//! - [`clients`]: the walk over all processes.
//! - [`names`]: what cards are called.

mod attributes;
mod clients;
mod device;
mod fdinfo;
mod hwmon;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::card::{Card, GpuId, PciAddress, Vendor, Why};
use crate::files::{self, Roots};
use crate::look::{Answered, Look};
use crate::patience::Patience;
use crate::sample::Reading;
use attributes::Wakefulness;
use clients::Clients;
use device::{Looked, Wanted};

/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 65_536;
/// Most cards that are looked after.
const MOST_CARDS: usize = 64;
/// Screens without a card behind them, and cards that exist in software only.
const NO_CARDS: [&str; 6] = ["simple-framebuffer", "efi-framebuffer", "vesa-framebuffer", "vkms", "vgem", "evdi"];

/// What this system tells of its cards.
#[derive(Debug)]
pub(crate) struct System {
    roots: Roots,
    cards: BTreeMap<GpuId, Kept>,
    /// PCI devices that are no cards.
    others: BTreeSet<String>,
    looks: Patience<GpuId, Looked>,
    walks: Patience<(), clients::Walk>,
    clients: Clients,
}

/// What is kept of a card between rounds.
#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    card: Option<Card>,
    /// Whether the card was awake when it was described.
    is_whole: bool,
    may_sleep: bool,
    energy: Option<(Instant, u64)>,
}

impl System {
    pub(crate) fn new(roots: Roots, longest: Duration) -> Self {
        Self {
            roots,
            cards: BTreeMap::new(),
            others: BTreeSet::new(),
            looks: Patience::new(longest),
            walks: Patience::new(longest),
            clients: Clients::default(),
        }
    }

    /// Looks at every card. Readings of those for which `wants_reading` says so; none at all: nobody walks over the processes.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        ours: &BTreeSet<u32>,
        wants_reading: impl Fn(&GpuId) -> bool,
    ) -> Vec<Look> {
        self.find();
        let mut any_reading = false;
        for (id, kept) in &self.cards {
            let wanted = Wanted { facts: !kept.is_whole, reading: wants_reading(id) };
            any_reading |= wanted.reading;
            let (folder, asked, roots) = (kept.folder.clone(), id.clone(), self.roots.clone());
            self.looks.ask(id, move || device::look(&folder, &asked, wanted, &roots));
        }
        if any_reading {
            let known = self.clients.next(now);
            let (proc, is_for_all) = (self.roots.proc.clone(), known.is_none());
            self.walks.ask(&(), move || clients::walk(&proc, known));
            self.clients.take(self.walks.answer(&()), is_for_all, now, ours);
        }
        let ids: Vec<GpuId> = self.cards.keys().cloned().collect();
        ids.into_iter().map(|id| self.settle(&id, now)).collect()
    }

    /// The short name of a process.
    pub(crate) fn process_name(&self, pid: u32) -> Option<String> {
        clients::name(&self.roots.proc, pid)
    }

    fn settle(&mut self, id: &GpuId, now: Instant) -> Look {
        let looked = self.looks.answer(id);
        let nameless = || Card {
            id: id.clone(),
            vendor: Vendor::Unknown,
            pci: None,
            name: None,
            kind: None,
            driver: None,
            driver_version: None,
            vram_total: None,
            shared_total: None,
            drives_screen: None,
            unknown: Vec::new(),
        };
        let Some(kept) = self.cards.get_mut(id) else {
            return Look { card: nameless(), state: Answered::NotInTime, may_sleep: false, reading: None };
        };
        let Some(looked) = looked else {
            let card = kept.card.clone().unwrap_or_else(nameless);
            return Look { card, state: Answered::NotInTime, may_sleep: kept.may_sleep, reading: None };
        };
        kept.may_sleep = looked.may_sleep;
        let is_awake = looked.wakefulness == Wakefulness::Awake;
        if let Some(card) = looked.card {
            kept.card = Some(card);
            kept.is_whole = is_awake;
        }
        if let Some(card) = kept.card.as_mut().filter(|_| is_awake) {
            card.drives_screen = looked.drives_screen;
        }
        let card = kept.card.clone().unwrap_or_else(nameless);
        let reading = looked.raw.map(|raw| {
            let (power, energy) = power(raw.power, raw.energy, kept.energy, now);
            kept.energy = energy;
            reading(
                &card,
                &self.clients,
                raw.vram_used,
                raw.load,
                power,
                raw.temperature,
                (raw.shared_used, raw.hotspot, raw.fan),
            )
        });
        let state = if is_awake { Answered::Awake } else { Answered::Asleep };
        Look { card, state, may_sleep: looked.may_sleep, reading }
    }

    /// Which cards there are. Only names and classes, which the bus remembers without asking a device.
    fn find(&mut self) {
        let bus = self.roots.sys.join("bus/pci/devices");
        let mut present = BTreeSet::new();
        for name in list(&bus).unwrap_or_default() {
            let Ok(address) = name.parse::<PciAddress>() else { continue };
            let id = GpuId::Pci(address);
            if !self.cards.contains_key(&id) {
                if self.others.contains(&name) {
                    continue;
                }
                let folder = bus.join(&name);
                if !files::text(&folder.join("class")).is_ok_and(|class| attributes::is_display(&class)) {
                    self.others.insert(name);
                    continue;
                }
                self.keep(id.clone(), folder);
            }
            present.insert(id);
        }
        let class = self.roots.sys.join("class/drm");
        for name in list(&class).unwrap_or_default().iter().filter(|name| device::is_card(name)) {
            let link = class.join(name).join("device");
            let Ok(folder) = std::fs::canonicalize(&link) else { continue };
            // A card of the bus, or one that hangs below it, is known already.
            let is_on_bus =
                folder.iter().any(|part| part.to_str().is_some_and(|part| part.parse::<PciAddress>().is_ok()));
            let Some(device) = folder.file_name().and_then(|name| name.to_str()).filter(|_| !is_on_bus) else {
                continue;
            };
            let driver = files::text(&folder.join("uevent")).ok().and_then(|text| attributes::uevent(&text).driver);
            if driver.is_some_and(|driver| NO_CARDS.contains(&driver.as_str())) || NO_CARDS.contains(&device) {
                continue;
            }
            let id = GpuId::Device(device.to_owned());
            if !self.cards.contains_key(&id) {
                self.keep(id.clone(), folder);
            }
            present.insert(id);
        }
        self.cards.retain(|id, _| present.contains(id));
    }

    fn keep(&mut self, id: GpuId, folder: PathBuf) {
        if self.cards.len() < MOST_CARDS {
            self.cards.insert(id, Kept { folder, card: None, is_whole: false, may_sleep: false, energy: None });
        }
    }
}

/// Power as told, or from the energy used since the last reading.
fn power(
    told: Result<f32, Why>,
    energy: Option<u64>,
    before: Option<(Instant, u64)>,
    now: Instant,
) -> (Result<f32, Why>, Option<(Instant, u64)>) {
    let Some(energy) = energy.filter(|_| told == Err(Why::NotTold)) else { return (told, None) };
    let watts = match before {
        None => Err(Why::FirstReading),
        Some((at, used)) => {
            let seconds = now.saturating_duration_since(at).as_secs_f64();
            match energy.checked_sub(used) {
                Some(microjoules) if seconds > 0.0 => {
                    crate::parse::watts((microjoules as f64 / 1_000_000.0 / seconds) as f32)
                }
                // The counter wrapped, or no time has passed: the next one will tell.
                _ => Err(Why::FirstReading),
            }
        }
    };
    (watts, Some((now, energy)))
}

fn reading(
    card: &Card,
    clients: &Clients,
    vram_used: Result<u64, Why>,
    load: Result<crate::Load, Why>,
    power: Result<f32, Why>,
    temperature: Result<f32, Why>,
    (shared_used, hotspot, fan): (Option<u64>, Option<f32>, Option<f32>),
) -> Reading {
    if card.unknown.iter().any(|unknown| unknown.why == Why::NoDriver) {
        return Reading::nothing(&Why::NoDriver);
    }
    if card.driver.as_deref() == Some("vfio-pci") {
        return Reading::nothing(&Why::GivenAway);
    }
    let tells = matches!(card.driver.as_deref(), Some("amdgpu" | "i915" | "xe"));
    let (users, busy) = match card.id {
        GpuId::Pci(address) => (clients.processes(address, tells), clients.load(address, tells)),
        GpuId::Device(_) => (Err(Why::NotTold), Err(Why::NotTold)),
    };
    let shares = card.unknown.iter().any(|unknown| unknown.why == Why::SharesMemory);
    let vram_used = match (vram_used, card.vram_total) {
        (Err(Why::NotTold), _) if shares => Err(Why::SharesMemory),
        (Ok(used), Some(total)) if used > total => Err(Why::Nonsense),
        (vram_used, _) => vram_used,
    };
    let load = match load {
        Err(Why::NotTold) => busy,
        other => other,
    };
    Reading { vram_used, shared_used, temperature, hotspot, power, fan, load, processes: users }
}

/// Names in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<String>, Why> {
    let entries = std::fs::read_dir(folder).map_err(|error| files::why(error.kind()))?;
    let mut names: Vec<String> =
        entries.take(MOST_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}
