//! NVML as the driver installs it, loaded at run time: one download fits machines with and without it.

use std::sync::Arc;

use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::InitFlags;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

use super::{Library, NvidiaCard, NvidiaProcess, NvidiaReading, OpenLibrary};
use crate::card::PciAddress;

/// The names it has on Linux: the second is there only with developer packages.
#[cfg(not(windows))]
const NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
#[cfg(windows)]
const NAMES: [&str; 1] = ["nvml.dll"];
/// Most cards that are listed.
const MOST_CARDS: u32 = 64;

/// The library of this machine's driver.
#[derive(Debug)]
pub(crate) struct Installed;

impl OpenLibrary for Installed {
    fn open(&self) -> Result<Arc<dyn Library>, String> {
        let mut last = NvmlError::LibraryNotFound;
        for name in NAMES {
            // Without the flag, opening wakes every card.
            let flags = InitFlags::NO_ATTACH | InitFlags::NO_GPUS;
            match Nvml::builder().lib_path(name.as_ref()).flags(flags).init() {
                Ok(library) => return Ok(Arc::new(Loaded(library))),
                Err(error @ NvmlError::LibloadingError(_)) => last = error,
                Err(error) => return Err(sentence(&error)),
            }
        }
        Err(sentence(&last))
    }
}

struct Loaded(Nvml);

impl Library for Loaded {
    fn driver_version(&self) -> Option<String> {
        self.0.sys_driver_version().ok()
    }

    fn addresses(&self) -> Vec<PciAddress> {
        let count = self.0.device_count().unwrap_or(0).min(MOST_CARDS);
        let address = |index| self.0.device_by_index(index).ok()?.pci_info().ok()?.bus_id.parse().ok();
        (0..count).filter_map(address).collect()
    }

    fn card(&self, address: PciAddress) -> Result<NvidiaCard, String> {
        let device = self.device(address)?;
        Ok(NvidiaCard {
            name: device.name().ok(),
            vram_total: device.memory_info().ok().map(|memory| memory.total).filter(|total| *total > 0),
            // The chip's number stands in the upper half.
            device: device.pci_info().ok().and_then(|pci| u16::try_from(pci.pci_device_id >> 16).ok()),
        })
    }

    fn reading(&self, address: PciAddress) -> Result<NvidiaReading, String> {
        let device = self.device(address)?;
        // Shares of the last second or so, of those processes that did anything.
        let shares = device.process_utilization_stats(None).unwrap_or_default();
        let load = |pid: u32| {
            let last = shares.iter().filter(|share| share.pid == pid).max_by_key(|share| share.timestamp)?;
            Some(last.sm_util.max(last.enc_util).max(last.dec_util) as f32)
        };
        let lists = (device.running_compute_processes(), device.running_graphics_processes());
        let processes = match lists {
            (Err(_), Err(_)) => None,
            (computing, drawing) => {
                let both = computing.into_iter().flatten().chain(drawing.into_iter().flatten());
                let process = both.map(|process| NvidiaProcess {
                    pid: process.pid,
                    memory: match process.used_gpu_memory {
                        UsedGpuMemory::Used(bytes) => Some(bytes),
                        UsedGpuMemory::Unavailable => None,
                    },
                    load: load(process.pid),
                });
                Some(process.collect())
            }
        };
        Ok(NvidiaReading {
            vram_used: device.memory_info().ok().map(|memory| memory.used),
            temperature: device.temperature(TemperatureSensor::Gpu).ok().map(|degrees| degrees as f32),
            power: device.power_usage().ok().map(|milliwatts| milliwatts as f32 / 1000.0),
            fan: device.fan_speed(0).ok().map(|percent| percent as f32),
            load: device.utilization_rates().ok().map(|rates| rates.gpu as f32),
            processes,
        })
    }
}

impl Loaded {
    fn device(&self, address: PciAddress) -> Result<nvml_wrapper::Device<'_>, String> {
        // NVIDIA writes eight digits of domain.
        let text = format!("{:08X}:{:02X}:{:02X}.{:X}", address.domain, address.bus, address.device, address.function);
        self.0.device_by_pci_bus_id(text).map_err(|error| sentence(&error))
    }
}

/// What the owner is told.
fn sentence(error: &NvmlError) -> String {
    match error {
        NvmlError::LibloadingError(_) => "it is not installed".to_owned(),
        NvmlError::DriverNotLoaded => "NVIDIA's driver is not loaded".to_owned(),
        NvmlError::LibRmVersionMismatch => {
            "the driver was updated since this machine started; restart the machine".to_owned()
        }
        NvmlError::GpuLost => "the card has fallen off the bus; restart the machine".to_owned(),
        other => other.to_string(),
    }
}
