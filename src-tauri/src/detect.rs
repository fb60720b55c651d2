//! `chrysalis detect`: this machine and its cards, what is unknown and why, and which networks it can join.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use gpu::{Card, Counted, Disk, Kind, Machine, Probe, Roots, Sample, State, Tdx, Vendor, json};
use serde_json::{Value, json};

use crate::doctor;

/// Loads and some powers are differences: two readings, this far apart.
const APART: Duration = Duration::from_millis(600);

/// Looks and prints.
pub(crate) fn run(as_json: bool) -> Result<()> {
    let roots = Roots::of_this_machine();
    let machine = Machine::read(&roots);
    let mut probe = Probe::new(roots);
    let nobody = BTreeSet::new();
    probe.sample(Instant::now(), &nobody);
    std::thread::sleep(APART);
    let cards = probe.cards_and_sample(Instant::now(), &nobody);
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", as_object(&machine, &cards))?;
    } else {
        write(&mut out, &machine, &cards)?;
    }
    Ok(())
}

/// Whether Cocoon's main network could take this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It has neither what seals a machine nor the card.
    NeedsBoth,
    /// The card is there.
    NeedsTdx,
    /// TDX is there.
    NeedsCard,
    /// Both are there; the rest is its operator's work.
    HasBoth,
}

impl Verdict {
    fn of(machine: &Machine, cards: &[(Card, Sample)]) -> Self {
        let has_tdx = matches!(machine.tdx, Some(Tdx::Host | Tdx::Guest));
        let has_card = cards.iter().any(|(card, _)| doctor::card_facts(card).is_h100_class() == Some(true));
        match (has_tdx, has_card) {
            (false, false) => Self::NeedsBoth,
            (false, true) => Self::NeedsTdx,
            (true, false) => Self::NeedsCard,
            (true, true) => Self::HasBoth,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::NeedsBoth => "needs_tdx_and_card",
            Self::NeedsTdx => "needs_tdx",
            Self::NeedsCard => "needs_card",
            Self::HasBoth => "has_tdx_and_card",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NeedsBoth => {
                "Cocoon's main network takes only machines with Intel TDX and NVIDIA cards of the H100 class. This machine shows \
                 neither, so it can't join today."
            }
            Self::NeedsTdx => {
                "Cocoon's main network takes only machines with Intel TDX and NVIDIA cards of the H100 class. The card is here, TDX \
                 is not seen, so this machine can't join as it is."
            }
            Self::NeedsCard => {
                "Cocoon's main network takes only machines with Intel TDX and NVIDIA cards of the H100 class. TDX is here, such a \
                 card is not, so this machine can't join today."
            }
            Self::HasBoth => {
                "Cocoon's main network takes only machines with Intel TDX and NVIDIA cards of the H100 class. Both are here. \
                 Joining needs Cocoon's own sealed machine, which this program does not start."
            }
        }
    }
}

const OTHER_NETWORKS: &str =
    "Practice works on any machine and pays nothing. Open networks are possible where their operator accepts home PCs.";

fn as_object(machine: &Machine, cards: &[(Card, Sample)]) -> Value {
    let verdict = Verdict::of(machine, cards);
    let cards: Vec<Value> = cards.iter().map(|(card, sample)| json::card(card, Some(sample))).collect();
    json!({
        "machine": json::machine(machine),
        "cards": cards,
        "networks": {
            "practice": true,
            "open": true,
            "cocoon_main": verdict == Verdict::HasBoth,
            "cocoon_main_verdict": verdict.key(),
            "cocoon_main_text": verdict.sentence(),
        },
    })
}

fn write(out: &mut impl Write, machine: &Machine, cards: &[(Card, Sample)]) -> io::Result<()> {
    write_machine(out, machine)?;
    if cards.is_empty() {
        let instead = "Models run on the processor, or on a graphics driver in software if one is installed.";
        writeln!(out, "\nNo graphics card was found. {instead}")?;
    }
    for (card, sample) in cards {
        writeln!(out)?;
        write_card(out, card, sample)?;
    }
    writeln!(out, "\n{}\n{OTHER_NETWORKS}", Verdict::of(machine, cards).sentence())
}

