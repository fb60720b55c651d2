//! One card's folder in sysfs.

use std::path::{Path, PathBuf};

use super::attributes::{self, Wakefulness};
use super::{hwmon, list, names};
use crate::card::{Card, Fact, GpuId, Kind, PciAddress, PciIds, Unknown, Vendor, Why};
use crate::files::{self, Roots};
use crate::parse;
use crate::sample::{Counted, Load, known};

/// Longest list of hardware that is read; `pci.ids` has 1.5 MB.
const LONGEST_LIST: u64 = 8 << 20;
/// Most chiplets with memory of one card.
const MOST_TILES: usize = 8;

/// What one look at a card brought.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) wakefulness: Wakefulness,
    /// Whether the system lets it sleep when nobody uses it.
    pub(crate) may_sleep: bool,
    /// `None` where it was not asked, or does not say.
    pub(crate) drives_screen: Option<bool>,
    pub(crate) card: Option<Card>,
    pub(crate) raw: Option<Raw>,
}

/// The numbers as sysfs has them.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) vram_used: Result<u64, Why>,
    pub(crate) shared_used: Option<u64>,
    pub(crate) temperature: Result<f32, Why>,
    pub(crate) hotspot: Option<f32>,
    pub(crate) power: Result<f32, Why>,
    pub(crate) fan: Option<f32>,
    /// Microjoules since some time; two of them make a power.
    pub(crate) energy: Option<u64>,
    pub(crate) load: Result<Load, Why>,
}

/// What to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What does not change; once is enough.
    pub(crate) facts: bool,
    /// What moves.
    pub(crate) reading: bool,
}

/// Looks at a card. Asks first whether it sleeps; if so, nothing that its driver would have to answer is touched.
pub(crate) fn look(folder: &Path, id: &GpuId, wanted: Wanted, roots: &Roots) -> Looked {
    let status = files::text(&folder.join("power/runtime_status"));
    let wakefulness = status.map_or(Wakefulness::Awake, |text| attributes::wakefulness(&text));
    let may_sleep = files::text(&folder.join("power/control")).is_ok_and(|text| text.trim() == "auto");
    let is_awake = wakefulness == Wakefulness::Awake;
    Looked {
        wakefulness,
        may_sleep,
        drives_screen: if is_awake { drives_screen(folder) } else { None },
        card: wanted.facts.then(|| describe(folder, id, is_awake, roots)),
        raw: (wanted.reading && is_awake).then(|| read(folder)),
    }
}

fn describe(folder: &Path, id: &GpuId, is_awake: bool, roots: &Roots) -> Card {
    let mut unknown = Vec::new();
    let number = |name: &str| files::text(&folder.join(name)).and_then(|text| attributes::hex16(&text));
    let pci = match (id, number("vendor"), number("device")) {
        (GpuId::Pci(_), Ok(vendor), Ok(device)) => {
            Some(PciIds { vendor, device, revision: number("revision").ok().and_then(|it| u8::try_from(it).ok()) })
        }
        _ => None,
    };
    let vendor = pci.map_or(Vendor::Unknown, |pci| Vendor::of(pci.vendor));
    let driver = driver(folder);
    let kind = kind(folder, id, vendor, is_awake);
    let vram_total = match &driver {
        Err(why) => Err(why.clone()),
        Ok(driver) if driver == "vfio-pci" => Err(Why::GivenAway),
        Ok(_) if !is_awake => Err(Why::Asleep),
        Ok(_) => vram_total(folder, vendor, kind),
    };
    let shared_total = if is_awake {
        files::text(&folder.join("mem_info_gtt_total")).and_then(|text| attributes::bytes(&text)).ok()
    } else {
        None
    };
    Card {
        id: id.clone(),
        vendor,
        pci,
        name: known(name(id, pci, is_awake, roots), Fact::Name, &mut unknown),
        kind,
        driver_version: driver_version(driver.as_ref(), roots, &mut unknown),
        driver: known(driver, Fact::Driver, &mut unknown),
        vram_total: known(vram_total, Fact::VramTotal, &mut unknown),
        shared_total,
        drives_screen: if is_awake { drives_screen(folder) } else { None },
        unknown,
    }
}

fn driver(folder: &Path) -> Result<String, Why> {
    match files::text(&folder.join("uevent")) {
        Ok(text) => attributes::uevent(&text).driver.ok_or(Why::NoDriver),
        Err(why) => Err(why),
    }
}

fn driver_version(driver: Result<&String, &Why>, roots: &Roots, unknown: &mut Vec<Unknown>) -> Option<String> {
    let version = match driver {
        Err(why) => Err(why.clone()),
        Ok(driver) if driver.contains('/') => Err(Why::Nonsense),
        Ok(driver) => match files::text(&roots.sys.join(format!("module/{driver}/version"))) {
            Ok(text) => parse::line(&text),
            Err(Why::NotTold) => Err(Why::PartOfTheKernel),
            Err(why) => Err(why),
        },
    };
    known(version, Fact::DriverVersion, unknown)
}

