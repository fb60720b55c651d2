//! All sources together: one list of cards, each card once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::card::{Card, Fact, GpuId, Kind, PciAddress, PciIds, Vendor, Why};
use crate::files::Roots;
use crate::look::{Answered, Look};
use crate::nvidia::{self, Installed, Nvidia, NvidiaCard, OpenLibrary};
use crate::rest::{Rest, Signs};
use crate::sample::{Reading, Sample, State};
use crate::system::System;

/// So long a card may take to answer. Drivers take milliseconds; one that takes longer hangs, or a card is being reset.
const LONGEST: Duration = Duration::from_millis(700);

/// Looks after the cards of this machine. One per program: it remembers the last reading, of which loads are differences.
#[derive(Debug)]
pub struct Probe {
    system: System,
    nvidia: Nvidia,
    rest: BTreeMap<GpuId, Rest>,
}

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Facts,
    Readings,
}

impl Probe {
    /// Looks at the files under these roots and at NVIDIA's library of this machine. Touches nothing yet.
    pub fn new(roots: Roots) -> Self {
        Self::with_nvidia(roots, Arc::new(Installed), LONGEST)
    }

    /// The same with another library, and with `longest` for a card to answer: for tests, which may run on a busy machine.
    pub fn with_nvidia(roots: Roots, library: Arc<dyn OpenLibrary>, longest: Duration) -> Self {
        Self { system: System::new(roots, longest), nvidia: Nvidia::new(library, longest), rest: BTreeMap::new() }
    }

    /// The cards there are, by PCI address. Blocks for milliseconds; up to a second and a half where a card hangs.
    pub fn cards(&mut self, now: Instant) -> Vec<Card> {
        self.round(now, &BTreeSet::new(), Round::Facts).into_iter().map(|(card, _)| card).collect()
    }

    /// One reading of every card, in the order of [`Self::cards`]. `ours`: the processes that are marked as ours. Blocks like
    /// [`Self::cards`]; the first sample has no values that are differences. Meant to be called about once a second.
    pub fn sample(&mut self, now: Instant, ours: &BTreeSet<u32>) -> Vec<Sample> {
        self.round(now, ours, Round::Readings).into_iter().filter_map(|(_, sample)| sample).collect()
    }

    /// Cards and readings of one moment.
    pub fn cards_and_sample(&mut self, now: Instant, ours: &BTreeSet<u32>) -> Vec<(Card, Sample)> {
        let round = self.round(now, ours, Round::Readings);
        round.into_iter().filter_map(|(card, sample)| Some((card, sample?))).collect()
    }

    fn round(&mut self, now: Instant, ours: &BTreeSet<u32>, round: Round) -> Vec<(Card, Option<Sample>)> {
        let left_alone: BTreeSet<GpuId> =
            self.rest.iter().filter(|(_, rest)| rest.is_left_alone(now)).map(|(id, _)| id.clone()).collect();
        let wants_reading = |id: &GpuId| round == Round::Readings && !left_alone.contains(id);
        let mut looks = self.system.round(now, ours, wants_reading);
        // Only where no sleeper can be among them: listing wakes all.
        if !looks.iter().any(|look| matches!(look.card.vendor, Vendor::Nvidia | Vendor::Unknown)) {
            looks.extend(self.nvidia.addresses(now).into_iter().map(|address| unseen(address, round)));
            looks.sort_by(|one, other| one.card.id.cmp(&other.card.id));
            looks.dedup_by(|one, other| one.card.id == other.card.id);
        }
        let awake: Vec<(PciAddress, bool)> = looks
            .iter()
            .filter(|look| {
                look.state == Answered::Awake && !left_alone.contains(&look.card.id) && has_library(&look.card)
            })
            .filter_map(|look| address(&look.card.id).map(|address| (address, round == Round::Readings)))
            .collect();
        let mut told = self.nvidia.ask(&awake, now);
        let seen: BTreeSet<GpuId> = looks.iter().map(|look| look.card.id.clone()).collect();
        self.rest.retain(|id, _| seen.contains(id));
        let lets_go = looks.iter().any(|look| look.may_sleep && has_library(&look.card));
        let mut found = Vec::new();
        for look in looks {
            let told = address(&look.card.id).and_then(|address| told.remove(&address));
            let is_left_alone = left_alone.contains(&look.card.id);
            found.push(self.settle(look, told, is_left_alone, now, ours, round));
        }
        if lets_go {
            self.nvidia.close();
        }
        found
    }

