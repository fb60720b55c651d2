//! The test that a card has to pass before it serves anybody: its answers against the processor's. Whole at the first start, and
//! whenever something changed; in short at others.
//!
//! Kernels by name first, products of every packing with every size of tile, because a wrong kernel may hide behind text that
//! reads well; then whole small models of every family, all logits of a prompt and the tokens after it.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::backend::{Backend, Batch, Found, Mask, Masked, PAGE_TOKENS, Pages, Penalty, Row, Wanted};
use crate::cpu::{self, Cpu};
use crate::device::Memory;
use crate::device::matrix::{Form, Matrix, PAIRS, Packing, Source};
use crate::device::plan::{Builder, First, LayerCache, Over, Scratch, Then};
use crate::device::share::Shares;
use crate::device::step::{Part, RESULT_WORDS};
use crate::fault::DeviceFault;
use crate::gguf::{Limits, TensorType};
use crate::model::{Architecture, Model, Parameters};
use crate::sampling::{Candidates, likeliest};
use crate::scheduler::Options;
use crate::synthetic::{self, Stored};

use super::Cuda;
use super::driver::{Buffer, Card, DEADLINE};
use super::launch::Graph;

/// Why a card is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFault {
    /// A kernel's numbers are not the processor's.
    #[error("the kernel {kernel} computes something else than the processor")]
    Kernel {
        /// Which.
        kernel: String,
    },
    /// A model's answers are not the processor's.
    #[error("a small {family} model says something else than on the processor")]
    Answer {
        /// The family of the model.
        family: String,
    },
    /// The driver failed on the way.
    #[error(transparent)]
    Device(#[from] DeviceFault),
    /// It took too long.
    #[error("it took longer than {seconds} seconds")]
    TooSlow {
        /// How long it may take.
        seconds: u64,
    },
}

/// How long it may take on a card; it needs less than a second, most of which is the processor's.
pub(super) const LONGEST: Duration = Duration::from_mins(1);

/// Compares a card with the processor, in so much time.
pub(super) fn self_test(card: &Card, longest: Duration) -> Result<(), SelfTestFault> {
    let started = Instant::now();
    let in_time = || {
        let seconds = longest.as_secs();
        if started.elapsed() > longest { Err(SelfTestFault::TooSlow { seconds }) } else { Ok(()) }
    };
    let tiny = read(&synthetic::tiny())?;
    // Each is packed in a way of its own.
    for kind in TensorType::ALL {
        embed(card, tiny.parameters(), kind)?;
        // As many tokens as one tile takes, one more, and a prompt's.
        for tokens in [1, 4, 7, 45] {
            product(card, tiny.parameters(), kind, tokens)?;
            in_time()?;
        }
    }
    for head_size in [32, 80, 192] {
        attention(card, tiny.parameters(), head_size)?;
        in_time()?;
    }
    find(card, tiny.parameters())?;
    answers(card, "llama", || read(&synthetic::tiny()), 3e-2)?;
    in_time()?;
    for architecture in Architecture::ALL {
        let file = synthetic::family(architecture, Stored::Floats);
        answers(card, architecture.name(), || read(&file), 1e-4)?;
        in_time()?;
    }
    Ok(())
}

/// The same in short: products of every packing for one token and for a prompt, and the answers of one model. Of each way in which
/// kernels may be cut when a card is tried out, and at every start after that.
pub(super) fn short_test(card: &Card, longest: Duration) -> Result<(), SelfTestFault> {
    let started = Instant::now();
    let tiny = read(&synthetic::tiny())?;
    for kind in TensorType::ALL {
        for tokens in [1, 45] {
            product(card, tiny.parameters(), kind, tokens)?;
        }
        if started.elapsed() > longest {
            return Err(SelfTestFault::TooSlow { seconds: longest.as_secs() });
        }
    }
    answers(card, "llama", || read(&synthetic::tiny()), 3e-2)
}

fn read(file: &[u8]) -> Result<Model, SelfTestFault> {
    Model::read(&mut &*file, Limits::default()).map_err(|_| SelfTestFault::Answer { family: "synthetic".to_owned() })
}

