//! The attention cache on a card: two buffers for each layer, keys and values, in pages.

use crate::backend::Pages;
use crate::device::pages::{PageTable, page_bytes, pages_in, runs};
use crate::fault::DeviceFault;
use crate::model::Parameters;

use super::gpu::Gpu;
use super::graph::LayerCache;

pub(super) struct Cache {
    pub(super) layers: Vec<LayerCache>,
    table: PageTable,
    page_bytes: u64,
}

impl Cache {
    /// A cache that can grow to so many pages, or to what a kernel can see of one buffer.
    pub(super) fn new(gpu: &Gpu, p: &Parameters, most: usize) -> Result<Self, DeviceFault> {
        let page_bytes = page_bytes(p);
        let visible = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size) / page_bytes;
        let table = PageTable::new(most.min(usize::try_from(visible).unwrap_or(usize::MAX)));
        Ok(Self { layers: layers(gpu, p, table.len())?, table, page_bytes })
    }

    pub(super) fn take(&mut self, count: usize) -> Option<Pages> {
        self.table.take(count)
    }

    /// Gets memory for so many pages more, at least; `false` if that is more than there may be.
    pub(super) fn grow(&mut self, gpu: &Gpu, p: &Parameters, count: usize) -> Result<bool, DeviceFault> {
        let room = pages_in(gpu.room(), p);
        let Some(size) = self.table.size_for(count, room) else { return Ok(false) };
        let grown = layers(gpu, p, size)?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let bytes = self.table.len() as u64 * self.page_bytes;
        for (old, new) in self.layers.iter().zip(&grown) {
            encoder.copy_buffer_to_buffer(&old.keys, 0, &new.keys, 0, bytes);
            encoder.copy_buffer_to_buffer(&old.values, 0, &new.values, 0, bytes);
            // The memory goes back to the driver, which may give it to anybody.
            encoder.clear_buffer(&old.keys, 0, None);
            encoder.clear_buffer(&old.values, 0, None);
        }
        let submission = gpu.submit(encoder);
        gpu.wait(submission)?;
        self.layers = grown;
        self.table.grown_to(size);
        Ok(true)
    }

    /// Overwrites pages with zeros.
    pub(super) fn wipe(&self, encoder: &mut wgpu::CommandEncoder, pages: &Pages) {
        for (first, count) in runs(pages) {
            let (at, bytes) = (first * self.page_bytes, count * self.page_bytes);
            for layer in &self.layers {
                encoder.clear_buffer(&layer.keys, at, Some(bytes));
                encoder.clear_buffer(&layer.values, at, Some(bytes));
            }
        }
    }

    pub(super) fn give_back(&mut self, pages: Pages) {
        self.table.give_back(pages);
    }
}

fn layers(gpu: &Gpu, p: &Parameters, pages: usize) -> Result<Vec<LayerCache>, DeviceFault> {
    let bytes = pages as u64 * page_bytes(p);
    let what = "the attention cache";
    let one = |_| Ok(LayerCache { keys: gpu.storage(what, bytes)?, values: gpu.storage(what, bytes)? });
    (0..p.layers).map(one).collect()
}
