//! The kernels, written out for a shape and compiled when they are first wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::PAGE_TOKENS;
use crate::device::matrix::Packing;
use crate::device::narrow;
use crate::device::plan::{Name, Over, Values};
use crate::fault::DeviceFault;
use crate::gguf::TensorType;

use super::gpu::Gpu;
use super::shape::{COOPERATIVE_ROWS, STAGED, Shape};
use super::template::{expand, with_nothing_left};

fn source(name: Name) -> &'static str {
    match name {
        Name::Embed => include_str!("embed.wgsl"),
        Name::Prepare => include_str!("prepare.wgsl"),
        Name::Product => include_str!("product.wgsl"),
        Name::Heads => include_str!("heads.wgsl"),
        Name::Attention => include_str!("attention.wgsl"),
        Name::Merge => include_str!("merge.wgsl"),
        Name::Score => include_str!("score.wgsl"),
        // Asked for only by plans for devices with other abilities.
        Name::Route | Name::Combine => "",
        Name::Penalise => include_str!("penalise.wgsl"),
        Name::Mask => include_str!("mask.wgsl"),
        Name::Select => include_str!("select.wgsl"),
    }
}

/// What a kernel demands of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Uniform,
    Read,
    Write,
}

/// A compiled kernel.
pub(super) struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    /// Numbers of its bindings.
    pub(super) bindings: Vec<u32>,
}

/// A kernel for tiles of so many tokens.
pub(super) struct Tile {
    pub(super) tokens: u32,
    /// Rows of a matrix, or columns that gates let through, that one workgroup computes.
    pub(super) in_group: u32,
    /// Whether it is for prompts, however short, and for nothing else.
    pub(super) for_prompts: bool,
    pub(super) kernel: Arc<Kernel>,
}

/// All that were wanted so far.
pub(super) struct Kernels {
    pub(super) gpu: Arc<Gpu>,
    pub(super) shape: Shape,
    made: BTreeMap<(Name, Values), Arc<Kernel>>,
    layouts: BTreeMap<Vec<(u32, Binding)>, wgpu::BindGroupLayout>,
    /// Text put before every kernel, for tests that need one which does not compile.
    pub(super) preamble: &'static str,
    /// Width of subgroups that are imitated in memory of the workgroup, for tests: a machine has but one.
    pub(super) imitated: Option<u32>,
}

impl Kernels {
    pub(super) fn new(gpu: Arc<Gpu>, shape: Shape) -> Self {
        Self { gpu, shape, made: BTreeMap::new(), layouts: BTreeMap::new(), preamble: "", imitated: None }
    }

    /// The kernels that do an operation, from few tokens to many; a single one for kernels without tiles. The one for prompts, if there
    /// is one and it runs over tokens, comes last.
    pub(super) fn of(&mut self, name: Name, values: &Values, over: Over) -> Result<Vec<Tile>, DeviceFault> {
        let threads = self.shape.threads;
        let mut values = values.clone();
        match name {
            // Experts' tokens are not side by side.
            Name::Product if values.contains_key("EXPERTS") => return self.products(&[1], &values),
            Name::Product => {
                let mut tiles = self.products(&self.shape.tokens.clone(), &values)?;
                // Matrices of several types in one kernel are read as for single tokens.
                if over == Over::Tokens && !values.contains_key("MIXED") {
                    tiles.extend(self.cooperative(&values)?);
                }
                return Ok(tiles);
            }
            Name::Attention => of_attention(threads, &mut values),
            Name::Merge => {
                let half = values.get("HEAD").copied().unwrap_or_default() / 2;
                values.insert("HALF", half);
            }
            _ => {}
        }
        values.insert("WORKGROUP", threads);
        Ok(vec![Tile { tokens: 1, in_group: 1, for_prompts: false, kernel: self.get(name, values)? }])
    }

