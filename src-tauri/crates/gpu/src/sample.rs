//! What moves: one reading of one card.

use std::time::Instant;

use crate::card::{Fact, GpuId, Unknown, Why};

/// One card at one time. What is not known is `None`, and [`Sample::unknown`] says why.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which card.
    pub id: GpuId,
    /// The time that was passed to [`crate::Probe::sample`].
    pub at: Instant,
    /// Whether it was asked at all.
    pub state: State,
    /// Bytes of its own memory in use, by everybody.
    pub vram_used: Option<u64>,
    /// Bytes of the machine's memory it uses besides, by everybody.
    pub shared_used: Option<u64>,
    /// Of the chip, in degrees Celsius.
    pub temperature: Option<f32>,
    /// Of the hottest place on the chip, in degrees Celsius, where the card tells it apart.
    pub hotspot: Option<f32>,
    /// Drawn by the card, in watts. On an integrated card it may be that of the whole processor.
    pub power: Option<f32>,
    /// Of its fan, or the first of several, in percent of its full speed. Cards without a fan of their own have none.
    pub fan: Option<f32>,
    /// How busy it is.
    pub load: Option<Load>,
    /// Who uses it.
    pub processes: Option<Processes>,
    /// Why something above is `None`; `shared_used`, `hotspot` and `fan` are extras and give no reason.
    pub unknown: Vec<Unknown>,
}

/// Whether a card could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was asked.
    Awake,
    /// It sleeps, and was not woken.
    Asleep,
    /// It idles and may sleep soon, and was not kept awake.
    LeftAlone,
    /// It did not answer in time.
    Unresponsive,
}

/// How busy a card is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// 0 to 100.
    pub percent: f32,
    /// What was counted.
    pub counted: Counted,
}

/// What a load counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Everything on the card.
    Card,
    /// Only the processes we may look at: the card is at least this busy.
    VisibleProcesses,
}

/// Who uses a card.
#[derive(Debug, Clone, PartialEq)]
pub struct Processes {
    /// By process number.
    pub seen: Vec<Process>,
    /// Whether there can be others that we may not look at.
    pub complete: bool,
}

/// A process that uses a card.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub name: Option<String>,
    /// Bytes of the card's memory it holds; on a card without its own, of the machine's memory bound for the card.
    pub memory: Option<u64>,
    /// How much of the card it keeps busy, 0 to 100.
    pub load: Option<f32>,
    /// Whether it is one of those passed to [`crate::Probe::sample`].
    pub ours: bool,
}

/// A reading before it is settled which source is believed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) vram_used: Result<u64, Why>,
    pub(crate) shared_used: Option<u64>,
    pub(crate) temperature: Result<f32, Why>,
    pub(crate) hotspot: Option<f32>,
    pub(crate) power: Result<f32, Why>,
    pub(crate) fan: Option<f32>,
    pub(crate) load: Result<Load, Why>,
    pub(crate) processes: Result<Processes, Why>,
}

impl Reading {
    /// Nothing known, for one reason.
    pub(crate) fn nothing(why: &Why) -> Self {
        Self {
            vram_used: Err(why.clone()),
            shared_used: None,
            temperature: Err(why.clone()),
            hotspot: None,
            power: Err(why.clone()),
            fan: None,
            load: Err(why.clone()),
            processes: Err(why.clone()),
        }
    }

    /// The first source is believed; what it does not know is taken from the second. If neither knows, the first one's reason
    /// stands.
    pub(crate) fn or(self, second: Self) -> Self {
        Self {
            vram_used: self.vram_used.or_else(|why| second.vram_used.map_err(|_| why)),
            shared_used: self.shared_used.or(second.shared_used),
            temperature: self.temperature.or_else(|why| second.temperature.map_err(|_| why)),
            hotspot: self.hotspot.or(second.hotspot),
            power: self.power.or_else(|why| second.power.map_err(|_| why)),
            fan: self.fan.or(second.fan),
            load: self.load.or_else(|why| second.load.map_err(|_| why)),
            processes: self.processes.or_else(|why| second.processes.map_err(|_| why)),
        }
    }

    pub(crate) fn settle(self, id: GpuId, at: Instant, state: State) -> Sample {
        let mut unknown = Vec::new();
        Sample {
            id,
            at,
            state,
            vram_used: known(self.vram_used, Fact::VramUsed, &mut unknown),
            shared_used: self.shared_used,
            temperature: known(self.temperature, Fact::Temperature, &mut unknown),
            hotspot: self.hotspot,
            power: known(self.power, Fact::Power, &mut unknown),
            fan: self.fan,
            load: known(self.load, Fact::Load, &mut unknown),
            processes: known(self.processes, Fact::Processes, &mut unknown),
            unknown,
        }
    }
}

/// Keeps the reason for what is not known.
pub(crate) fn known<T>(found: Result<T, Why>, fact: Fact, unknown: &mut Vec<Unknown>) -> Option<T> {
    found.map_err(|why| unknown.push(Unknown { fact, why })).ok()
}
