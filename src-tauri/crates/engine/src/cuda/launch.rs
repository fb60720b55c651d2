//! A plan as kernels to be started: which of `kernels.cu`, how much of it, with what.

#![expect(unsafe_code, reason = "a kernel is given addresses")]

use crate::backend::Work;
use crate::device::plan;
use crate::device::plan::{Name, Op, Over, Plan, Values};
use crate::device::share::{Share, Shares};
use crate::device::step::Size;
use crate::fault::DeviceFault;

use super::driver::{Arguments, BUFFERS, Buffer, Card, Grid};

/// Every kernel of `kernels.cu`.
pub(crate) const KERNELS: [&str; 65] = [
    "embed_f32",
    "embed_f16",
    "embed_nibbles",
    "embed_bytes",
    "embed_bf16",
    "embed_q4_0",
    "embed_q5_0",
    "embed_q5_1",
    "embed_q4_k",
    "embed_q5_k",
    "embed_q6_k",
    "prepare_f32",
    "prepare_f16",
    "prepare_q8",
    "product_f32_1",
    "product_f32_4",
    "product_f32_8",
    "product_f16_1",
    "product_f16_4",
    "product_f16_8",
    "product_nibbles_1",
    "product_nibbles_4",
    "product_nibbles_8",
    "product_nibbles_32",
    "product_bytes_1",
    "product_bytes_4",
    "product_bytes_8",
    "product_bytes_32",
    "product_bf16_1",
    "product_bf16_4",
    "product_bf16_8",
    "product_q4_0_1",
    "product_q4_0_4",
    "product_q4_0_8",
    "product_q4_0_32",
    "product_q5_0_1",
    "product_q5_0_4",
    "product_q5_0_8",
    "product_q5_0_32",
    "product_q5_1_1",
    "product_q5_1_4",
    "product_q5_1_8",
    "product_q5_1_32",
    "product_q4_k_1",
    "product_q4_k_4",
    "product_q4_k_8",
    "product_q4_k_32",
    "product_q5_k_1",
    "product_q5_k_4",
    "product_q5_k_8",
    "product_q5_k_32",
    "product_q6_k_1",
    "product_q6_k_4",
    "product_q6_k_8",
    "product_q6_k_32",
    "heads",
    "attention_64",
    "attention_128",
    "attention_256",
    "route",
    "combine",
    "penalise",
    "forbid",
    "select_first",
    "select_second",
];

/// Conditions that kernels look at while they run: `Flags` of `kernels/numbers.h`.
const FLAGS: [(&str, u32); 9] = [
    ("ADD", 1),
    ("CACHE", 2),
    ("EXPERTS", 4),
    ("CAP", 8),
    ("NORM", 16),
    ("BEHIND", 32),
    ("GATE", 64),
    ("GELU", 128),
    ("OFFSET", 256),
];
const FUSED: [(&str, u32); 3] = [("F32", 512), ("F16", 1024), ("Q8", 2048)];

/// Tokens of the kernels of products that multiply with tensor cores, and rows of a matrix that one of their blocks computes.
const TILE: u32 = 32;

/// How kernels are cut. No sum depends on it, so a result has the same bits in every shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Threads of a block in products for few tokens: whole warps, four threads for each row of the matrix.
    pub(crate) threads: u32,
    /// Whether prompts' products are for tensor cores, from as many tokens on as no other tile takes.
    pub(crate) tensor_cores: bool,
}

impl Default for Shape {
    /// What is tried first.
    fn default() -> Self {
        Self { threads: 128, tensor_cores: true }
    }
}

/// Most tokens of one step.
pub(crate) const BATCH: u32 = 256;
/// Heads are kept in the small memory of a block.
pub(crate) const MAX_HEAD_SIZE: usize = 256;

/// Blocks of threads of a kernel.
#[derive(Clone, Copy)]
enum Blocks {
    /// So many for each.
    Each(u32),
    /// One for so many of them.
    Shared(u32),
    /// So many rows of a matrix, each for several tokens.
    Rows(u32),
}

