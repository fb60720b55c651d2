//! One card with one shape of kernels, for the checks of single kernels.

use super::*;
use crate::device::matrix::Form;
use crate::device::step::Size;
use crate::gguf::TensorType;

pub(super) use crate::wgpu::graph::LayerCache;

/// What stands in every output before a kernel writes it: no number, so that a place left out is seen.
pub(super) const POISON: u32 = 0x7fc0_dead;

/// Ways to cut kernels: as for software, as for cards, and sizes that fit nothing.
pub(super) fn shapes(about: &Adapter) -> Vec<Shape> {
    let shape = |workgroup, lanes, rows, tokens: &[u32], threads| Shape {
        workgroup,
        lanes,
        rows,
        tokens: tokens.to_vec(),
        threads,
        subgroups: false,
        integer_dot: true,
        cooperative: None,
        batch: 64,
    };
    // A driver that compiles slowly gets small tiles only.
    if !about.half_floats {
        let small = shape(32, 32, 2, &[1, 2], 16);
        return vec![
            Shape { integer_dot: false, ..shape(8, 1, 2, &[1, 2], 16) },
            Shape { subgroups: about.subgroup.is_some(), ..small },
        ];
    }
    let mut shapes = vec![
        Shape::of(about),
        shape(32, 1, 4, &[1, 4], 64),
        shape(64, 64, 4, &[1, 8], 64),
        shape(64, 16, 2, &[1, 3, 16], 16),
    ];
    shapes[1].integer_dot = false;
    if about.subgroup.is_some() {
        shapes.push(Shape { subgroups: true, ..shapes[2].clone() });
    }
    shapes
}

/// One card with one shape, and scratch memory for a model of these sizes.
pub(super) struct Rig {
    gpu: Arc<Gpu>,
    pub(super) kernels: Kernels,
    pub(super) parameters: Parameters,
    pub(super) scratch: Scratch,
    pub(super) results: u32,
}

impl Rig {
    pub(super) fn new(gpu: &Arc<Gpu>, shape: Shape, parameters: Parameters) -> Self {
        let results = 8;
        let kernels = Kernels::new(Arc::clone(gpu), shape);
        let scratch = Scratch::with_form(gpu, Form::F32, &parameters, 64, results).unwrap();
        let rig = Self { gpu: Arc::clone(gpu), kernels, parameters, scratch, results };
        for buffer in rig.scratch.all() {
            rig.poison(buffer);
        }
        rig
    }

    pub(super) fn poison(&self, buffer: &wgpu::Buffer) {
        let words = vec![POISON; buffer.size() as usize / 4];
        self.write(buffer, &words);
    }

    pub(super) fn write(&self, buffer: &wgpu::Buffer, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.gpu.queue.write_buffer(buffer, 0, &bytes);
    }

    pub(super) fn write_floats(&self, buffer: &wgpu::Buffer, values: &[f32]) {
        self.write(buffer, &values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>());
    }

    pub(super) fn floats(&self, values: &[f32]) -> wgpu::Buffer {
        let buffer = self.gpu.storage("a test", values.len() as u64 * 4).unwrap();
        self.write_floats(&buffer, values);
        buffer
    }

    pub(super) fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        read(&self.gpu, buffer)
    }

    pub(super) fn read_floats(&self, buffer: &wgpu::Buffer, count: usize) -> Vec<f32> {
        let words = self.read(buffer);
        assert!(words[count..].iter().all(|&word| word == POISON), "something was written behind the end");
        words[..count].iter().map(|&word| f32::from_bits(word)).collect()
    }

    /// Plans kernels and runs them for a batch.
    pub(super) fn run(&mut self, part: &Part<'_>, plan: impl FnOnce(&mut Builder<'_, wgpu::Buffer>)) {
        self.write(&self.scratch.step, &part.words());
        let mut builder = Builder::new(&self.parameters, &self.scratch, self.results);
        plan(&mut builder);
        let graph = Graph::bind(&self.gpu, &mut self.kernels, builder.finish(usize::MAX), &Shares::default()).unwrap();
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let size = Size { find: true, ..part.size() };
        graph.encode(&mut encoder, size);
        let submission = self.gpu.queue.submit([encoder.finish()]);
        self.gpu.wait(submission).unwrap();
    }
}

/// Runs a check on every adapter with every shape.
pub(super) fn everywhere(mut check: impl FnMut(&Arc<Gpu>, Shape)) {
    for number in adapters() {
        let (adapter, about) = gpu::enumerate().swap_remove(number);
        let gpu = Arc::new(Gpu::open(&adapter, about, Duration::from_mins(1)).unwrap());
        for shape in shapes(&gpu.about) {
            check(&gpu, shape);
        }
    }
}

/// Whether its driver compiles fast enough for all sizes.
pub(super) fn is_quick(gpu: &Gpu) -> bool {
    gpu.about.half_floats
}

/// Types whose kernels differ; with the first shape all types, as each is packed in a way of its own.
pub(super) fn kinds(gpu: &Gpu, shape: &Shape) -> Vec<TensorType> {
    let different = [TensorType::F32, TensorType::F16, TensorType::Q4_1, TensorType::Q8_0, TensorType::Q6_K];
    let first = shapes(&gpu.about).first().is_some_and(|first| first == shape);
    if first { TensorType::ALL.to_vec() } else { different.to_vec() }
}
