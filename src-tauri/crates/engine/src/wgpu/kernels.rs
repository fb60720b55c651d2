//! The kernels, written out for a shape and compiled when they are first wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::device::plan::{Name, Values};
use crate::fault::DeviceFault;

use super::gpu::Gpu;
use super::shape::Shape;
use super::template::expand;

fn source(name: Name) -> &'static str {
    match name {
        Name::Embed => include_str!("embed.wgsl"),
        Name::Prepare => include_str!("prepare.wgsl"),
        Name::Product => include_str!("product.wgsl"),
        Name::Heads => include_str!("heads.wgsl"),
        Name::Attention => include_str!("attention.wgsl"),
        Name::Route => include_str!("route.wgsl"),
        Name::Combine => include_str!("combine.wgsl"),
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

    /// The kernels that do an operation, by the number of tokens that each is made for; a single one for kernels without tiles.
    pub(super) fn of(&mut self, name: Name, values: &Values) -> Result<Vec<(u32, Arc<Kernel>)>, DeviceFault> {
        let threads = self.shape.threads;
        let mut values = values.clone();
        match name {
            // Experts' tokens are not side by side.
            Name::Product if values.contains_key("EXPERTS") => return self.products(&[1], &values),
            Name::Product => return self.products(&self.shape.tokens.clone(), &values),
            Name::Attention => {
                let head = values.get("HEAD").copied().unwrap_or_default();
                values.extend([
                    ("HALF", head / 2),
                    ("SHARE", (head / 2).div_ceil(threads)),
                    ("FOURS", u32::from(head.is_multiple_of(8))),
                ]);
            }
            _ => {}
        }
        values.insert("WORKGROUP", threads);
        Ok(vec![(1, self.get(name, values)?)])
    }

    /// A kernel for these values.
    fn get(&mut self, name: Name, values: Values) -> Result<Arc<Kernel>, DeviceFault> {
        let key = (name, values);
        if let Some(kernel) = self.made.get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let forms = if name == Name::Prepare || key.1.contains_key("FUSED") { include_str!("form.wgsl") } else { "" };
        let own = [forms, source(name)].map(|source| expand(source, &key.1)).concat();
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

    /// The products of a form, one kernel for each of these sizes of tiles, by its number of tokens.
    fn products(&mut self, sizes: &[u32], more: &Values) -> Result<Vec<(u32, Arc<Kernel>)>, DeviceFault> {
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
