//! The devices: readings of graphics cards and of the processor, as the page shows them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use gpu::{GpuId, Kind, Probe, Roots, Sample, State};
use node::snapshot::Snapshot;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};
use tokio::sync::{mpsc, watch};

use crate::view::{Card, CardKind};

/// Between two readings.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two points of a line.
const POINT_PAUSE: Duration = Duration::from_secs(5);
/// Points of a line: ten minutes.
const POINTS: usize = 120;
/// What the processor is called among cards.
const PROCESSOR: &str = "processor";

/// Reads the devices again and again until nobody listens, on a thread of its own: a card's driver may take its time.
pub(crate) fn watch<T: Send + 'static>(
    readings: mpsc::Sender<T>,
    wrap: fn(Vec<Card>) -> T,
    worker: watch::Receiver<Option<u32>>,
) {
    let reading = std::thread::Builder::new().name("cards".to_owned()).spawn(move || {
        let mut devices = Devices::new();
        loop {
            let cards = devices.read(*worker.borrow(), Instant::now());
            if readings.blocking_send(wrap(cards)).is_err() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    });
    if let Err(error) = reading {
        tracing::warn!(%error, "no readings of the cards");
    }
}

struct Devices {
    probe: Probe,
    /// `None`: the system tells nothing of itself.
    system: Option<System>,
    /// When the processor's load was read first: it is that of the time between two readings.
    first: Option<Instant>,
    lines: BTreeMap<String, Line>,
}

impl Devices {
    fn new() -> Self {
        let wanted = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        Self {
            probe: Probe::new(Roots::of_this_machine()),
            system: System::new_with_specifics(wanted).ok(),
            first: None,
            lines: BTreeMap::new(),
        }
    }

    fn read(&mut self, worker: Option<u32>, now: Instant) -> Vec<Card> {
        let ours: BTreeSet<u32> = worker.into_iter().collect();
        let mut cards: Vec<Card> =
            self.probe.cards_and_sample(now, &ours).iter().map(|(card, sample)| graphics(card, sample)).collect();
        let first = *self.first.get_or_insert(now);
        let known = now.saturating_duration_since(first) >= sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;
        cards.extend(self.processor(worker, known));
        for card in &mut cards {
            let line = self.lines.entry(card.id.clone()).or_default();
            line.add(card.load_percent, now);
            card.line = line.points.iter().copied().collect();
        }
        cards
    }

    fn processor(&mut self, worker: Option<u32>, load_known: bool) -> Option<Card> {
        let system = self.system.as_mut()?;
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let pid = worker.map(Pid::from_u32);
        if let Some(pid) = pid {
            let memory = ProcessRefreshKind::nothing().with_memory();
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, memory);
        }
        let held = pid.and_then(|pid| system.process(pid)).map(|process| process.memory() as f64);
        let positive = |bytes: u64| (bytes > 0).then_some(bytes as f64);
        let name = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
        Some(Card {
            id: PROCESSOR.to_owned(),
            kind: CardKind::Processor,
            name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| "Processor".to_owned()),
            driver: None,
            ours: false,
            asleep: false,
            memory_total: positive(system.total_memory()),
            memory_used: positive(system.used_memory()),
            memory_ours: held.filter(|bytes| *bytes > 0.0),
            celsius: None,
            watts: None,
            load_percent: load_known.then(|| f64::from(system.global_cpu_usage())),
            fan_percent: None,
            tokens_per_second: None,
            line: Vec::new(),
        })
    }
}

fn graphics(card: &gpu::Card, sample: &Sample) -> Card {
    let driver = match (&card.driver, &card.driver_version) {
        (Some(driver), Some(version)) => Some(format!("{driver} {version}")),
        (driver, _) => driver.clone(),
    };
    let name = card.name.clone().unwrap_or_else(|| match card.pci {
        Some(ids) => format!("{} card {:04x}", card.vendor, ids.device),
        None => format!("{} card", card.vendor),
    });
    let ours = sample.processes.iter().flat_map(|processes| &processes.seen).filter(|process| process.ours);
    let held: Vec<Option<u64>> = ours.map(|process| process.memory).collect();
    Card {
        id: match &card.id {
            GpuId::Pci(address) => address.to_string(),
            GpuId::Device(name) => name.clone(),
        },
        kind: if card.kind == Some(Kind::Integrated) { CardKind::Integrated } else { CardKind::Graphics },
        name,
        driver,
        ours: !held.is_empty(),
        asleep: matches!(sample.state, State::Asleep | State::LeftAlone),
        memory_total: card.vram_total.map(|bytes| bytes as f64),
        memory_used: sample.vram_used.map(|bytes| bytes as f64),
        memory_ours: held
            .iter()
            .copied()
            .collect::<Option<Vec<u64>>>()
            .filter(|held| !held.is_empty())
            .map(|held| held.iter().sum::<u64>() as f64),
        celsius: sample.temperature.map(f64::from),
        watts: sample.power.map(f64::from),
        load_percent: sample.load.map(|load| f64::from(load.percent)),
        fan_percent: sample.fan.map(f64::from),
        tokens_per_second: None,
        line: Vec::new(),
    }
}

