//! The attention cache in main memory.

use half::f16;
use zeroize::Zeroize;

use crate::backend::{Batch, PAGE_TOKENS, Pages};
use crate::model::Parameters;

#[derive(Clone, Copy)]
pub(super) enum List {
    Key,
    Value,
}

/// Keys and values of all sequences, as 16-bit floats, in pages. A page holds, for each layer, keys and then values; of these for
/// each head the keys value after value, of each all tokens, so that tokens are computed side by side; the values token after token.
pub(super) struct Cache {
    pub(super) pages: Vec<Option<Box<[u16]>>>,
    pub(super) layers: usize,
    pub(super) kv_heads: usize,
    pub(super) head_size: usize,
}

impl Cache {
    pub(super) fn new(parameters: &Parameters, pages: usize) -> Self {
        let Parameters { layers, kv_heads, head_size, .. } = *parameters;
        Self { pages: std::iter::repeat_with(|| None).take(pages).collect(), layers, kv_heads, head_size }
    }

    /// Values of a page.
    pub(super) fn page_size(parameters: &Parameters) -> usize {
        parameters.layers * 2 * parameters.kv_heads * parameters.head_size * PAGE_TOKENS
    }

    pub(super) fn reserve(&mut self, count: usize) -> Option<Pages> {
        let free = self.pages.iter_mut().enumerate().filter(|(_, page)| page.is_none());
        let mut taken = Vec::with_capacity(count);
        let size = self.layers * 2 * self.kv_heads * self.head_size * PAGE_TOKENS;
        for (index, page) in free.take(count) {
            let mut memory = Vec::new();
            if memory.try_reserve_exact(size).is_err() {
                break;
            }
            memory.resize(size, 0);
            *page = Some(memory.into_boxed_slice());
            taken.push(index as u32);
        }
        let whole = taken.len() == count;
        let pages = Pages(taken);
        if whole {
            return Some(pages);
        }
        self.release(pages);
        None
    }

    pub(super) fn release(&mut self, pages: Pages) {
        for index in pages.0 {
            drop(self.wiped(index));
        }
    }

    /// Takes a page's memory, overwritten, out of use.
    pub(super) fn wiped(&mut self, index: u32) -> Option<Box<[u16]>> {
        let mut page = self.pages.get_mut(index as usize)?.take()?;
        page.zeroize();
        Some(page)
    }

    /// Where one head's keys or values begin.
    fn offset(&self, layer: usize, part: List, head: usize) -> usize {
        ((layer * 2 + part as usize) * self.kv_heads + head) * PAGE_TOKENS * self.head_size
    }

    /// One head's keys or values of a page; empty if there is no such page.
    pub(super) fn page(&self, pages: &Pages, index: usize, layer: usize, part: List, head: usize) -> &[u16] {
        let page = pages.0.get(index).and_then(|&page| self.pages[page as usize].as_deref());
        page.map_or(&[], |page| &page[self.offset(layer, part, head)..][..PAGE_TOKENS * self.head_size])
    }

    pub(super) fn write(&mut self, layer: usize, batch: &Batch<'_>, keys: &[f32], values: &[f32]) {
        let row_size = self.kv_heads * self.head_size;
        for (part, list) in [(List::Key, keys), (List::Value, values)] {
            for (row, entries) in batch.rows.iter().zip(list.chunks_exact(row_size)) {
                let position = row.position as usize;
                let Some(&page) = batch.sequences[row.sequence].0.get(position / PAGE_TOKENS) else { continue };
                let (first, apart) = match part {
                    List::Key => (position % PAGE_TOKENS, PAGE_TOKENS),
                    List::Value => (position % PAGE_TOKENS * self.head_size, 1),
                };
                for (head, entry) in entries.chunks_exact(self.head_size).enumerate() {
                    let offset = self.offset(layer, part, head);
                    let Some(page) = &mut self.pages[page as usize] else { continue };
                    for (bits, &value) in page[offset + first..].iter_mut().step_by(apart).zip(entry) {
                        *bits = f16::from_f32(value).to_bits();
                    }
                }
            }
        }
    }
}