/// Numbers without any pattern that a wrong kernel could share.
fn values(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

fn wrong(kernel: impl Into<String>) -> SelfTestFault {
    SelfTestFault::Kernel { kernel: kernel.into() }
}

/// Whether values are others than wanted: what they are off against what they should be, as roots of sums of squares.
fn differ(got: &[f32], wanted: &[f64], allowed: f64) -> bool {
    let size: f64 = wanted.iter().map(|value| value * value).sum();
    let off: f64 = got.iter().zip(wanted).map(|(got, wanted)| (f64::from(*got) - wanted).powi(2)).sum();
    // What is no number is no number's equal.
    got.len() != wanted.len() || !off.is_finite() || off.sqrt() > allowed * size.sqrt()
}

fn rows(count: usize, wanted: Wanted) -> Vec<Row> {
    (0..count as u32).map(|position| Row { token: position, position, sequence: 0, prompt: false, wanted }).collect()
}

/// Plans kernels, runs them for these rows, and returns what then stands in a buffer.
fn run(
    card: &Card,
    parameters: &Parameters,
    scratch: &Scratch<Buffer>,
    part: &Part<'_>,
    out: &Buffer,
    plan: impl FnOnce(&mut Builder<'_, Buffer>),
) -> Result<Vec<u32>, SelfTestFault> {
    card.write(&scratch.step, 0, &part.bytes())?;
    let mut builder = Builder::new(parameters, scratch, RESULTS);
    plan(&mut builder);
    Graph::new(builder.finish(usize::MAX), &Shares::default())?.start(card, part.size())?;
    let mut bytes = vec![0; out.bytes() as usize];
    card.read(out, 0, &mut bytes, DEADLINE)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect())
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Rows that a step of these tests has results of, at most.
const RESULTS: u32 = 4;
const COLUMNS: usize = 768;
const ROWS: usize = 70;

/// A matrix of this type, on the card and as plain numbers.
fn matrix(card: &Card, kind: TensorType) -> Result<(Matrix<Buffer>, Vec<f32>), DeviceFault> {
    let bytes = synthetic::blocks(kind, &values(COLUMNS * ROWS));
    let stored = cpu::Matrix::new(kind, ROWS, COLUMNS, &bytes);
    let mut plain = vec![0.0; COLUMNS * ROWS];
    for (row, out) in plain.chunks_exact_mut(COLUMNS).enumerate() {
        stored.row(row, out);
    }
    let source = Source { rows: ROWS, bytes: &bytes };
    Ok((Matrix::upload(card, kind, COLUMNS, &[source], PAIRS, u64::MAX)?, plain))
}

/// Rows of an embedding are what is stored, bit by bit.
fn embed(card: &Card, parameters: &Parameters, kind: TensorType) -> Result<(), SelfTestFault> {
    let parameters = Parameters { width: COLUMNS, embedding_scale: 1.0, ..*parameters };
    let scratch = Scratch::with_form(card, Form::F32, &parameters, 8, RESULTS)?;
    let (matrix, plain) = matrix(card, kind)?;
    let (pages, rows) = (Pages(vec![0]), rows(8, Wanted::Nothing));
    let sequences = [&pages];
    let part = part(&rows, &sequences);
    let got = run(card, &parameters, &scratch, &part, &scratch.states, |builder| builder.embed(&matrix))?;
    let same = floats(&got).iter().zip(&plain).all(|(got, wanted)| got.to_bits() == wanted.to_bits());
    if same { Ok(()) } else { Err(wrong(format!("embed of {kind:?}"))) }
}

fn part<'a>(rows: &'a [Row], sequences: &'a [&'a Pages]) -> Part<'a> {
    let wanting = (0..rows.len()).filter(|&row| rows[row].wanted != Wanted::Nothing).collect();
    Part { rows, sequences, penalties: Zeroizing::default(), masks: Vec::new(), wanting }
}

/// A matrix of this type with several tokens' activations.
fn product(card: &Card, parameters: &Parameters, kind: TensorType, tokens: usize) -> Result<(), SelfTestFault> {
    let parameters = Parameters { width: COLUMNS, feed_forward: COLUMNS, ..*parameters };
    let scratch = Scratch::with_form(card, Form::F32, &parameters, tokens as u32, RESULTS)?;
    let (matrix, plain) = matrix(card, kind)?;
    let activations = values(COLUMNS * tokens);
    card.write(&scratch.hidden, 0, &bytes(&activations))?;
    let (pages, rows) = (Pages(vec![0]), rows(tokens, Wanted::Nothing));
    let out = card.allocate("a test", (tokens * ROWS * 4) as u64)?;
    let got = run(card, &parameters, &scratch, &part(&rows, &[&pages]), &out, |builder| {
        builder.prepare(First::Nothing, &scratch.hidden, COLUMNS, &[Packing::of(kind)], Over::Tokens);
        builder.product(&matrix, &Then::Store(&out, 0, ROWS as u32), Over::Tokens);
    })?;
    let of_token = |activation: &[f32]| {
        let of_row = |row: &[f32]| row.iter().zip(activation).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        plain.chunks_exact(COLUMNS).map(of_row).collect::<Vec<f64>>()
    };
    let wanted: Vec<f64> = activations.chunks_exact(COLUMNS).flat_map(of_token).collect();
    let got = floats(got.get(..tokens * ROWS).unwrap_or_default());
    // Activations lose up to a hundredth on the way to signed bytes, a thousandth to 16-bit floats.
    let allowed = if matches!(kind, TensorType::F32) { 1e-5 } else { 2e-2 };
    if differ(&got, &wanted, allowed) {
        return Err(wrong(format!("product of {kind:?} with {tokens} tokens")));
    }
    Ok(())
}

