//! The kernels, written out for a shape and compiled when they are first wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fault::DeviceFault;

use super::gpu::Gpu;
use super::matrix::Packing;
use super::shape::Shape;
use super::template::{Values, expand};

/// Which kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Embed,
    Prepare,
    Product,
    Heads,
    Attention,
    Route,
    Combine,
    Penalise,
    Mask,
    Select,
}

impl Name {
    fn source(self) -> &'static str {
        match self {
            Self::Embed => include_str!("embed.wgsl"),
            Self::Prepare => include_str!("prepare.wgsl"),
            Self::Product => include_str!("product.wgsl"),
            Self::Heads => include_str!("heads.wgsl"),
            Self::Attention => include_str!("attention.wgsl"),
            Self::Route => include_str!("route.wgsl"),
            Self::Combine => include_str!("combine.wgsl"),
            Self::Penalise => include_str!("penalise.wgsl"),
            Self::Mask => include_str!("mask.wgsl"),
            Self::Select => include_str!("select.wgsl"),
        }
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

/// All that were wanted so far.
pub(super) struct Kernels {
    pub(super) gpu: Arc<Gpu>,
    pub(super) shape: Shape,
    made: BTreeMap<(Name, Values), Arc<Kernel>>,
    layouts: BTreeMap<Vec<(u32, Binding)>, wgpu::BindGroupLayout>,
    /// Text put before every kernel, for tests that need one which does not compile.
    pub(super) preamble: &'static str,
}

impl Kernels {
    pub(super) fn new(gpu: Arc<Gpu>, shape: Shape) -> Self {
        Self { gpu, shape, made: BTreeMap::new(), layouts: BTreeMap::new(), preamble: "" }
    }

    /// A kernel for these values, besides those that follow from the shape.
    pub(super) fn get(&mut self, name: Name, values: Values) -> Result<Arc<Kernel>, DeviceFault> {
        let key = (name, values);
        if let Some(kernel) = self.made.get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let forms = if name == Name::Prepare || key.1.contains_key("FUSED") { include_str!("form.wgsl") } else { "" };
        let own = [forms, name.source()].map(|source| expand(source, &key.1)).concat();
        let source = format!("{}{}\n{own}", self.preamble, include_str!("numbers.wgsl"));
        let bindings = bindings(&source);
        let layout = self.layout(&bindings);
        let named = format!("{name:?}").to_lowercase();
        let pipeline = self.gpu.pipeline(&named, &source, &layout)?;
        let bindings = bindings.into_iter().map(|(number, _)| number).collect();
        let kernel = Arc::new(Kernel { pipeline, layout, bindings });
        self.made.insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// Values of a kernel that is no product: a workgroup of so many threads.
    pub(super) fn plain(&self) -> Values {
        Values::from([("WORKGROUP", self.shape.threads)])
    }

    /// The products with matrices of a packing, one kernel for each of these sizes of tiles, by its number of tokens.
    pub(super) fn products(
        &mut self,
        packing: Packing,
        sizes: &[u32],
        more: &Values,
    ) -> Result<Vec<(u32, Arc<Kernel>)>, DeviceFault> {
        let Shape { workgroup, lanes, rows, subgroups, integer_dot, .. } = self.shape;
        let subgroups = subgroups && lanes == workgroup;
        let least = self.gpu.about.subgroup.map_or(1, |(least, _)| least.max(1));
        let partials = if subgroups { workgroup.div_ceil(least) } else { workgroup };
        let mut made = Vec::new();
        for &tokens in sizes {
            let mut values = Values::from([
                ("WORKGROUP", workgroup),
                ("LANES", lanes),
                ("TILES", workgroup / lanes),
                ("ROWS", rows),
                ("PAIRS", rows / 2),
                ("TOKENS", tokens),
                ("SHARED", u32::from(lanes > 1)),
                ("SUBGROUPS", u32::from(subgroups)),
                ("PARTIALS", partials),
                ("SHARED_SIZE", rows * tokens * partials),
                ("INTEGER_DOT", u32::from(integer_dot)),
                (packing.name(), 1),
                ("SCALED", u32::from(Form::of(packing) == Form::Q8)),
            ]);
            values.extend(more);
            made.push((tokens, self.get(Name::Product, values)?));
        }
        Ok(made)
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

/// The form of activations that rows of a matrix are multiplied with: as on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    F32,
    F16,
    Q8,
}

impl Form {
    pub(super) fn of(packing: Packing) -> Self {
        match packing {
            Packing::F32 => Self::F32,
            Packing::F16 => Self::F16,
            Packing::Nibbles | Packing::Bytes | Packing::Wide => Self::Q8,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q8 => "Q8",
        }
    }

    /// Bytes of a block of 32 values without its scales.
    pub(super) fn block_bytes(self) -> u64 {
        match self {
            Self::F32 | Self::F16 => 128,
            Self::Q8 => 32,
        }
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
