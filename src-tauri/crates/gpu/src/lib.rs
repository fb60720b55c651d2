//! Which graphics cards this machine has, and how hot, busy and full they are.
//! May not: decide anything, talk to the engine, wake a sleeping card, or say 0 where it means "unknown".
//!
//! The walk: [`Probe`] asks the system's own sources (`linux`: sysfs and `/proc`; `windows`: DXGI and PDH) which cards there
//! are and which of them sleep, then asks those that are awake, each against the clock (`patience`), so that a hung driver
//! hides one card and not all. NVIDIA's library (`nvidia`) is loaded at run time and adds what the system does not tell; a
//! card seen by both is one card, known by its PCI address. Whatever arrives is text or numbers from outside: `parse`,
//! `instances` and `linux::{attributes, fdinfo, names}` turn it into facts without reading anything themselves.
//!
//! ```no_run
//! # use std::collections::BTreeSet;
//! # use std::time::Instant;
//! let mut probe = gpu::Probe::new(gpu::Roots::of_this_machine());
//! let samples = probe.sample(Instant::now(), &BTreeSet::new());
//! for sample in &samples {
//!     let reasons: Vec<_> = sample.unknown.iter().map(|unknown| unknown.why.to_string()).collect();
//!     assert!(sample.temperature.is_some() || !reasons.is_empty());
//! }
//! ```

mod card;
mod files;
mod instances;
pub mod json;
mod look;
mod machine;
mod nvidia;
mod parse;
mod patience;
mod probe;
mod rest;
mod sample;

#[cfg(not(any(target_os = "linux", windows)))]
#[path = "elsewhere.rs"]
mod system;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;

pub use card::{Card, Fact, GpuId, Kind, PciAddress, PciIds, Unknown, Vendor, Why};
pub use files::Roots;
pub use machine::{Disk, Machine, Tdx};
pub use nvidia::{Library, NvidiaCard, NvidiaProcess, NvidiaReading, OpenLibrary};
pub use probe::Probe;
pub use sample::{Counted, Load, Process, Processes, Sample, State};
