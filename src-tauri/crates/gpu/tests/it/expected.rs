//! Every machine gives exactly the facts that stand beside it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gpu::json;
use serde_json::Value;

use crate::machine::{Machine, all, folder};

/// The number of our own worker's process in every machine.
const OURS: u32 = 4242;

#[test]
fn every_machine_gives_the_facts_written_beside_it() {
    let names = all();
    assert!(names.len() >= 8, "only {names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let found = facts(&Machine::named(&name));
        let beside = folder().join(format!("{name}.json"));
        let expected: Value =
            fs::read_to_string(&beside).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        if found != expected {
            // For a person to look at and, if it is right, to put in its place.
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
            fs::write(&path, format!("{found:#}\n")).unwrap();
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "these differ from what is expected: {wrong:#?}");
}

/// The second of two readings, a second apart.
fn facts(machine: &Machine) -> Value {
    let mut probe = machine.probe();
    let start = Instant::now();
    let ours = [OURS].into();
    let facts = probe.cards(start);
    let first = probe.sample(start, &ours);
    machine.move_on();
    let second = probe.cards_and_sample(start + Duration::from_secs(1), &ours);
    let ids = |cards: &[gpu::Card]| cards.iter().map(|card| card.id.clone()).collect::<Vec<_>>();
    let cards: Vec<gpu::Card> = second.iter().map(|(card, _)| card.clone()).collect();
    assert_eq!(ids(&facts), ids(&cards));
    assert_eq!(first.len(), second.len());
    second.iter().map(|(card, sample)| json::card(card, Some(sample))).collect()
}
