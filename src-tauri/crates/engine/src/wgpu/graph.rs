//! A plan with its kernels compiled and its buffers bound.

use crate::backend::Work;
use crate::device::plan::{self, Grid, Over, Plan, When};
use crate::device::share::{Extent, Share, Shares};
use crate::device::step::Size;
use crate::device::{Abilities, GATES, Memory, weights};
use crate::fault::DeviceFault;

use super::gpu::{Gpu, MIXED_BUFFERS};
use super::kernels::{Kernels, Tile};

pub(super) type Scratch = plan::Scratch<wgpu::Buffer>;
pub(super) type LayerCache = plan::LayerCache<wgpu::Buffer>;
pub(super) type Weights = weights::Weights<wgpu::Buffer>;

impl Memory for Gpu {
    type Buffer = wgpu::Buffer;

    fn most_bytes(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size
    }

    fn abilities(&self) -> Abilities {
        let mixed = self.limits.max_storage_buffers_per_shader_stage >= MIXED_BUFFERS;
        Abilities { gated: true, slice: Some(self.slice), mixed, routed: true }
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<wgpu::Buffer, DeviceFault> {
        self.storage(what, bytes)
    }

    fn write(&self, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        self.queue.write_buffer(buffer, at, bytes);
        self.check()
    }

    fn settle(&self) -> Result<(), DeviceFault> {
        let submission = self.queue.submit([]);
        self.wait(submission)
    }
}

impl Extent for wgpu::Buffer {
    fn extent(&self) -> u64 {
        self.size()
    }

    fn is(&self, other: &Self) -> bool {
        self == other
    }
}

/// Workgroups of a kernel.
enum Groups {
    /// So many for each.
    Each(u32),
    /// One for so many of them.
    Shared(u32),
    /// For so many rows, of several tokens together.
    Tiles(u32),
    /// So many for each, as often as the longest has slices, but no more than so often.
    Slices(u32, u32),
}

struct Bound {
    /// From few tokens to many; a single one for kernels without tiles.
    kernels: Vec<Tile>,
    group: wgpu::BindGroup,
    groups: Groups,
    over: Over,
    when: When,
    shares: Vec<Share>,
}

impl Bound {
    /// The kernel for prompts, if there is one, for a prompt however short, as its results are others. Else the smallest tile that takes
    /// all, or the largest there is.
    fn kernel_for(&self, count: u32, prompt: bool) -> Option<&Tile> {
        let for_prompts = self.kernels.last().filter(|tile| prompt && tile.for_prompts);
        let mut others = self.kernels.iter().filter(|tile| !tile.for_prompts);
        for_prompts.or_else(|| others.clone().find(|tile| tile.tokens >= count)).or_else(|| others.next_back())
    }
}

/// A step.
pub(super) struct Graph {
    ops: Vec<Bound>,
    /// Those that find something among logits come last.
    finding: usize,
    across: u32,
    /// Experts that a token asks.
    used: u32,
    alone: u32,
    slice: u32,
}

impl Graph {
    /// Compiles what was not compiled yet and binds everything.
    pub(super) fn bind(
        gpu: &Gpu,
        kernels: &mut Kernels,
        plan: Plan<wgpu::Buffer>,
        shares: &Shares<wgpu::Buffer>,
    ) -> Result<Self, DeviceFault> {
        const UNIFORM: usize = 32;
        let apart = (gpu.limits.min_uniform_buffer_offset_alignment as usize).max(UNIFORM);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = gpu.buffer("numbers of kernels", (plan.ops.len() * apart) as u64, usage)?;
        let mut bytes = Vec::with_capacity(plan.ops.len() * apart);
        let mut ops = Vec::with_capacity(plan.ops.len());
        let across = gpu.limits.max_compute_workgroups_per_dimension;
        let threads = kernels.shape.threads;
        for (index, op) in plan.ops.into_iter().enumerate() {
            let mut numbers = op.numbers;
            let kernels = kernels.of(op.kernel, &op.values, op.over)?;
            let Some(Tile { kernel, in_group, .. }) = kernels.first() else { continue };
            let groups = match op.grid {
                Grid::Each(groups) => Groups::Each(groups),
                Grid::Threads(count) => Groups::Each(count.div_ceil(threads)),
                Grid::One => Groups::Shared(threads),
                Grid::Rows(rows) => Groups::Tiles(rows),
                Grid::Gates(blocks) => Groups::Tiles(blocks * GATES as u32),
                Grid::Slices(groups, most) => Groups::Slices(groups, most),
            };
            if let Groups::Tiles(rows) = groups {
                // Kernels for more tokens have larger workgroups, if any: fewer lie side by side then, and none behind.
                numbers[5] = rows.div_ceil(*in_group).min(across);
            }
            bytes.extend(numbers.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize((index + 1) * apart, 0);
            let uniform = wgpu::BufferBinding {
                buffer: &uniforms,
                offset: (index * apart) as u64,
                size: std::num::NonZeroU64::new(UNIFORM as u64),
            };
            let mut entries =
                vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
            let wanted = op.buffers.iter().filter(|(binding, _)| kernel.bindings.contains(binding));
            let mut bound = Vec::new();
            for (binding, buffer) in wanted {
                entries.push(wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() });
                bound.push(shares.of(&op, *binding, buffer));
            }
            let group = gpu.group(&kernel.layout, &entries);
            ops.push(Bound { kernels, group, groups, over: op.over, when: op.when, shares: bound });
        }
        gpu.queue.write_buffer(&uniforms, 0, &bytes);
        gpu.check()?;
        Ok(Self { ops, finding: plan.finding, across, used: plan.used, alone: plan.alone, slice: plan.slice })
    }

    /// Starts all kernels in one pass.
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder, size: Size) -> Work {
        let mut work = Work::default();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let ops = if size.find { &self.ops[..] } else { &self.ops[..self.finding.min(self.ops.len())] };
        for op in ops {
            let count = size.count(op.over, self.used);
            if count == 0 || !op.when.holds(size, self.slice, self.alone) {
                continue;
            }
            let Some(Tile { tokens, in_group, kernel, .. }) = op.kernel_for(count, size.prompt) else { continue };
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &op.group, &[]);
            match op.groups {
                Groups::Shared(each) => pass.dispatch_workgroups(count.div_ceil(each), 1, 1),
                Groups::Each(groups) => pass.dispatch_workgroups(groups, count, 1),
                Groups::Slices(groups, most) => {
                    pass.dispatch_workgroups(groups * size.longest.div_ceil(self.slice).min(most), count, 1);
                }
                Groups::Tiles(rows) => {
                    let tiles = rows.div_ceil(*in_group);
                    let across = tiles.min(self.across);
                    pass.dispatch_workgroups(across, count.div_ceil(*tokens), tiles.div_ceil(across));
                }
            }
            work.dispatches += 1;
            work.bytes_bound += op.shares.iter().map(|share| share.bytes(size, self.used)).sum::<u64>();
        }
        work
    }
}
