//! Every way in which a card can fail, each made to happen.

use super::*;

fn forward(card: &mut Wgpu, pages: &Pages, count: u32) -> Result<Vec<Found>, DeviceFault> {
    let rows: Vec<Row> = (0..count)
        .map(|position| Row { token: 9, position, sequence: 0, prompt: false, wanted: Wanted::Nothing })
        .collect();
    card.forward(&Batch { rows: &rows, sequences: &[pages], penalties: &[], masks: &[] })
}

/// Starts a model with other settings, which must fail.
fn refused(adapter: usize, tuning: &Tuning) -> DeviceFault {
    let options = Options { threads: 1, context: 64, max_sequences: 1 };
    let wish = Wish { adapter: Some(adapter.to_string()), software: true };
    match Wgpu::new(tiny(), &options, &wish, tuning) {
        Err(StartError::Device(fault)) => fault,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn a_lost_card_is_named_and_stays_lost() {
    for adapter in adapters() {
        let mut card = open(tiny(), adapter, 64, &Tuning::default());
        let pages = card.reserve(64).unwrap();
        forward(&mut card, &pages, 3).unwrap();
        card.gpu.device.destroy();
        for _ in 0..2 {
            let fault = forward(&mut card, &pages, 3).map(|_| ()).unwrap_err();
            assert!(matches!(fault, DeviceFault::Lost { .. }), "{fault}");
        }
        assert!(card.reserve(1).is_none());
        card.release(pages);
    }
}

#[test]
fn a_card_that_does_not_answer_in_time_is_named() {
    for adapter in adapters() {
        let mut card = open(tiny(), adapter, 64, &Tuning::default());
        let pages = card.reserve(64).unwrap();
        // From now on everything takes too long.
        card.gpu.set_deadline(Duration::ZERO);
        let fault = forward(&mut card, &pages, 60).map(|_| ()).unwrap_err();
        assert!(matches!(fault, DeviceFault::Hung { .. }), "{fault}");
        assert_eq!(forward(&mut card, &pages, 1).map(|_| ()), Err(fault));
        card.release(pages);
    }
}

#[test]
fn a_kernel_that_does_not_compile_is_named() {
    for adapter in adapters() {
        let fault = refused(adapter, &Tuning { preamble: "fn broken( {}\n", ..Tuning::default() });
        assert!(matches!(&fault, DeviceFault::Pipeline { kernel, .. } if kernel == "embed"), "{fault}");
    }
}

#[test]
fn memory_that_does_not_suffice_is_named_before_anything_is_loaded() {
    for adapter in adapters() {
        let fault = refused(adapter, &Tuning { memory_bytes: Some(100_000), ..Tuning::default() });
        assert!(matches!(fault, DeviceFault::OutOfMemory { limit: Some(100_000), .. }), "{fault}");
        let fault = refused(adapter, &Tuning { binding_bytes: Some(100), ..Tuning::default() });
        assert!(matches!(fault, DeviceFault::OutOfMemory { .. }), "{fault}");
        let card = open(tiny(), adapter, 64, &Tuning::default());
        let fault = card.gpu.storage("a test", u64::MAX / 2).map(|_| ()).unwrap_err();
        assert!(matches!(fault, DeviceFault::OutOfMemory { .. }), "{fault}");
    }
}