/// Attention of a token to what lies in three pages, with heads of this size.
fn attention(card: &Card, parameters: &Parameters, head_size: usize) -> Result<(), SelfTestFault> {
    const COUNT: usize = 70;
    let (heads, kv_heads) = (4, 2);
    let p = Parameters { heads, kv_heads, head_size, width: heads * head_size, attention_cap: None, ..*parameters };
    let scratch = Scratch::with_form(card, Form::F32, &p, 2, RESULTS)?;
    let pages = Pages(vec![2, 0, 1]);
    let size = 3 * PAGE_TOKENS * kv_heads * head_size;
    let half = |value: &f32| half::f16::from_f32(*value);
    let lists: [Vec<half::f16>; 2] = {
        let all = values(2 * size);
        let (keys, values) = all.split_at(size);
        [keys.iter().map(half).collect(), values.iter().map(half).collect()]
    };
    let upload = |list: &[half::f16]| {
        let bytes: Vec<u8> = list.iter().flat_map(|value| value.to_le_bytes()).collect();
        let buffer = card.allocate("a test", bytes.len() as u64)?;
        card.write(&buffer, 0, &bytes).map(|()| buffer)
    };
    let cache = LayerCache { keys: upload(&lists[0])?, values: upload(&lists[1])? };
    let queries = values(heads * head_size);
    card.write(&scratch.queries, 0, &bytes(&queries))?;
    let rows = [Row { token: 0, position: COUNT as u32 - 1, sequence: 0, prompt: false, wanted: Wanted::Nothing }];
    let sequences = [&pages];
    let part = part(&rows, &sequences);
    let got = run(card, &p, &scratch, &part, &scratch.attended, |builder| builder.attention(&cache, None, None, None))?;
    let mut wanted = Vec::new();
    for head in 0..heads {
        let entry = |list: &[half::f16], position: usize, at: usize| {
            let page = pages.0[position / PAGE_TOKENS] as usize;
            let place = (page * kv_heads + head / 2) * PAGE_TOKENS + position % PAGE_TOKENS;
            list.get(place * head_size + at).map_or(f64::NAN, |value| value.to_f64())
        };
        let shares: Vec<f64> = (0..COUNT)
            .map(|position| {
                let query = queries.iter().skip(head * head_size).take(head_size);
                let products = query.enumerate().map(|(at, query)| f64::from(*query) * entry(&lists[0], position, at));
                (products.sum::<f64>() * f64::from(p.attention_scale)).exp()
            })
            .collect();
        let total: f64 = shares.iter().sum();
        wanted.extend((0..head_size).map(|at| {
            let sum = shares.iter().enumerate().map(|(position, share)| share * entry(&lists[1], position, at));
            sum.sum::<f64>() / total
        }));
    }
    let got = floats(got.get(..heads * head_size).unwrap_or_default());
    if differ(&got, &wanted, 1e-4) { Err(wrong(format!("attention of heads of {head_size}"))) } else { Ok(()) }
}