    /// A kernel for these values.
    fn get(&mut self, name: Name, values: Values) -> Result<Arc<Kernel>, DeviceFault> {
        let mut values = values;
        of_blocks(&mut values);
        let key = (name, values);
        if let Some(kernel) = self.made.get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let forms = if matches!(name, Name::Prepare | Name::Score)
            || key.1.contains_key("FUSED")
            || key.1.contains_key("GATED")
        {
            include_str!("form.wgsl")
        } else {
            ""
        };
        // A product's own form is that of its matrix.
        let out = [("OUT_F32", "F32"), ("OUT_F16", "F16"), ("OUT_Q8", "Q8")];
        let out = out.into_iter().find(|(name, _)| key.1.contains_key(name)).map(|(_, form)| Values::from([(form, 1)]));
        let forms = expand(forms, out.as_ref().unwrap_or(&key.1));
        let heads = if name == Name::Heads || key.1.contains_key("RAW") { include_str!("head.wgsl") } else { "" };
        // Each type of several has a function of its own, and the first one's buffers are where all have theirs.
        let blocks = match key.1.get("SCALED").copied().unwrap_or_default() {
            0 => String::new(),
            _ if key.1.contains_key("MIXED") => mixed(&key.1),
            _ => [include_str!("block.wgsl"), include_str!("quants.wgsl")].map(|text| expand(text, &key.1)).concat(),
        };
        let experts = if key.1.contains_key("EXPERTS") { include_str!("choose.wgsl") } else { "" };
        let cooperative = key.1.contains_key("COOPERATIVE");
        let (enabled, computing) = if cooperative {
            ("enable f16;\nenable wgpu_cooperative_matrix;\n", include_str!("cooperative.wgsl"))
        } else {
            ("", "")
        };
        let own =
            forms + &blocks + &[experts, heads, source(name), computing].map(|source| expand(source, &key.1)).concat();
        let source = format!("{enabled}{}{}\n{own}", self.preamble, expand(include_str!("numbers.wgsl"), &key.1));
        let source = with_nothing_left(&source);
        let bindings = bindings(&source);
        let layout = self.layout(&bindings);
        let named = format!("{name:?}").to_lowercase();
        let pipeline = self.gpu.pipeline(&named, &source, &layout)?;
        let bindings = bindings.into_iter().map(|(number, _)| number).collect();
        let kernel = Arc::new(Kernel { pipeline, layout, bindings });
        self.made.insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// The products of a form, one kernel for each of these sizes of tiles.
    fn products(&mut self, sizes: &[u32], more: &Values) -> Result<Vec<Tile>, DeviceFault> {
        let Shape { lanes, rows, subgroups, integer_dot, .. } = self.shape;
        // As many threads as any subgroup has: sums are the same in larger ones.
        let least = self.imitated.or(self.gpu.about.subgroup.map(|(least, _)| least)).unwrap_or(1);
        let mut made = Vec::new();
        for &tokens in sizes {
            let staged = self.shape.stages(tokens) && more.get("SCALED").is_some_and(|&scaled| scaled != 0);
            // In registers alone there is no room for as many.
            if tokens >= STAGED && !staged {
                continue;
            }
            let workgroup = if staged { self.shape.staged_workgroup() } else { self.shape.workgroup };
            let subgroups = subgroups && lanes == workgroup;
            let width = 1 << least.clamp(1, workgroup).ilog2();
            let partials = if subgroups { workgroup / width } else { workgroup };
            let tiles = workgroup / lanes;
            let gates = Shape::gates(tiles * rows);
            let gated = more.contains_key("GATED");
            let mut values = Values::from([
                ("WORKGROUP", workgroup),
                ("LANES", lanes),
                ("TILES", tiles),
                ("ROWS", rows),
                ("PAIRS", rows / 2),
                ("TOKENS", tokens),
                ("STAGED", u32::from(staged)),
                ("STAGED_SIZE", tokens * lanes * 2),
                ("STAGED_PARTS", tokens * lanes),
                ("FOLDED", tiles * rows / 2 * tokens),
                ("DIRECT", u32::from(lanes == 1)),
                ("SHARED", u32::from(lanes > 1 && !staged)),
                ("SUBGROUPS", u32::from(subgroups)),
                ("IMITATED", u32::from(self.imitated.is_some())),
                ("WIDTH", width),
                ("STEPS", width.ilog2()),
                ("PARTIALS", partials),
                ("SHARED_SIZE", if staged { rows * workgroup } else { rows * tokens * partials }),
                ("INTEGER_DOT", u32::from(integer_dot)),
                ("THROUGH", gates),
                ("THROUGH_SIZE", gates * tokens),
                ("TURNS", gates / (tiles * rows / 2)),
            ]);
            values.extend(more);
            // Rows, or columns of gates, that a workgroup computes.
            let in_group = if gated { gates } else { tiles * rows };
            made.push(Tile { tokens, in_group, for_prompts: false, kernel: self.get(Name::Product, values)? });
        }
        Ok(made)
    }

    /// Products of prompts with cooperative matrices, if the shape has them and 16-bit floats can hold what is multiplied.
    fn cooperative(&mut self, more: &Values) -> Result<Option<Tile>, DeviceFault> {
        let Shape { cooperative: Some(side), .. } = self.shape else { return Ok(None) };
        let (Some(tokens), Some((_, most))) = (self.shape.cooperative_tokens(), self.gpu.about.subgroup) else {
            return Ok(None);
        };
        let holds = |name| more.get(name).is_some_and(|&value| value != 0);
        if !holds("SCALED") && !holds("F16") {
            return Ok(None);
        }
        let rows = COOPERATIVE_ROWS;
        let mut values = Values::from([
            ("COOPERATIVE", 1),
            // As many threads as four subgroups have at most.
            ("WORKGROUP", 4 * most),
            ("SIDE", side),
            ("ROWS", rows),
            ("TOKENS", tokens),
            ("DOWN", rows / 4 / side),
            ("ACROSS", tokens / side),
            // Lines of 32 values, and room between them.
            ("LEFT_SIZE", rows * 40),
            ("RIGHT_SIZE", tokens * 40),
            ("SUMS_SIZE", rows * tokens),
            ("INTEGER_DOT", u32::from(self.shape.integer_dot)),
        ]);
        values.extend(more);
        let in_group = if holds("GATED") { rows / 2 } else { rows };
        Ok(Some(Tile { tokens, in_group, for_prompts: true, kernel: self.get(Name::Product, values)? }))
    }

    fn layout(&mut self, bindings: &[(u32, Binding)]) -> wgpu::BindGroupLayout {
        if let Some(layout) = self.layouts.get(bindings) {
            return layout.clone();
        }
        let entry = |&(binding, kind): &(u32, Binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match kind {
                    Binding::Uniform => wgpu::BufferBindingType::Uniform,
                    Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Binding::Write => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<wgpu::BindGroupLayoutEntry> = bindings.iter().map(entry).collect();
        let layout = self
            .gpu
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        self.layouts.insert(bindings.to_vec(), layout.clone());
        layout
    }
}

/// How attention is shared between so many threads: positions of a page between those of a part, and queries between parts; pairs of a
/// head's values between those of a share, and queries between shares.
fn of_attention(threads: u32, values: &mut Values) {
    let value = |name| values.get(name).copied().unwrap_or(1).max(1);
    let half = value("HEAD") / 2;
    let queries = value("ROWS") * value("GROUP");
    let lanes = threads.min(PAGE_TOKENS as u32);
    let columns = half.next_power_of_two().min(threads);
    let (parts, shares) = ((threads / lanes).max(1), (threads / columns).max(1));
    values.extend([
        ("FOURS", u32::from(half.is_multiple_of(4))),
        ("QUERIES", queries),
        ("QUERY_SIZE", queries * half),
        ("SCORES_SIZE", queries * PAGE_TOKENS as u32),
        ("LANES", lanes),
        ("PARTS", parts),
        ("SCORES_EACH", queries.div_ceil(parts)),
        ("COLUMNS", columns),
        ("SHARE", half.div_ceil(columns)),
        ("SHARES", shares),
        ("QUERIES_EACH", queries.div_ceil(shares)),
    ]);
}

/// The text that reads blocks of several types, for a kernel that demands these values.
fn mixed(values: &Values) -> String {
    let names = ["FIRST_KIND", "SECOND_KIND", "THIRD_KIND"];
    let kinds = names.into_iter().filter_map(|name| values.get(name).copied().and_then(Packing::numbered));
    let mut union = values.clone();
    let mut parts = String::new();
    for (number, kind) in kinds.enumerate() {
        let mut own = Values::from([(kind.name(), 1)]);
        of_blocks(&mut own);
        if own.contains_key("HALVES") {
            union.extend(
                ["FIRST_HALVES", "SECOND_HALVES", "THIRD_HALVES"].into_iter().nth(number).map(|name| (name, 1)),
            );
        }
        let mut text = expand(include_str!("quants.wgsl"), &own);
        for name in ["block_at(", "quants[", "scales["] {
            let (stem, bracket) = name.split_at(name.len() - 1);
            if number > 0 || stem == "block_at" {
                text = text.replace(name, &format!("{stem}_{number}{bracket}"));
            }
        }
        parts += &text;
    }
    [include_str!("block.wgsl"), include_str!("mixed.wgsl")].map(|text| expand(text, &union)).concat() + &parts
}

/// What `quants.wgsl` must know of the blocks of a type: words that lie together, and what is taken off values, in all four bytes.
fn of_blocks(values: &mut Values) {
    let narrow = |name, kind, more: &[(&'static str, u32)]| {
        let bias = narrow::centre(kind).map_or(0, |centre| u32::from(128 - centre) * 0x0101_0101);
        (name, [more, &[("BIAS", bias)]].concat())
    };
    let known = [
        ("F16", vec![("SIXTEEN", 1)]),
        ("BF16", vec![("SIXTEEN", 1)]),
        ("NIBBLES", vec![("OFFSET", 1)]),
        ("BYTES", vec![("PAIRED", 1)]),
        narrow("Q4_0", TensorType::Q4_0, &[("PAIRED", 1)]),
        narrow("Q5_0", TensorType::Q5_0, &[("FIFTHS", 1), ("PAIRED", 3)]),
        narrow("Q5_1", TensorType::Q5_1, &[("FIFTHS", 1), ("OFFSET", 1)]),
        narrow("Q4_K", TensorType::Q4_K, &[("SUPER", 5), ("OFFSET", 1)]),
        narrow("Q5_K", TensorType::Q5_K, &[("SUPER", 13), ("FIFTHS", 1), ("OFFSET", 1)]),
        narrow("Q6_K", TensorType::Q6_K, &[("SUPER", 21), ("HALVES", 1)]),
    ];
    let of_this = known.into_iter().filter(|(name, _)| values.contains_key(name));
    let more: Vec<(&'static str, u32)> = of_this.flat_map(|(_, more)| more).collect();
    values.extend(more);
    // Of several types what any of them demands of the whole kernel.
    for name in ["FIRST_KIND", "SECOND_KIND", "THIRD_KIND"] {
        let Some(kind) = values.get(name).copied().and_then(Packing::numbered) else { continue };
        let mut own = Values::from([(kind.name(), 1)]);
        of_blocks(&mut own);
        values.extend(["OFFSET", "HALVES"].into_iter().filter(|name| own.contains_key(name)).map(|name| (name, 1)));
    }
}

/// Bindings as the text declares them.
fn bindings(source: &str) -> Vec<(u32, Binding)> {
    let declared = source.lines().filter_map(|line| line.trim().strip_prefix("@group(0) @binding("));
    declared
        .filter_map(|rest| {
            let (number, rest) = rest.split_once(')')?;
            let kind = if rest.contains("var<uniform>") {
                Binding::Uniform
            } else if rest.contains("read_write>") {
                Binding::Write
            } else {
                Binding::Read
            };
            Some((number.parse().ok()?, kind))
        })
        .collect()
}