#[derive(Default)]
struct Line {
    points: VecDeque<Option<f64>>,
    last: Option<Instant>,
}

impl Line {
    fn add(&mut self, value: Option<f64>, now: Instant) {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < POINT_PAUSE) {
            return;
        }
        self.last = Some(now);
        if self.points.len() >= POINTS {
            self.points.pop_front();
        }
        self.points.push_back(value);
    }
}

/// Adds what our worker does: on which device it runs, and how fast. A device the worker has nothing to do with stays as it is; the
/// processor is left out unless the model runs there or there is nothing else to show.
pub(crate) fn with_work(mut cards: Vec<Card>, snapshot: Option<&Snapshot>, speed: Option<f64>) -> Vec<Card> {
    let model = snapshot.and_then(|snapshot| snapshot.model.as_ref());
    let adapter = model.and_then(|model| model.adapter.as_deref());
    let on_processor = model.is_some_and(|model| model.backend == "cpu") || adapter.is_some_and(is_software);
    if !on_processor
        && let Some(adapter) = adapter
        && !cards.iter().any(|card| card.ours)
    {
        // The system does not say which process is on which card; the adapter's name does.
        let named = cards.iter_mut().find(|card| card.kind != CardKind::Processor && adapter.contains(&card.name));
        if let Some(card) = named {
            card.ours = true;
        }
    }
    for card in &mut cards {
        if card.kind == CardKind::Processor {
            card.ours = on_processor;
            if !on_processor {
                card.memory_ours = None;
            }
        }
        if card.ours && snapshot.is_some() {
            card.tokens_per_second = speed;
        }
    }
    let graphics = cards.iter().any(|card| card.kind != CardKind::Processor);
    cards.retain(|card| card.kind != CardKind::Processor || on_processor || !graphics);
    cards
}

/// Software that plays a graphics card runs on the processor.
fn is_software(adapter: &str) -> bool {
    ["llvmpipe", "SwiftShader", "WARP", "Microsoft Basic Render"].iter().any(|name| adapter.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::snapshot;
    use crate::view::tests::card;
    use node::ModelFacts;

    fn processor() -> Card {
        Card { id: PROCESSOR.to_owned(), kind: CardKind::Processor, name: "CPU".to_owned(), ours: false, ..card() }
    }

    fn on(backend: &str, adapter: Option<&str>) -> Snapshot {
        let mut snapshot = snapshot(0, None);
        snapshot.model = Some(ModelFacts {
            sha256: [0; 32],
            name: None,
            architecture: "llama".to_owned(),
            quantisation: "Q4_1".to_owned(),
            context: 128,
            backend: backend.to_owned(),
            adapter: adapter.map(str::to_owned),
            passed_over: None,
        });
        snapshot
    }

    fn ours(cards: &[Card]) -> Vec<&str> {
        cards.iter().filter(|card| card.ours).map(|card| card.name.as_str()).collect()
    }

    #[test]
    fn the_card_we_work_on_is_known_by_its_process_or_its_name() {
        let idle = Card { ours: false, ..card() };
        let cards =
            with_work(vec![idle.clone(), processor()], Some(&on("wgpu", Some("Test card (driver 1)"))), Some(9.0));
        assert_eq!(ours(&cards), ["Test card"]);
        assert_eq!(cards[0].tokens_per_second, Some(9.0));
        assert_eq!(cards.len(), 1, "the processor has nothing to do with it");
        let cards = with_work(vec![idle, processor()], Some(&on("cpu", None)), None);
        assert_eq!(ours(&cards), ["CPU"]);
    }

    #[test]
    fn software_that_plays_a_card_is_the_processor() {
        let idle = Card { ours: false, ..card() };
        let adapter = "llvmpipe (LLVM 15.0.6, 256 bits)";
        let cards = with_work(vec![idle, processor()], Some(&on("wgpu", Some(adapter))), None);
        assert_eq!(ours(&cards), ["CPU"]);
    }

    #[test]
    fn where_there_is_no_card_the_processor_is_shown() {
        assert_eq!(with_work(vec![processor()], None, None).len(), 1);
        assert_eq!(with_work(vec![Card { ours: false, ..card() }, processor()], None, None).len(), 1);
    }

    #[test]
    fn a_line_has_a_point_every_five_seconds_and_ten_minutes_at_most() {
        let begin = Instant::now();
        let mut line = Line::default();
        for second in 0..3_000_u32 {
            line.add((second % 10 != 0).then_some(f64::from(second)), begin + Duration::from_secs(u64::from(second)));
        }
        assert_eq!(line.points.len(), POINTS);
        assert!(line.points.contains(&None), "a gap stays a gap");
    }

    #[test]
    fn this_machine_can_be_read() {
        let cards = Devices::new().read(Some(std::process::id()), Instant::now());
        let processor = cards.iter().find(|card| card.kind == CardKind::Processor).unwrap();
        assert!(processor.memory_total.is_some_and(|bytes| bytes > 1e8));
        assert!(processor.memory_ours.is_some_and(|bytes| bytes > 1e5));
    }
}
