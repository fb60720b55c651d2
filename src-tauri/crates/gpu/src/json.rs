//! Facts as JSON: numbers in bytes, degrees Celsius, watts and percent; what is unknown is null, and `unknown` says why.

use serde_json::{Map, Value, json};

use crate::card::{Card, Kind, Unknown, Vendor};
use crate::machine::{Machine, Tdx};
use crate::sample::{Counted, Process, Sample, State};

/// A machine.
pub fn machine(machine: &Machine) -> Value {
    let disks: Vec<Value> = machine
        .disks
        .iter()
        .map(|disk| {
            json!({ "mount": disk.mount, "total": disk.total, "available": disk.available, "is_ssd": disk.is_ssd })
        })
        .collect();
    json!({
        "os": machine.os,
        "kernel": machine.kernel,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "threads": machine.threads,
        "memory_total": machine.memory_total,
        "memory_available": machine.memory_available,
        "disks": disks,
        "tdx": machine.tdx.map(|tdx| match tdx {
            Tdx::Host => "host",
            Tdx::Guest => "guest",
            Tdx::Absent => "absent",
        }),
    })
}

/// A card and, where there is one, its reading, as one object.
pub fn card(card: &Card, sample: Option<&Sample>) -> Value {
    let mut object = json!({
        "id": card.id.to_string(),
        "vendor": vendor(card.vendor),
        "pci_vendor": card.pci.map(|pci| format!("{:04x}", pci.vendor)),
        "pci_device": card.pci.map(|pci| format!("{:04x}", pci.device)),
        "pci_revision": card.pci.and_then(|pci| pci.revision).map(|revision| format!("{revision:02x}")),
        "name": card.name,
        "kind": card.kind.map(|kind| match kind {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
        }),
        "driver": card.driver,
        "driver_version": card.driver_version,
        "vram_total": card.vram_total,
        "shared_total": card.shared_total,
        "drives_screen": card.drives_screen,
    });
    let mut unknown = reasons(&card.unknown);
    if let (Some(object), Some(sample)) = (object.as_object_mut(), sample) {
        unknown.append(&mut reasons(&sample.unknown));
        object.append(&mut reading(sample));
    }
    object["unknown"] = Value::Object(unknown);
    object
}

fn reading(sample: &Sample) -> Map<String, Value> {
    let mut object = Map::new();
    let state = match sample.state {
        State::Awake => "awake",
        State::Asleep => "asleep",
        State::LeftAlone => "left_alone",
        State::Unresponsive => "unresponsive",
    };
    object.insert("state".to_owned(), json!(state));
    object.insert("vram_used".to_owned(), json!(sample.vram_used));
    object.insert("shared_used".to_owned(), json!(sample.shared_used));
    object.insert("temperature".to_owned(), json!(sample.temperature.map(rounded)));
    object.insert("hotspot".to_owned(), json!(sample.hotspot.map(rounded)));
    object.insert("power".to_owned(), json!(sample.power.map(rounded)));
    object.insert("fan".to_owned(), json!(sample.fan.map(rounded)));
    object.insert("load".to_owned(), json!(sample.load.map(|load| rounded(load.percent))));
    let counted = sample.load.map(|load| match load.counted {
        Counted::Card => "card",
        Counted::VisibleProcesses => "visible_processes",
    });
    object.insert("load_counts".to_owned(), json!(counted));
    let processes = sample.processes.as_ref().map(|it| it.seen.iter().map(process).collect::<Vec<Value>>());
    object.insert("processes".to_owned(), json!(processes));
    object.insert("processes_complete".to_owned(), json!(sample.processes.as_ref().map(|it| it.complete)));
    object
}

fn process(process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "name": process.name,
        "memory": process.memory,
        "load": process.load.map(rounded),
        "ours": process.ours,
    })
}

fn vendor(vendor: Vendor) -> Option<String> {
    match vendor {
        Vendor::Nvidia => Some("nvidia".to_owned()),
        Vendor::Amd => Some("amd".to_owned()),
        Vendor::Intel => Some("intel".to_owned()),
        Vendor::Virtual => Some("virtual".to_owned()),
        Vendor::Other(number) => Some(format!("{number:04x}")),
        Vendor::Unknown => None,
    }
}

/// Two places: an `f32` has no more to say, and 0.1 stays 0.1.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

fn reasons(unknown: &[Unknown]) -> Map<String, Value> {
    let reason = |it: &Unknown| (it.fact.key().to_owned(), json!({ "why": it.why.key(), "text": it.why.to_string() }));
    unknown.iter().map(reason).collect()
}