    fn settle(
        &mut self,
        look: Look,
        told: Option<nvidia::Told>,
        is_left_alone: bool,
        now: Instant,
        ours: &BTreeSet<u32>,
        round: Round,
    ) -> (Card, Option<Sample>) {
        let mut card = look.card;
        if has_library(&card)
            && let Some(address) = address(&card.id)
        {
            let facts = match &told {
                Some(told) => told.card.clone(),
                None => self.nvidia.remembered(address).cloned().ok_or(Why::NotTold),
            };
            add_facts(&mut card, facts, self.nvidia.driver_version.as_deref());
        }
        if round == Round::Facts {
            return (card, None);
        }
        let state = match look.state {
            Answered::NotInTime => State::Unresponsive,
            Answered::Asleep => State::Asleep,
            Answered::Awake if is_left_alone => State::LeftAlone,
            Answered::Awake => State::Awake,
        };
        let reading = match state {
            State::Unresponsive => Reading::nothing(&Why::Unresponsive),
            State::Asleep => Reading::nothing(&Why::Asleep),
            State::LeftAlone => Reading::nothing(&Why::LeftAlone),
            State::Awake => {
                let by_system = look.reading.unwrap_or_else(|| Reading::nothing(&Why::NotTold));
                match told.and_then(|told| told.reading) {
                    Some(told) => {
                        nvidia::reading(told, card.vram_total, ours, |pid| self.system.process_name(pid)).or(by_system)
                    }
                    None => by_system,
                }
            }
        };
        let sample = reading.settle(card.id.clone(), now, state);
        let rest = self.rest.entry(card.id.clone()).or_default();
        match state {
            State::Awake => rest.learn(
                Signs {
                    may_sleep: look.may_sleep,
                    drives_screen: card.drives_screen == Some(true),
                    load: sample.load.map(|load| load.percent),
                    is_ours: sample.processes.iter().any(|it| it.seen.iter().any(|process| process.ours)),
                },
                now,
            ),
            // Once awake again, it is asked at once.
            State::Asleep => *rest = Rest::default(),
            State::LeftAlone | State::Unresponsive => {}
        }
        (card, Some(sample))
    }
}

/// A card that only NVIDIA's library sees, as in WSL and in containers.
fn unseen(address: PciAddress, round: Round) -> Look {
    let card = Card {
        id: GpuId::Pci(address),
        vendor: Vendor::Nvidia,
        pci: None,
        name: None,
        kind: Some(Kind::Discrete),
        driver: Some("nvidia".to_owned()),
        driver_version: None,
        vram_total: None,
        shared_total: None,
        drives_screen: None,
        unknown: Vec::new(),
    };
    let reading = (round == Round::Readings).then(|| Reading::nothing(&Why::NotTold));
    Look { card, state: Answered::Awake, may_sleep: false, reading }
}

/// Whether NVIDIA's own driver has the card; nouveau and virtual machines' hold on it know nothing of the library.
fn has_library(card: &Card) -> bool {
    card.vendor == Vendor::Nvidia
        && card.driver.as_deref().is_some_and(|driver| driver.starts_with("nvidia") || driver.starts_with("nvlddmkm"))
}

fn address(id: &GpuId) -> Option<PciAddress> {
    match id {
        GpuId::Pci(address) => Some(*address),
        GpuId::Device(_) => None,
    }
}

/// NVIDIA's word on its own cards goes before the lists'.
fn add_facts(card: &mut Card, facts: Result<NvidiaCard, Why>, driver_version: Option<&str>) {
    let facts = match facts {
        Ok(facts) => facts,
        // The library knows how much memory there is, and says why it does not say.
        Err(why) => {
            let reason = card.unknown.iter_mut().find(|it| it.fact == Fact::VramTotal && it.why == Why::NotTold);
            if let (Some(reason), false) = (reason, why == Why::NotTold) {
                reason.why = why;
            }
            return;
        }
    };
    card.name = facts.name.or(card.name.take());
    card.vram_total = facts.vram_total.or(card.vram_total);
    card.driver_version = driver_version.map(str::to_owned).or(card.driver_version.take());
    if let (None, Some(device)) = (card.pci, facts.device) {
        card.pci = Some(PciIds { vendor: 0x10de, device, revision: None });
    }
    let (name, vram, version) = (card.name.is_some(), card.vram_total.is_some(), card.driver_version.is_some());
    card.unknown.retain(|unknown| match unknown.fact {
        Fact::Name => !name,
        Fact::VramTotal => !vram,
        Fact::DriverVersion => !version,
        _ => true,
    });
}
