//! What NVIDIA's own library (NVML) adds to what the system tells.
//!
//! The library is behind two small traits, so that tests can play it, and is asked for one card at a time by PCI address:
//! asking for all would wake those that sleep.

mod nvml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::card::{PciAddress, Why};
use crate::parse;
use crate::patience::Patience;
use crate::sample::{Counted, Load, Process, Processes, Reading};

pub(crate) use nvml::Installed;

/// A machine without the library is asked again this often: a driver can be installed while we run.
const TRY_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Opens NVIDIA's library. An error is a sentence for the owner.
pub trait OpenLibrary: Send + Sync {
    /// Opens it without touching any card.
    fn open(&self) -> Result<Arc<dyn Library>, String>;
}

/// NVIDIA's library, as far as it is used. Closes when dropped.
pub trait Library: Send + Sync {
    /// The driver's version.
    fn driver_version(&self) -> Option<String>;
    /// All cards. Wakes them; for machines where the system shows none.
    fn addresses(&self) -> Vec<PciAddress>;
    /// What does not change about a card.
    fn card(&self, address: PciAddress) -> Result<NvidiaCard, String>;
    /// What moves.
    fn reading(&self, address: PciAddress) -> Result<NvidiaReading, String>;
}

/// What the library says of a card once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NvidiaCard {
    /// What the card is called.
    pub name: Option<String>,
    /// Bytes.
    pub vram_total: Option<u64>,
    /// The chip's PCI number.
    pub device: Option<u16>,
}

/// What the library says of a card now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NvidiaReading {
    /// Bytes.
    pub vram_used: Option<u64>,
    /// Degrees Celsius.
    pub temperature: Option<f32>,
    /// Watts.
    pub power: Option<f32>,
    /// Of its first fan, 0 to 100; some that turn faster than meant say more, which is not believed.
    pub fan: Option<f32>,
    /// 0 to 100.
    pub load: Option<f32>,
    /// Who uses it.
    pub processes: Option<Vec<NvidiaProcess>>,
}

/// A process on a card.
#[derive(Debug, Clone, PartialEq)]
pub struct NvidiaProcess {
    /// Its number.
    pub pid: u32,
    /// Bytes; Windows keeps it from the library.
    pub memory: Option<u64>,
    /// 0 to 100.
    pub load: Option<f32>,
}

/// One card's answer.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) card: Result<NvidiaCard, Why>,
    pub(crate) reading: Option<Result<NvidiaReading, Why>>,
}

/// The opened library and the driver's version.
type Opened = Result<(Arc<dyn Library>, Option<String>), String>;
/// A card's facts and reading, as far as they were asked for.
type Asked = (Option<Result<NvidiaCard, String>>, Option<Result<NvidiaReading, String>>);

/// The library and what it said.
pub(crate) struct Nvidia {
    door: Arc<dyn OpenLibrary>,
    library: Option<Arc<dyn Library>>,
    failed: Option<(Instant, Why)>,
    opening: Patience<(), Opened>,
    asking: Patience<PciAddress, Asked>,
    listing: Patience<(), Vec<PciAddress>>,
    cards: BTreeMap<PciAddress, NvidiaCard>,
    pub(crate) driver_version: Option<String>,
}

impl fmt::Debug for Nvidia {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Nvidia").field("cards", &self.cards).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Nvidia {
    pub(crate) fn new(door: Arc<dyn OpenLibrary>, longest: Duration) -> Self {
        Self {
            door,
            library: None,
            failed: None,
            opening: Patience::new(longest),
            asking: Patience::new(longest),
            listing: Patience::new(longest),
            cards: BTreeMap::new(),
            driver_version: None,
        }
    }

