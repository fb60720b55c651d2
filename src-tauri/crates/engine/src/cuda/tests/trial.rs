//! A card that is tried out: which way is chosen, what is kept, and when it is found out anew.

use std::sync::PoisonError;
use std::time::Duration;

use super::super::driver::Grid;
use super::super::launch::Shape;
use super::super::tune::candidates;
use super::emulator::Trouble;
use super::*;
use crate::gguf::Limits;
use crate::synthetic;
use crate::tune::search::Limits as Times;
use crate::tune::{Progress, Reason};

const LONG: Times = Times { test: Duration::from_mins(30), measure: Duration::from_mins(30) };

fn tiny() -> Model {
    Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap()
}

fn set(driver: &Emulated, trouble: Trouble) {
    *driver.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

/// A card whose blocks of 256 threads are the fastest for one token, and whose tensor cores are slow.
fn slow_tensor_cores(kernel: &'static str, grid: Grid) -> u64 {
    match (kernel.starts_with("product"), kernel.ends_with("_32"), grid.threads) {
        (false, ..) => 1,
        (true, true, _) => 5_000,
        (true, false, 256) => 10,
        (true, false, _) => 40,
    }
}

/// One start: what was chosen, how often something was tested and measured, and logits of a text.
fn start(driver: &Arc<Emulated>, stored: &[Vec<u8>]) -> Result<(Outcome, [usize; 2], Shape), StartError> {
    let options = Options { threads: 1, context: 64, max_sequences: 1 };
    let mut counts = [0; 2];
    let mut progress = |now| counts[usize::from(matches!(now, Progress::Measuring { .. }))] += 1;
    let mut session = Session { stored, progress: &mut progress };
    let card = Card::new(Arc::<Emulated>::clone(driver));
    let trial = Trial::new(&card, tiny().sha256(), &mut session, &LONG)?;
    let mut cuda = Cuda::new(card.cut(trial.shape()), tiny(), &options, u64::MAX)?;
    let outcome = trial.finish(&mut cuda, &options, &mut session, &LONG)?;
    let shape = cuda.card.shape();
    Ok((outcome, counts, shape))
}

#[test]
fn a_cuda_card_is_tried_out_once_and_the_fastest_way_by_its_own_clock_is_kept() {
    let Some(driver) = card() else { return };
    set(&driver, Trouble { micros: Some(slow_tensor_cores), ..Trouble::default() });
    let (first, counts, shape) = start(&driver, &[]).unwrap();
    let all = candidates().len();
    assert_eq!((first.reason.clone(), counts), (Some(Reason::First), [all, all]));
    assert_eq!(first.choice.candidate, "t256-plain");
    assert_eq!(shape, Shape { threads: 256, tensor_cores: false });
    assert_eq!((first.choice.tried, first.choice.failed), (all as u32, 0));
    // Once tested in every way it is tested in short, and measured no more.
    let stored = [first.choice.to_bytes()];
    driver.started.lock().unwrap().clear();
    let (second, counts, shape) = start(&driver, &stored).unwrap();
    assert_eq!((second.reason, counts, second.choice.clone()), (None, [0, 0], first.choice.clone()));
    assert_eq!(shape.threads, 256);
    let started = std::mem::take(&mut *driver.started.lock().unwrap());
    assert!(started.contains(&"product_q6_k_1") && !started.contains(&"attention_256"), "not the short test");
    // A card that fails that one is not trusted, whatever was stored.
    set(&driver, Trouble { idle: Some("product_q6_k_1"), ..Trouble::default() });
    assert!(matches!(start(&driver, &stored), Err(StartError::Differs { .. })));
    // Another card of the same name was never tested.
    set(&driver, Trouble { micros: Some(slow_tensor_cores), ..Trouble::default() });
    *driver.number.lock().unwrap() = 9;
    let (third, counts, _) = start(&driver, &stored).unwrap();
    assert_eq!((third.reason, counts), (Some(Reason::First), [all, all]));
}

#[test]
fn a_way_that_a_card_gets_wrong_is_left_out_and_a_card_that_gets_the_usual_one_wrong_is_not_trusted() {
    let Some(driver) = card() else { return };
    // Blocks of 256 threads of this kernel do nothing.
    set(&driver, Trouble { wide: Some("product_q6_k_1"), micros: Some(slow_tensor_cores), ..Trouble::default() });
    let (outcome, [tested, measured], shape) = start(&driver, &[]).unwrap();
    let all = candidates().len();
    assert_eq!((tested, measured, outcome.choice.failed), (all, all - 2, 2));
    assert!(outcome.choice.candidate.ends_with("-plain") && shape.threads < 256);
    set(&driver, Trouble { idle: Some("product_q6_k_1"), ..Trouble::default() });
    assert!(matches!(start(&driver, &[]), Err(StartError::Differs { .. })));
}

#[test]
fn a_result_has_the_same_bits_in_whatever_way_cudas_kernels_are_cut() {
    let Some(driver) = card() else { return };
    let file = synthetic::family(crate::model::Architecture::Qwen3, synthetic::Stored::Blocks);
    let mut wanted = None;
    for candidate in candidates() {
        let model = Model::read(&mut file.as_slice(), Limits::default()).unwrap();
        let options = Options { threads: 1, context: 64, max_sequences: 1 };
        let on_card = Card::new(Arc::<Emulated>::clone(&driver)).cut(candidate.setup);
        let mut cuda = Cuda::new(on_card, model, &options, u64::MAX).unwrap();
        let pages = cuda.reserve(64).unwrap();
        let mut bits = Vec::new();
        // Only the last of a chunk wants something, else it is cut into pieces of as many as there may be results of.
        for chunk in [0..40, 40..41, 41..46] {
            let row = |position| {
                let wanted = if position + 1 == chunk.end { Wanted::Logits } else { Wanted::Nothing };
                Row { token: 3 + position, position, sequence: 0, prompt: true, wanted }
            };
            let rows: Vec<Row> = chunk.clone().map(row).collect();
            let batch = Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] };
            for found in cuda.forward(&batch).unwrap() {
                let Found::Logits(logits) = found else { panic!("logits were wanted") };
                bits.extend(logits.iter().map(|logit| logit.to_bits()));
            }
        }
        cuda.release(pages);
        let by_prompts = driver.started.lock().unwrap().drain(..).any(|kernel| kernel.ends_with("_32"));
        assert_eq!(by_prompts, candidate.setup.tensor_cores, "{}", candidate.name);
        assert!(*wanted.get_or_insert_with(|| bits.clone()) == bits, "{}", candidate.name);
    }
}