fn write_machine(out: &mut impl Write, machine: &Machine) -> io::Result<()> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    writeln!(out, "Machine")?;
    line(out, "system", &format!("{}, kernel {}", known(&machine.os), known(&machine.kernel)))?;
    let count = |number: Option<usize>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let cores = format!("{} ({} cores, {} threads)", known(&machine.cpu), count(machine.cores), count(machine.threads));
    line(out, "processor", &cores)?;
    line(out, "memory", &format!("{}, {} free", size(machine.memory_total), size(machine.memory_available)))?;
    for Disk { mount, total, available, .. } in &machine.disks {
        line(out, "disk", &format!("{mount}: {}, {} free", size(*total), size(*available)))?;
    }
    let tdx = match machine.tdx {
        Some(Tdx::Host) => "yes, this machine can host sealed machines",
        Some(Tdx::Guest) => "yes, this machine is a sealed one",
        Some(Tdx::Absent) => "not seen",
        None => "unknown: this system does not say",
    };
    line(out, "Intel TDX", tdx)
}

fn write_card(out: &mut impl Write, card: &Card, sample: &Sample) -> io::Result<()> {
    let name = card.name.clone().unwrap_or_else(|| match card.pci {
        Some(pci) => format!("{} card {:04x}:{:04x}", card.vendor, pci.vendor, pci.device),
        None => format!("Card of {}", card.vendor),
    });
    let vendor = match card.vendor {
        Vendor::Virtual => String::new(),
        vendor => format!(", {vendor}"),
    };
    let kind = match card.kind {
        Some(Kind::Discrete) => "card",
        Some(Kind::Integrated) => "part of the processor",
        Some(Kind::Virtual) => "pretended by a virtual machine",
        None => "graphics",
    };
    writeln!(out, "{name}")?;
    line(out, "place", &format!("{}{vendor}, {kind}", card.id))?;
    if let Some(driver) = &card.driver {
        line(out, "driver", &format!("{driver} {}", card.driver_version.as_deref().unwrap_or("")))?;
    }
    match sample.state {
        State::Awake => {}
        State::Asleep => line(out, "state", "asleep; it was not woken")?,
        State::LeftAlone => line(out, "state", "idle; it is left alone so that it can sleep")?,
        State::Unresponsive => line(out, "state", "its driver does not answer")?,
    }
    if let Some(total) = card.vram_total {
        let used = sample.vram_used.map_or_else(String::new, |used| format!(", {} in use", size(Some(used))));
        line(out, "memory", &format!("{}{used}", size(Some(total))))?;
    }
    if let Some(celsius) = sample.temperature {
        let hottest = sample.hotspot.map_or_else(String::new, |celsius| format!(", hottest place {celsius:.0} °C"));
        line(out, "temperature", &format!("{celsius:.0} °C{hottest}"))?;
    }
    if let Some(watts) = sample.power {
        line(out, "power", &format!("{watts:.0} W"))?;
    }
    if let Some(percent) = sample.fan {
        line(out, "fan", &format!("{percent:.0} %"))?;
    }
    if let Some(load) = sample.load {
        let least = if load.counted == Counted::VisibleProcesses { "at least " } else { "" };
        line(out, "load", &format!("{least}{:.0} %", load.percent))?;
    }
    if let Some(processes) = &sample.processes {
        for process in &processes.seen {
            let name = process.name.as_deref().unwrap_or("name unknown");
            let memory = process.memory.map_or_else(String::new, |bytes| format!(", {}", size(Some(bytes))));
            line(out, "program", &format!("{name} ({}){memory}", process.pid))?;
        }
        if !processes.complete {
            line(out, "program", "perhaps others that we may not see")?;
        }
    }
    // One line for each reason, not for each fact.
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for unknown in card.unknown.iter().chain(&sample.unknown) {
        let why = unknown.why.to_string();
        let fact = unknown.fact.to_string();
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, facts)) => facts.push(fact),
            None => reasons.push((why, vec![fact])),
        }
    }
    for (why, facts) in reasons {
        line(out, "unknown", &format!("{}: {why}", facts.join(", ")))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, what: &str, text: &str) -> io::Result<()> {
    writeln!(out, "  {what:<12} {}", text.trim_end())
}