    /// Asks about these cards; `true`: for a reading too. The caller has seen that they are awake.
    pub(crate) fn ask(&mut self, awake: &[(PciAddress, bool)], now: Instant) -> BTreeMap<PciAddress, Told> {
        let unanswered: Vec<&(PciAddress, bool)> =
            awake.iter().filter(|(address, reading)| *reading || !self.cards.contains_key(address)).collect();
        if unanswered.is_empty() {
            return BTreeMap::new();
        }
        let library = match self.open(now) {
            Ok(library) => library,
            Err(why) => {
                let told = |reading: bool| Told { card: Err(why.clone()), reading: reading.then(|| Err(why.clone())) };
                return unanswered.into_iter().map(|(address, reading)| (*address, told(*reading))).collect();
            }
        };
        for &&(address, wants_reading) in &unanswered {
            let wants_card = !self.cards.contains_key(&address);
            let library = Arc::clone(&library);
            self.asking.ask(&address, move || {
                (wants_card.then(|| library.card(address)), wants_reading.then(|| library.reading(address)))
            });
        }
        let mut told = BTreeMap::new();
        for &&(address, wants_reading) in &unanswered {
            let answer = self.asking.answer(&address);
            let (card, reading) = match answer {
                None => (Some(Err(Why::Unresponsive)), wants_reading.then_some(Err(Why::Unresponsive))),
                Some((card, reading)) => (
                    card.map(|card| card.map_err(Why::LibrarySays)),
                    reading.map(|reading| reading.map_err(Why::LibrarySays)),
                ),
            };
            if let Some(Ok(card)) = &card {
                self.cards.insert(address, card.clone());
            }
            let kept = self.cards.get(&address).cloned().ok_or(Why::NotTold);
            let card = match (kept, card) {
                (Ok(kept), _) => Ok(kept),
                (Err(_), Some(card)) => card,
                (Err(why), None) => Err(why),
            };
            told.insert(address, Told { card, reading });
        }
        told
    }

    /// What the library said of a card earlier.
    pub(crate) fn remembered(&self, address: PciAddress) -> Option<&NvidiaCard> {
        self.cards.get(&address)
    }

    /// All cards the library knows, on a machine whose system shows none.
    pub(crate) fn addresses(&mut self, now: Instant) -> Vec<PciAddress> {
        let Ok(library) = self.open(now) else { return Vec::new() };
        self.listing.ask(&(), move || library.addresses());
        self.listing.answer(&()).unwrap_or_default()
    }

    /// Lets go of the driver, so that cards can fall asleep.
    pub(crate) fn close(&mut self) {
        self.library = None;
    }

    fn open(&mut self, now: Instant) -> Result<Arc<dyn Library>, Why> {
        if let Some(library) = &self.library {
            return Ok(Arc::clone(library));
        }
        if let Some((at, why)) = &self.failed
            && now.saturating_duration_since(*at) < TRY_AGAIN_AFTER
        {
            return Err(why.clone());
        }
        let door = Arc::clone(&self.door);
        self.opening.ask(&(), move || {
            door.open().map(|library| {
                let version = library.driver_version();
                (library, version)
            })
        });
        let opened = match self.opening.answer(&()) {
            None => Err(Why::Unresponsive),
            Some(opened) => opened.map_err(Why::NoLibrary),
        };
        match opened {
            Ok((library, version)) => {
                self.failed = None;
                self.driver_version = version.or_else(|| self.driver_version.take());
                self.library = Some(Arc::clone(&library));
                Ok(library)
            }
            Err(why) => {
                self.failed = Some((now, why.clone()));
                Err(why)
            }
        }
    }
}

/// The library's numbers, checked like everybody else's.
pub(crate) fn reading(
    told: Result<NvidiaReading, Why>,
    vram_total: Option<u64>,
    ours: &BTreeSet<u32>,
    name: impl Fn(u32) -> Option<String>,
) -> Reading {
    let told = match told {
        Ok(told) => told,
        Err(why) => return Reading::nothing(&why),
    };
    let share = |percent: f32| if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err(Why::Nonsense) };
    let vram_used = told.vram_used.ok_or(Why::NotTold);
    let vram_used = vram_used.and_then(|used| match vram_total {
        Some(total) if used > total => Err(Why::Nonsense),
        _ => Ok(used),
    });
    let processes = told.processes.ok_or(Why::NotTold).map(|seen| {
        // A program that both draws and computes is listed twice.
        let mut by_pid: BTreeMap<u32, Process> = BTreeMap::new();
        for one in seen {
            let process = by_pid.entry(one.pid).or_insert_with(|| Process {
                pid: one.pid,
                name: name(one.pid),
                memory: None,
                load: None,
                ours: ours.contains(&one.pid),
            });
            process.memory = process.memory.max(one.memory);
            process.load = process.load.or(one.load.and_then(|percent| share(percent).ok()));
        }
        Processes { seen: by_pid.into_values().collect(), complete: true }
    });
    Reading {
        vram_used,
        shared_used: None,
        temperature: told.temperature.ok_or(Why::NotTold).and_then(parse::celsius),
        hotspot: None,
        power: told.power.ok_or(Why::NotTold).and_then(parse::watts),
        fan: told.fan.and_then(|percent| share(percent).ok()),
        load: told.load.ok_or(Why::NotTold).and_then(share).map(|percent| Load { percent, counted: Counted::Card }),
        processes,
    }
}
