//! Whatever stands in a file of the system, nothing panics and nothing impossible is told.

use std::time::{Duration, Instant};

use gpu::json;
use proptest::prelude::*;

use crate::machine::{Machine, all};

/// Machines with the most kinds of files; those that hang by design would only cost time.
const MACHINES: [&str; 4] = ["rx_7900_xtx", "amd_apu", "arc_a770_xe", "rtx_3060_desktop"];

fn rubbish() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        // What looks right and is not.
        "-?[0-9]{1,25}\n?".prop_map(String::into_bytes),
        "0x[0-9a-f]{0,12}\n?".prop_map(String::into_bytes),
        "(drm-[a-z-]{0,20}:\t?[0-9a-f:.]{0,25}( KiB| ns)?\n){0,20}".prop_map(String::into_bytes),
        "(suspended|active|auto|enabled|DRIVER=.{0,9}\nPCI_SLOT_NAME=.{0,9})\n".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_bytes_in_any_file_are_survived(
        which in 0..MACHINES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), rubbish()), 1..12),
    ) {
        let machine = Machine::named(MACHINES[which]);
        let files = machine.files();
        for (file, bytes) in &changes {
            machine.write(&files[file.index(files.len())], bytes);
        }
        check(&machine)?;
    }

    #[test]
    fn random_bytes_in_every_file_are_survived(which in 0..MACHINES.len(), bytes in rubbish(), seed: u8) {
        let machine = Machine::named(MACHINES[which]);
        for (number, file) in machine.files().iter().enumerate() {
            // Some files differ from the others, so that a card is found at all.
            let keeps = file.ends_with("/class") && seed.is_multiple_of(2);
            if !keeps {
                let shift = (number * usize::from(seed)) % bytes.len().max(1);
                machine.write(file, &[&bytes[shift.min(bytes.len())..], &bytes[..shift.min(bytes.len())]].concat());
            }
        }
        check(&machine)?;
    }
}

#[test]
fn a_file_without_end_is_read_in_part() {
    let machine = Machine::named("rx_7900_xtx");
    let long = vec![b'7'; 3 << 20];
    for file in machine.files().iter().filter(|file| file.contains("0000:03:00.0") && !file.ends_with("/class")) {
        machine.write(file, &long);
    }
    let cards = machine.probe().cards_and_sample(Instant::now(), &[].into());
    assert_eq!(cards.len(), 1);
    assert_eq!((cards[0].1.vram_used, cards[0].1.temperature), (None, None));
}

#[test]
fn machines_of_this_test_exist() {
    for name in MACHINES {
        assert!(all().iter().any(|known| known == name), "{name}");
    }
}

fn check(machine: &Machine) -> Result<(), TestCaseError> {
    let mut probe = machine.probe();
    let start = Instant::now();
    probe.cards(start);
    for second in 0..2 {
        for (card, sample) in probe.cards_and_sample(start + Duration::from_secs(second), &[4242].into()) {
            prop_assert!(sample.temperature.is_none_or(|degrees| (-50.0..=200.0).contains(&degrees)));
            prop_assert!(sample.power.is_none_or(|watts| (0.0..=3000.0).contains(&watts)));
            prop_assert!(sample.fan.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
            prop_assert!(sample.load.is_none_or(|load| (0.0..=100.0).contains(&load.percent)));
            if let (Some(used), Some(total)) = (sample.vram_used, card.vram_total) {
                prop_assert!(used <= total);
            }
            let missing = [sample.vram_used.is_none(), sample.temperature.is_none(), sample.power.is_none()];
            let missing = missing.iter().filter(|is| **is).count();
            prop_assert!(sample.unknown.len() >= missing, "what is unknown has a reason");
            prop_assert!(json::card(&card, Some(&sample)).is_object());
        }
        machine.move_on();
    }
    Ok(())
}
