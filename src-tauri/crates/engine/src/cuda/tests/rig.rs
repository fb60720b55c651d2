//! The emulated card, for the checks of single kernels.

use super::*;
use crate::device::step::Size;
use crate::gguf::TensorType;

pub(super) type LayerCache = crate::device::plan::LayerCache<Buffer>;

/// What stands in every output before a kernel writes it: no number, so that a place left out is seen.
pub(super) const POISON: u32 = 0x7fc0_dead;

/// Kernels of CUDA are cut in one way only.
#[derive(Clone, Debug)]
pub(super) struct Shape;

/// The card, and scratch memory for a model of these sizes.
pub(super) struct Rig {
    card: Card,
    pub(super) parameters: Parameters,
    pub(super) scratch: Scratch<Buffer>,
    pub(super) results: u32,
}

impl Rig {
    pub(super) fn new(card: &Card, _: Shape, parameters: Parameters) -> Self {
        let results = 8;
        let scratch = Scratch::with_form(card, Form::F32, &parameters, 64, results).unwrap();
        let rig = Self { card: card.clone(), parameters, scratch, results };
        for buffer in rig.scratch.all() {
            rig.poison(buffer);
        }
        rig
    }

    pub(super) fn poison(&self, buffer: &Buffer) {
        self.write(buffer, &vec![POISON; buffer.bytes() as usize / 4]);
    }

    pub(super) fn write(&self, buffer: &Buffer, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.card.write(buffer, 0, &bytes).unwrap();
    }

    pub(super) fn write_floats(&self, buffer: &Buffer, values: &[f32]) {
        self.write(buffer, &values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>());
    }

    pub(super) fn floats(&self, values: &[f32]) -> Buffer {
        let buffer = self.card.allocate("a test", values.len() as u64 * 4).unwrap();
        self.write_floats(&buffer, values);
        buffer
    }

    pub(super) fn read(&self, buffer: &Buffer) -> Vec<u32> {
        read(&self.card, buffer)
    }

    pub(super) fn read_floats(&self, buffer: &Buffer, count: usize) -> Vec<f32> {
        let words = self.read(buffer);
        assert!(words[count..].iter().all(|&word| word == POISON), "something was written behind the end");
        words[..count].iter().map(|&word| f32::from_bits(word)).collect()
    }

    /// Plans kernels and runs them for a batch.
    pub(super) fn run(&mut self, part: &Part<'_>, plan: impl FnOnce(&mut Builder<'_, Buffer>)) {
        self.write(&self.scratch.step, &part.words());
        let mut builder = Builder::new(&self.parameters, &self.scratch, self.results);
        plan(&mut builder);
        let graph = Graph::new(builder.finish(usize::MAX), &Shares::default()).unwrap();
        graph.start(&self.card, Size { find: true, ..part.size() }).unwrap();
    }
}

/// All words of a buffer.
pub(super) fn read(card: &Card, buffer: &Buffer) -> Vec<u32> {
    let mut bytes = vec![0; buffer.bytes() as usize];
    card.read(buffer, 0, &mut bytes, DEADLINE).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Runs a check.
pub(super) fn everywhere(mut check: impl FnMut(&Card, Shape)) {
    if let Some(card) = card() {
        check(&Card::new(card), Shape);
    }
}

pub(super) fn is_quick(_: &Card) -> bool {
    true
}

/// All types, as each is packed in a way of its own.
pub(super) fn kinds(_: &Card, _: &Shape) -> Vec<TensorType> {
    TensorType::ALL.to_vec()
}