/// Of the folder's owner: the chip's name from NVIDIA's driver, else from the lists.
fn name(id: &GpuId, pci: Option<PciIds>, is_awake: bool, roots: &Roots) -> Result<String, Why> {
    let pci = pci.ok_or(Why::NotTold)?;
    if let GpuId::Pci(address) = id
        && Vendor::of(pci.vendor) == Vendor::Nvidia
        && is_awake
    {
        let information = roots.proc.join(format!("driver/nvidia/gpus/{address}/information"));
        if let Ok(model) = files::text(&information).and_then(|text| attributes::nvidia_model(&text)) {
            return Ok(model);
        }
    }
    let whole = |name: &str| files::text_up_to(&roots.share.join(name), LONGEST_LIST).ok();
    if Vendor::of(pci.vendor) == Vendor::Amd
        && let Some(name) = whole("libdrm/amdgpu.ids").and_then(|list| names::in_amdgpu_ids(&list, pci))
    {
        return Ok(name);
    }
    let lists = ["misc/pci.ids", "hwdata/pci.ids"];
    lists.iter().find_map(|path| names::in_pci_ids(&whole(path)?, pci)).ok_or(Why::NotInLists)
}

fn kind(folder: &Path, id: &GpuId, vendor: Vendor, is_awake: bool) -> Option<Kind> {
    match vendor {
        Vendor::Virtual => Some(Kind::Virtual),
        Vendor::Nvidia => Some(Kind::Discrete),
        // Intel's own graphics sit on the processor's bus; its cards sit behind a bridge.
        Vendor::Intel => match id {
            GpuId::Pci(PciAddress { bus: 0, .. }) => Some(Kind::Integrated),
            GpuId::Pci(_) => Some(Kind::Discrete),
            GpuId::Device(_) => None,
        },
        Vendor::Amd if is_awake => {
            // amdgpu shows the voltage of the north bridge for processors only, and the maker of the memory for cards only.
            if hwmon::labels(folder).iter().any(|label| label == "vddnb") {
                Some(Kind::Integrated)
            } else if files::text(&folder.join("mem_info_vram_vendor")).and_then(|text| parse::line(&text)).is_ok() {
                Some(Kind::Discrete)
            } else {
                None
            }
        }
        Vendor::Amd | Vendor::Other(_) | Vendor::Unknown => None,
    }
}

fn vram_total(folder: &Path, vendor: Vendor, kind: Option<Kind>) -> Result<u64, Why> {
    if vendor == Vendor::Intel && kind == Some(Kind::Integrated) {
        return Err(Why::SharesMemory);
    }
    let amd = files::text(&folder.join("mem_info_vram_total")).and_then(|text| attributes::bytes(&text));
    if amd != Err(Why::NotTold) {
        return amd;
    }
    // xe: one number per chiplet.
    let mut tiles = None;
    for tile in 0..MOST_TILES {
        match files::text(&folder.join(format!("tile{tile}/physical_vram_size_bytes"))) {
            Ok(text) => {
                let bytes = attributes::bytes(&text)?;
                tiles = Some(tiles.unwrap_or(0_u64).checked_add(bytes).ok_or(Why::Nonsense)?);
            }
            Err(_) => break,
        }
    }
    if let Some(bytes) = tiles {
        return Ok(bytes);
    }
    // Intel's i915 from outside the kernel; the kernel's own does not tell.
    let minor = drm_minors(folder).into_iter().next().ok_or(Why::NotTold)?;
    files::text(&minor.join("lmem_total_bytes")).and_then(|text| attributes::bytes(&text))
}

fn read(folder: &Path) -> Raw {
    let heat = hwmon::read(folder);
    Raw {
        vram_used: files::text(&folder.join("mem_info_vram_used")).and_then(|text| attributes::bytes(&text)),
        shared_used: files::text(&folder.join("mem_info_gtt_used")).and_then(|text| attributes::bytes(&text)).ok(),
        temperature: heat.temperature,
        hotspot: heat.hotspot,
        power: heat.power,
        fan: heat.fan,
        energy: heat.energy,
        load: files::text(&folder.join("gpu_busy_percent"))
            .and_then(|text| attributes::percent(&text))
            .map(|percent| Load { percent, counted: Counted::Card }),
    }
}

/// Whether any of its connectors shows a picture. `None`: it has no connectors that we see.
fn drives_screen(folder: &Path) -> Option<bool> {
    let mut drives = None;
    for minor in drm_minors(folder) {
        let Some(prefix) = minor.file_name().and_then(|name| name.to_str()).map(|name| format!("{name}-")) else {
            continue;
        };
        for name in list(&minor).unwrap_or_default() {
            // `enabled` is what the kernel remembers; it asks no screen.
            if name.starts_with(&prefix)
                && let Ok(text) = files::text(&minor.join(&name).join("enabled"))
            {
                drives = Some(drives.unwrap_or(false) || text.trim() == "enabled");
            }
        }
    }
    drives
}

fn drm_minors(folder: &Path) -> Vec<PathBuf> {
    let below = folder.join("drm");
    let names = list(&below).unwrap_or_default();
    names.iter().filter(|name| is_card(name)).map(|name| below.join(name)).collect()
}

/// `card0`, not `card0-DP-1` nor `renderD128`.
pub(crate) fn is_card(name: &str) -> bool {
    name.strip_prefix("card")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
}
