//! The attention cache on a card: two buffers for each layer, keys and values, in pages.
//!
//! A card's memory is the owner's desktop's too, so the cache begins small and doubles when sequences need more.

use crate::backend::{PAGE_TOKENS, Pages};
use crate::fault::DeviceFault;
use crate::model::Parameters;

use super::gpu::Gpu;
use super::graph::LayerCache;

/// Pages that there is memory for at first: a thousand tokens.
const FIRST: usize = 32;

pub(super) struct Cache {
    pub(super) layers: Vec<LayerCache>,
    /// Whose page is in use. As long as there is memory for.
    used: Vec<bool>,
    /// Most pages ever.
    most: usize,
    page_bytes: u64,
}

impl Cache {
    /// A cache that can grow to so many pages, or to what a kernel can see of one buffer.
    pub(super) fn new(gpu: &Gpu, p: &Parameters, most: usize) -> Result<Self, DeviceFault> {
        let page_bytes = page_bytes(p);
        let visible = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size) / page_bytes;
        let most = most.min(usize::try_from(visible).unwrap_or(usize::MAX));
        let first = most.min(FIRST);
        Ok(Self { layers: layers(gpu, p, first)?, used: vec![false; first], most, page_bytes })
    }

    /// Bytes that a cache begins with.
    pub(super) fn first_bytes(p: &Parameters, most: usize) -> u64 {
        page_bytes(p) * 2 * (p.layers * most.min(FIRST)) as u64
    }

    /// The lowest free pages, so that those of one sequence lie side by side for the most part.
    pub(super) fn take(&mut self, count: usize) -> Option<Pages> {
        let free: Vec<usize> = (0..self.used.len()).filter(|&page| !self.used[page]).take(count).collect();
        if free.len() < count {
            return None;
        }
        for &page in &free {
            self.used[page] = true;
        }
        Some(Pages(free.into_iter().map(|page| page as u32).collect()))
    }

    /// Gets memory for so many pages more, at least; `false` if that is more than there may be.
    pub(super) fn grow(&mut self, gpu: &Gpu, p: &Parameters, count: usize) -> Result<bool, DeviceFault> {
        let needed = self.used.iter().filter(|used| **used).count() + count;
        if needed > self.most {
            return Ok(false);
        }
        let wished = needed.max(self.used.len() * 2).min(self.most);
        let Some(size) = affordable(needed, wished, pages_in(gpu.room(), p)) else { return Ok(false) };
        let grown = layers(gpu, p, size)?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let bytes = self.used.len() as u64 * self.page_bytes;
        for (old, new) in self.layers.iter().zip(&grown) {
            encoder.copy_buffer_to_buffer(&old.keys, 0, &new.keys, 0, bytes);
            encoder.copy_buffer_to_buffer(&old.values, 0, &new.values, 0, bytes);
            // The memory goes back to the driver, which may give it to anybody.
            encoder.clear_buffer(&old.keys, 0, None);
            encoder.clear_buffer(&old.values, 0, None);
        }
        let submission = gpu.queue.submit([encoder.finish()]);
        gpu.wait(submission)?;
        self.layers = grown;
        self.used.resize(size, false);
        Ok(true)
    }

    /// Overwrites pages with zeros.
    pub(super) fn wipe(&self, encoder: &mut wgpu::CommandEncoder, pages: &Pages) {
        let mut sorted = pages.0.clone();
        sorted.sort_unstable();
        for run in sorted.chunk_by(|a, b| a + 1 == *b) {
            let Some(&first) = run.first() else { continue };
            let (at, bytes) = (u64::from(first) * self.page_bytes, run.len() as u64 * self.page_bytes);
            for layer in &self.layers {
                encoder.clear_buffer(&layer.keys, at, Some(bytes));
                encoder.clear_buffer(&layer.values, at, Some(bytes));
            }
        }
    }

    pub(super) fn give_back(&mut self, pages: Pages) {
        for page in pages.0 {
            if let Some(used) = self.used.get_mut(page as usize) {
                *used = false;
            }
        }
    }
}

/// Pages of all layers that there is room for; `None` if that is not known.
fn pages_in(room: Option<u64>, p: &Parameters) -> Option<u64> {
    room.map(|room| room / (page_bytes(p) * 2 * p.layers as u64).max(1))
}

/// How many pages a cache gets that needs some and would like more: for a moment the old one is there besides, so there must be room for
/// all of them. `None`: not even those that are needed.
fn affordable(needed: usize, wished: usize, room: Option<u64>) -> Option<usize> {
    let fits = |&pages: &usize| room.is_none_or(|room| pages as u64 <= room);
    [wished, needed].into_iter().find(fits)
}

/// Bytes of a page's keys, or values, of one layer.
fn page_bytes(p: &Parameters) -> u64 {
    (PAGE_TOKENS * p.kv_heads * p.head_size * 2) as u64
}

fn layers(gpu: &Gpu, p: &Parameters, pages: usize) -> Result<Vec<LayerCache>, DeviceFault> {
    let bytes = pages as u64 * page_bytes(p);
    let what = "the attention cache";
    let one = |_| Ok(LayerCache { keys: gpu.storage(what, bytes)?, values: gpu.storage(what, bytes)? });
    (0..p.layers).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_grows_by_what_there_is_room_for_or_not_at_all() {
        assert_eq!(affordable(40, 64, None), Some(64));
        assert_eq!(affordable(40, 64, Some(64)), Some(64));
        assert_eq!(affordable(40, 64, Some(63)), Some(40));
        assert_eq!(affordable(40, 64, Some(39)), None);
    }
}
