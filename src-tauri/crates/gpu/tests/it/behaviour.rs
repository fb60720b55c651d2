//! What a single answer does not show.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gpu::{GpuId, State, Why};

use crate::machine::Machine;

const SLEEPER: &str = "0000:01:00.0";

fn id(address: &str) -> GpuId {
    GpuId::Pci(address.parse().unwrap())
}

#[test]
fn a_sleeping_card_is_neither_read_nor_is_its_library_opened() {
    let machine = Machine::named("laptop_sleeping_dgpu");
    let mut probe = machine.probe();
    let start = Instant::now();
    for second in 0..3 {
        let samples = probe.sample(start + Duration::from_secs(second), &[].into());
        let sample = samples.iter().find(|sample| sample.id == id(SLEEPER)).unwrap();
        // Every file that its driver answers hangs: had one been read, the card would be unresponsive.
        assert_eq!(sample.state, State::Asleep);
        assert!(sample.unknown.iter().all(|unknown| unknown.why == Why::Asleep));
    }
    assert_eq!(machine.library.opened.load(Ordering::Relaxed), 0);
}

#[test]
fn a_card_that_wakes_is_asked_and_one_that_falls_asleep_is_let_go() {
    let machine = Machine::named("laptop_sleeping_dgpu");
    for path in ["drm/card0/card0-HDMI-A-1/enabled", "hwmon/hwmon3/temp1_input", "mem_info_vram_total"] {
        std::fs::remove_file(machine.path(&format!("sys/bus/pci/devices/{SLEEPER}/{path}"))).unwrap();
    }
    std::fs::remove_file(machine.path(&format!("proc/driver/nvidia/gpus/{SLEEPER}/information"))).unwrap();
    let status = format!("sys/bus/pci/devices/{SLEEPER}/power/runtime_status");
    let mut probe = machine.probe();
    let start = Instant::now();
    let mut at = |second: u64| {
        let round = probe.cards_and_sample(start + Duration::from_secs(second), &[].into());
        round.into_iter().find(|(card, _)| card.id == id(SLEEPER)).unwrap()
    };
    assert_eq!(at(0).0.vram_total, None);
    machine.write(&status, b"active\n");
    let (card, sample) = at(1);
    assert_eq!((card.vram_total, sample.state, sample.temperature), (Some(8_585_740_288), State::Awake, Some(40.0)));
    // Nobody uses it: after ten seconds it is left alone, so that it can fall asleep.
    for second in 2..=11 {
        at(second);
    }
    let asked = machine.library.asked.lock().unwrap().len();
    for second in 12..=30 {
        assert_eq!(at(second).1.state, State::LeftAlone, "{second}");
    }
    assert_eq!(machine.library.asked.lock().unwrap().len(), asked);
    machine.write(&status, b"suspended\n");
    let (card, sample) = at(31);
    assert_eq!((card.vram_total, sample.state), (Some(8_585_740_288), State::Asleep), "what was known stays known");
    // Opened for each reading and closed after it: an open library keeps the card awake.
    assert!(machine.library.opened.load(Ordering::Relaxed) >= 10);
}

#[test]
fn a_hung_card_hides_no_other_and_costs_its_patience_once() {
    let machine = Machine::named("amd_one_hung_one_unreadable");
    let mut probe = machine.probe();
    let start = Instant::now();
    let first = probe.sample(start, &[].into());
    let well = |samples: &[gpu::Sample]| samples.iter().find(|it| it.id == id("0000:2d:00.0")).unwrap().clone();
    let hung = |samples: &[gpu::Sample]| samples.iter().find(|it| it.id == id("0000:30:00.0")).unwrap().clone();
    assert_eq!((well(&first).state, well(&first).temperature), (State::Awake, Some(47.0)));
    assert_eq!((hung(&first).state, hung(&first).temperature), (State::Unresponsive, None));
    let began = Instant::now();
    for second in 1..20 {
        let samples = probe.sample(start + Duration::from_secs(second), &[].into());
        assert_eq!(well(&samples).state, State::Awake);
        assert_eq!(hung(&samples).state, State::Unresponsive);
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "a hung card is waited for again and again: {:?}",
        began.elapsed()
    );
}

#[test]
fn a_library_that_is_missing_is_not_looked_for_every_second() {
    let machine = Machine::named("nvidia_without_library");
    let mut probe = machine.probe();
    let start = Instant::now();
    for second in 0..130 {
        let samples = probe.sample(start + Duration::from_secs(second), &[].into());
        assert_eq!(samples.len(), 1);
    }
    assert_eq!(machine.library.opened.load(Ordering::Relaxed), 3);
}

#[test]
fn a_card_that_is_taken_out_is_gone_and_one_put_in_is_found() {
    let machine = Machine::named("dual_rtx_4090");
    let mut probe = machine.probe();
    let start = Instant::now();
    assert_eq!(probe.cards(start).len(), 2);
    let folder = machine.path("sys/bus/pci/devices/0000:41:00.0");
    let aside = machine.path("aside");
    std::fs::rename(&folder, &aside).unwrap();
    assert_eq!(probe.cards(start).len(), 1);
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(probe.sample(start, &[].into()).len(), 2);
}

#[test]
fn newcomers_are_found_within_seconds() {
    let machine = Machine::named("rx_7900_xtx");
    let mut probe = machine.probe();
    let start = Instant::now();
    let mut pids = |second: u64| {
        let samples = probe.sample(start + Duration::from_secs(second), &[].into());
        samples[0].processes.as_ref().unwrap().seen.iter().map(|process| process.pid).collect::<Vec<_>>()
    };
    assert_eq!(pids(0), [3077, 4242]);
    let text = std::fs::read_to_string(machine.path("proc/4242/fdinfo/9")).unwrap().replace("id:\t61", "id:\t77");
    for folder in ["proc/5000/fd", "proc/5000/fdinfo"] {
        std::fs::create_dir_all(machine.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink("/dev/dri/renderD128", machine.path("proc/5000/fd/3")).unwrap();
    machine.write("proc/5000/fdinfo/3", text.as_bytes());
    assert_eq!(pids(1), [3077, 4242]);
    assert_eq!(pids(5), [3077, 4242, 5000]);
}

#[test]
fn the_same_card_seen_twice_is_one_card() {
    let machine = Machine::named("rtx_3060_desktop");
    let cards = machine.probe().cards(Instant::now());
    let ids: Vec<String> = cards.iter().map(|card| card.id.to_string()).collect();
    assert_eq!(ids, ["0000:01:00.0"]);
    assert_eq!(*machine.library.asked.lock().unwrap(), ["0000:01:00.0".parse().unwrap()]);
}