struct Launch {
    /// By the number of tokens that each is made for; a single one for kernels without tiles.
    kernels: Vec<(u32, &'static str)>,
    name: Name,
    blocks: Blocks,
    arguments: Arguments,
    /// So that they stay while their addresses are in use.
    _buffers: Vec<Buffer>,
    over: Over,
    shares: Vec<Share>,
}

/// A step.
pub(crate) struct Graph {
    launches: Vec<Launch>,
    /// Those that find something among logits come last.
    finding: usize,
    /// Experts that a token asks.
    used: u32,
}

fn has(values: &Values, name: &str) -> bool {
    values.get(name).copied().unwrap_or_default() != 0
}

/// The ones of `KERNELS` that are called so, with a number of tokens or none behind.
fn named(values: &Values, stem: &str, kinds: &[&'static str]) -> Vec<(u32, &'static str)> {
    let Some(kind) = kinds.iter().find(|kind| has(values, kind)) else { return Vec::new() };
    let name = format!("{stem}_{}", kind.to_lowercase());
    KERNELS
        .iter()
        .filter_map(|kernel| {
            let tokens = match kernel.strip_prefix(name.as_str())? {
                "" => 1,
                rest => rest.strip_prefix('_')?.parse().ok()?,
            };
            Some((tokens, *kernel))
        })
        .collect()
}

const PACKINGS: [&str; 11] = ["F32", "F16", "BF16", "NIBBLES", "BYTES", "Q4_0", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"];
const FORMS: [&str; 3] = ["F32", "F16", "Q8"];

/// Kernels that do an operation, by the tokens that each is made for.
fn kernels(op: &Op<Buffer>) -> Vec<(u32, &'static str)> {
    let values = &op.values;
    match op.kernel {
        Name::Embed => named(values, "embed", &PACKINGS),
        Name::Prepare => named(values, "prepare", &FORMS),
        Name::Product => {
            let mut all = named(values, "product", &PACKINGS);
            // Experts' tokens are not side by side.
            all.retain(|(tokens, _)| *tokens == 1 || !has(values, "EXPERTS"));
            all
        }
        Name::Heads => vec![(1, "heads")],
        Name::Attention => match values.get("HEAD").copied().unwrap_or_default() {
            0..=64 => vec![(1, "attention_64")],
            65..=128 => vec![(1, "attention_128")],
            _ => vec![(1, "attention_256")],
        },
        Name::Route => vec![(1, "route")],
        Name::Combine => vec![(1, "combine")],
        Name::Penalise => vec![(1, "penalise")],
        Name::Mask => vec![(1, "forbid")],
        Name::Select if has(values, "FIRST") => vec![(1, "select_first")],
        Name::Select => vec![(1, "select_second")],
        // Asked for only by plans for devices with other abilities.
        Name::Merge | Name::Score => Vec::new(),
    }
}

/// Threads of a block of a kernel that is made for so many tokens; the kernels' text counts on them, but for products'.
fn threads(kernel: Name, tokens: u32, shape: Shape) -> u32 {
    match kernel {
        Name::Product if tokens == TILE => 256,
        Name::Product => shape.threads,
        Name::Embed | Name::Attention | Name::Penalise => 128,
        Name::Heads | Name::Route => 32,
        Name::Prepare | Name::Combine | Name::Mask | Name::Merge | Name::Score | Name::Select => 256,
    }
}

impl Graph {
    /// Finds the kernels and fills in what they are given.
    pub(crate) fn new(plan: Plan<Buffer>, shares: &Shares<Buffer>) -> Result<Self, DeviceFault> {
        let launches = plan.ops.into_iter().map(|op| launch(op, shares)).collect::<Result<_, _>>()?;
        Ok(Self { launches, finding: plan.finding, used: plan.used })
    }

    /// Starts all kernels, one after another.
    pub(crate) fn start(&self, card: &Card, size: Size) -> Result<Work, DeviceFault> {
        let mut work = Work::default();
        let shape = card.shape();
        let all = if size.find { &self.launches[..] } else { &self.launches[..self.finding.min(self.launches.len())] };
        for launch in all {
            let count = size.count(launch.over, self.used);
            if count == 0 {
                continue;
            }
            // The smallest tile that takes all, or the largest there is.
            let mut tiles = launch.kernels.iter().filter(|(tokens, _)| shape.tensor_cores || *tokens < TILE);
            let best = tiles.clone().find(|(tokens, _)| *tokens >= count).or_else(|| tiles.next_back());
            let Some(&(tokens, kernel)) = best else { continue };
            let threads = threads(launch.name, tokens, shape);
            let (across, down) = match launch.blocks {
                Blocks::Each(blocks) => (blocks, count),
                Blocks::Shared(each) => (count.div_ceil(each), 1),
                Blocks::Rows(rows) => {
                    let of_block = if tokens == TILE { TILE } else { threads / 4 };
                    (rows.div_ceil(of_block), count.div_ceil(tokens))
                }
            };
            let arguments = Arguments { count, ..launch.arguments };
            // SAFETY: the addresses are of buffers that the launch keeps; the plan has made both the buffers and the numbers, for steps
            // of as many tokens as `Part::cut` lets through.
            unsafe { card.launch(kernel, Grid { across, down, threads }, &arguments) }?;
            work.dispatches += 1;
            work.bytes_bound += launch.shares.iter().map(|share| share.bytes(size, self.used)).sum::<u64>();
        }
        Ok(work)
    }
}

fn launch(op: Op<Buffer>, shares: &Shares<Buffer>) -> Result<Launch, DeviceFault> {
    let value = |name: &str| op.values.get(name).copied().unwrap_or_default();
    let kernels = kernels(&op);
    if kernels.is_empty() || matches!(op.grid, plan::Grid::Gates(_) | plan::Grid::Slices(..)) {
        let reason = "no kernel of these values was written".to_owned();
        return Err(DeviceFault::Pipeline { kernel: format!("{:?}", op.kernel).to_lowercase(), reason });
    }
    let mut flags = 0;
    for (name, flag) in FLAGS {
        flags |= if has(&op.values, name) { flag } else { 0 };
    }
    if has(&op.values, "FUSED") {
        flags |= FUSED.iter().find(|(form, _)| has(&op.values, form)).map_or(0, |(_, flag)| *flag);
    }
    let mut arguments = Arguments {
        numbers: op.numbers,
        head: value("HEAD"),
        heads: value("HEADS"),
        kv_heads: value("KV_HEADS"),
        turned: value("TURNED"),
        used: value("USED"),
        shared_by: value("SHARED_BY"),
        flags,
        count: 0,
        buffers: [0; BUFFERS],
    };
    let mut bound = Vec::with_capacity(op.buffers.len());
    for (number, buffer) in &op.buffers {
        if let Some(at) = arguments.buffers.get_mut(*number as usize) {
            *at = buffer.at();
            bound.push(shares.of(&op, *number, buffer));
        }
    }
    let threads = threads(op.kernel, 1, Shape::default());
    let blocks = match op.grid {
        plan::Grid::Each(blocks) | plan::Grid::Gates(blocks) | plan::Grid::Slices(blocks, _) => Blocks::Each(blocks),
        plan::Grid::Threads(count) => Blocks::Each(count.div_ceil(threads)),
        // A whole warp looks at a token's experts.
        plan::Grid::One if op.kernel == Name::Route => Blocks::Shared(1),
        plan::Grid::One => Blocks::Shared(threads),
        plan::Grid::Rows(rows) => Blocks::Rows(rows),
    };
    let buffers = op.buffers.into_iter().map(|(_, buffer)| buffer).collect();
    Ok(Launch { kernels, name: op.kernel, blocks, arguments, _buffers: buffers, over: op.over, shares: bound })
}