/// Bytes in the unit people buy memory in.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu::{Fact, GpuId, Load, PciIds, Process, Processes, Unknown, Why};

    fn machine(tdx: Option<Tdx>) -> Machine {
        Machine {
            os: Some("Debian GNU/Linux 12".to_owned()),
            kernel: Some("6.1.0".to_owned()),
            cpu: None,
            cores: Some(8),
            threads: Some(16),
            memory_total: Some(32 << 30),
            memory_available: None,
            disks: Vec::new(),
            tdx,
        }
    }

    fn card(device: u16, why: Why) -> (Card, Sample) {
        let id = GpuId::Pci("0000:01:00.0".parse().unwrap());
        let card = Card {
            id: id.clone(),
            vendor: Vendor::Nvidia,
            pci: Some(PciIds { vendor: 0x10de, device, revision: None }),
            name: None,
            kind: Some(Kind::Discrete),
            driver: Some("nvidia".to_owned()),
            driver_version: Some("570.133.07".to_owned()),
            vram_total: Some(12 << 30),
            shared_total: None,
            drives_screen: None,
            unknown: vec![Unknown { fact: Fact::Name, why: Why::NotInLists }],
        };
        let sample = Sample {
            id,
            at: Instant::now(),
            state: State::Awake,
            vram_used: None,
            shared_used: None,
            temperature: None,
            hotspot: None,
            power: Some(17.8),
            fan: None,
            load: Some(Load { percent: 3.0, counted: Counted::VisibleProcesses }),
            processes: Some(Processes {
                seen: vec![Process { pid: 7, name: None, memory: None, load: None, ours: false }],
                complete: false,
            }),
            unknown: vec![Unknown { fact: Fact::VramUsed, why: why.clone() }, Unknown { fact: Fact::Temperature, why }],
        };
        (card, sample)
    }

    fn text(machine: &Machine, cards: &[(Card, Sample)]) -> String {
        let mut out = Vec::new();
        write(&mut out, machine, cards).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_home_pc_is_told_plainly_that_it_cannot_join_the_main_network() {
        let (machine, cards) = (machine(Some(Tdx::Absent)), [card(0x2504, Why::NotTold)]);
        let text = text(&machine, &cards);
        assert!(text.contains("so it can't join today") && text.contains("Practice works on any machine"), "{text}");
        let object = as_object(&machine, &cards);
        assert_eq!(object["networks"]["cocoon_main"], false);
        assert_eq!(object["networks"]["cocoon_main_verdict"], "needs_tdx_and_card");
    }

    #[test]
    fn what_the_main_network_needs_is_seen_where_it_is() {
        let verdict = |tdx, device| Verdict::of(&machine(tdx), &[card(device, Why::NotTold)]);
        assert_eq!(verdict(Some(Tdx::Host), 0x2331), Verdict::HasBoth);
        assert_eq!(verdict(None, 0x2331), Verdict::NeedsTdx);
        assert_eq!(verdict(Some(Tdx::Guest), 0x2684), Verdict::NeedsCard);
        assert_eq!(Verdict::of(&machine(Some(Tdx::Host)), &[]), Verdict::NeedsCard);
    }

    #[test]
    fn what_is_unknown_is_null_and_never_nought() {
        let object = as_object(&machine(None), &[card(0x2504, Why::NotTold)]);
        assert!(object["machine"]["cpu"].is_null() && object["machine"]["tdx"].is_null());
        let card = &object["cards"][0];
        assert!(card["temperature"].is_null() && card["vram_used"].is_null() && card["name"].is_null());
        assert_eq!(card["unknown"]["temperature"]["why"], "not_told");
        assert_eq!((card["vram_total"].as_u64(), card["power"].as_f64()), (Some(12 << 30), Some(17.8)));
    }

    #[test]
    fn people_read_one_line_for_each_reason() {
        let text = text(&machine(None), &[card(0x2504, Why::Asleep)]);
        assert!(text.contains("NVIDIA card 10de:2504"), "{text}");
        assert!(text.contains("memory in use, temperature: the card sleeps to save power"), "{text}");
        assert!(text.contains("at least 3 %") && text.contains("perhaps others"), "{text}");
        assert!(!text.contains("0 °C") && !text.contains("0.0 GiB"), "{text}");
    }

    #[test]
    fn a_machine_without_cards_is_told_so() {
        assert!(text(&machine(None), &[]).contains("No graphics card was found"));
    }
}
