//! A plan with its kernels compiled and its buffers bound.

use std::sync::Arc;

use crate::backend::Work;
use crate::device::plan::{self, Grid, Over, Plan};
use crate::device::step::Size;
use crate::device::{Memory, weights};
use crate::fault::DeviceFault;

use super::gpu::Gpu;
use super::kernels::{Kernel, Kernels};

pub(super) type Scratch = plan::Scratch<wgpu::Buffer>;
pub(super) type LayerCache = plan::LayerCache<wgpu::Buffer>;
pub(super) type Weights = weights::Weights<wgpu::Buffer>;

impl Memory for Gpu {
    type Buffer = wgpu::Buffer;

    fn most_bytes(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size
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

/// Workgroups of a kernel.
enum Groups {
    /// So many for each.
    Each(u32),
    /// One for so many of them.
    Shared(u32),
    /// So many tiles, each of them for several tokens.
    Tiles(u32),
}

struct Bound {
    /// By the number of tokens that each is made for; a single one for kernels without tiles.
    kernels: Vec<(u32, Arc<Kernel>)>,
    group: wgpu::BindGroup,
    groups: Groups,
    over: Over,
    bytes: u64,
}

/// A step.
pub(super) struct Graph {
    ops: Vec<Bound>,
    /// Those that find something among logits come last.
    finding: usize,
    across: u32,
    /// Experts that a token asks.
    used: u32,
}

impl Graph {
    /// Compiles what was not compiled yet and binds everything.
    pub(super) fn bind(gpu: &Gpu, kernels: &mut Kernels, plan: Plan<wgpu::Buffer>) -> Result<Self, DeviceFault> {
        const UNIFORM: usize = 32;
        let apart = (gpu.limits.min_uniform_buffer_offset_alignment as usize).max(UNIFORM);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = gpu.buffer("numbers of kernels", (plan.ops.len() * apart) as u64, usage)?;
        let mut bytes = Vec::with_capacity(plan.ops.len() * apart);
        let mut ops = Vec::with_capacity(plan.ops.len());
        let across = gpu.limits.max_compute_workgroups_per_dimension;
        let in_groups = kernels.shape.rows * (kernels.shape.workgroup / kernels.shape.lanes);
        let threads = kernels.shape.threads;
        for (index, op) in plan.ops.into_iter().enumerate() {
            let mut numbers = op.numbers;
            let groups = match op.grid {
                Grid::Each(groups) => Groups::Each(groups),
                Grid::Threads(count) => Groups::Each(count.div_ceil(threads)),
                Grid::One => Groups::Shared(threads),
                Grid::Rows(rows) => {
                    let tiles = rows.div_ceil(in_groups);
                    numbers[5] = tiles.min(across);
                    Groups::Tiles(tiles)
                }
            };
            bytes.extend(numbers.iter().flat_map(|word| word.to_le_bytes()));
            bytes.resize((index + 1) * apart, 0);
            let kernels = kernels.of(op.kernel, &op.values)?;
            let Some((_, kernel)) = kernels.first() else { continue };
            let uniform = wgpu::BufferBinding {
                buffer: &uniforms,
                offset: (index * apart) as u64,
                size: std::num::NonZeroU64::new(UNIFORM as u64),
            };
            let mut entries =
                vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) }];
            let wanted = op.buffers.iter().filter(|(binding, _)| kernel.bindings.contains(binding));
            let mut bound = UNIFORM as u64;
            for (binding, buffer) in wanted {
                entries.push(wgpu::BindGroupEntry { binding: *binding, resource: buffer.as_entire_binding() });
                bound += buffer.size();
            }
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &kernel.layout,
                entries: &entries,
            });
            ops.push(Bound { kernels, group, groups, over: op.over, bytes: bound });
        }
        gpu.queue.write_buffer(&uniforms, 0, &bytes);
        gpu.check()?;
        Ok(Self { ops, finding: plan.finding, across, used: plan.used })
    }

    /// Starts all kernels in one pass.
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder, size: Size) -> Work {
        let mut work = Work::default();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let ops = if size.find { &self.ops[..] } else { &self.ops[..self.finding.min(self.ops.len())] };
        for op in ops {
            let count = size.count(op.over, self.used);
            if count == 0 {
                continue;
            }
            // The smallest tile that takes all, or the largest there is.
            let best = op.kernels.iter().find(|(tokens, _)| *tokens >= count).or(op.kernels.last());
            let Some((tokens, kernel)) = best else { continue };
            pass.set_pipeline(&kernel.pipeline);
            pass.set_bind_group(0, &op.group, &[]);
            match op.groups {
                Groups::Shared(each) => pass.dispatch_workgroups(count.div_ceil(each), 1, 1),
                Groups::Each(groups) => pass.dispatch_workgroups(groups, count, 1),
                Groups::Tiles(tiles) => {
                    let across = tiles.min(self.across);
                    pass.dispatch_workgroups(across, count.div_ceil(*tokens), tiles.div_ceil(across));
                }
            }
            work.dispatches += 1;
            work.bytes_bound += op.bytes;
        }
        work
    }
}