/// The likeliest among logits in several slices, with a penalty and a mask.
fn find(card: &Card, parameters: &Parameters) -> Result<(), SelfTestFault> {
    const VOCABULARY: usize = 9000;
    let p = Parameters { vocabulary: VOCABULARY, logit_cap: None, ..*parameters };
    let scratch = Scratch::with_form(card, Form::F32, &p, 2, RESULTS)?;
    let mut logits: Vec<f32> = values(2 * VOCABULARY).iter().map(|value| value * 20.0).collect();
    card.write(&scratch.logits, 0, &bytes(&logits))?;
    let (pages, rows) = (Pages(vec![0]), rows(2, Wanted::Candidates));
    let mut mask = Mask::nothing(VOCABULARY);
    (0..VOCABULARY as u32).step_by(3).for_each(|token| mask.admit(token));
    let best = likeliest(logits.iter().take(VOCABULARY).copied());
    let sequences = [&pages];
    let mut part = part(&rows, &sequences);
    part.penalties.push(Penalty { row: 0, token: best, amount: 30.0 });
    part.masks.push(Masked { row: 1, mask: &mask });
    let got = run(card, &p, &scratch, &part, &scratch.results, |builder| {
        builder.find();
    })?;
    if let Some(logit) = logits.get_mut(best as usize) {
        *logit -= 30.0;
    }
    for (token, logit) in (0..).zip(logits.iter_mut().skip(VOCABULARY)) {
        if !mask.admits(token) {
            *logit = f32::NEG_INFINITY;
        }
    }
    for (row, logits) in logits.chunks_exact(VOCABULARY).enumerate() {
        let wanted = Candidates::of(logits.iter().copied());
        let of_row = got.get(RESULTS as usize + row * RESULT_WORDS..).unwrap_or_default();
        let first = wanted.likeliest.first().map(|one| one.0);
        let pairs = of_row.get(1..RESULT_WORDS).unwrap_or_default().as_chunks::<2>().0;
        let same = pairs.iter().map(|&[id, logit]| (id, f32::from_bits(logit))).eq(wanted.likeliest.iter().copied());
        let sum = of_row.first().map_or(f32::NAN, |&word| f32::from_bits(word));
        if got.get(row).copied() != first || !same || (sum - wanted.log_sum_exp).abs() >= 1e-3 || sum.is_nan() {
            return Err(wrong("what finds the likeliest tokens"));
        }
    }
    Ok(())
}

/// All logits of a prompt and the tokens after it, one by one: on the card and on the processor. Divergences of the distributions stay
/// below what is allowed, but for a few places of a model of blocks or experts, where a rounding is another answer.
fn answers(
    on: &Card,
    family: &str,
    model: impl Fn() -> Result<Model, SelfTestFault>,
    allowed: f64,
) -> Result<(), SelfTestFault> {
    const PROMPT: u32 = 40;
    const ANSWER: u32 = 4;
    let options = Options { threads: 2, context: 64, max_sequences: 1 };
    let differs = || SelfTestFault::Answer { family: family.to_owned() };
    // Experts in several pieces.
    let mut card = Cuda::new(on.clone(), model()?, &options, 600 * 1024).map_err(|error| match error {
        crate::scheduler::StartError::Device(fault) => SelfTestFault::Device(fault),
        _ => differs(),
    })?;
    let mut processor = Cpu::new(model()?, options.threads, options.context as usize);
    let mut tokens: Vec<u32> = (0..PROMPT).map(|n| 3 + n * 7 % 500).collect();
    let (pages, others) = (card.reserve(64).ok_or_else(differs)?, processor.reserve(64).ok_or_else(differs)?);
    let mut first = 0;
    for _ in 0..=ANSWER {
        let rows: Vec<Row> = (first..)
            .zip(tokens.get(first as usize..).unwrap_or_default())
            .map(|(position, &token)| Row { token, position, sequence: 0, prompt: false, wanted: Wanted::Logits })
            .collect();
        first = tokens.len() as u32;
        let ask = |backend: &mut dyn Backend, pages: &Pages| {
            backend.forward(&Batch { rows: &rows, sequences: &[pages], penalties: &[], masks: &[] })
        };
        let (got, wanted) = (ask(&mut card, &pages)?, ask(&mut processor, &others)?);
        let mut next = 0;
        for (got, wanted) in got.iter().zip(&wanted) {
            let (Found::Logits(got), Found::Logits(wanted)) = (got, wanted) else { return Err(differs()) };
            if differs_by(divergence(wanted, got), allowed) {
                return Err(differs());
            }
            next = likeliest(wanted.iter().copied());
        }
        if got.len() != rows.len() {
            return Err(differs());
        }
        tokens.push(next);
    }
    card.release(pages);
    card.fault.clone().map_or(Ok(()), |fault| Err(fault.into()))
}

/// What is no number is more than anything.
fn differs_by(divergence: f64, allowed: f64) -> bool {
    divergence.is_nan() || divergence > allowed
}

/// How far the distribution that logits stand for is from another one's: Kullback and Leibler's measure.
pub(super) fn divergence(wanted: &[f32], got: &[f32]) -> f64 {
    let shares = |logits: &[f32]| {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect::<Vec<f64>>()
    };
    shares(wanted).iter().zip(shares(got)).map(|(p, q)| p * (p.max(1e-30) / q.max(1e-30)).ln()).sum()
}
