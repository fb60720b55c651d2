//! Kernels and the whole model against the CPU backend, on every adapter of this machine.

mod attention;
mod cooperative;
mod faults;
mod gates;
mod kernels;
mod leftovers;
mod others;
mod rig;
mod subgroups;
mod whole;

use super::*;
use crate::gguf::Limits;
use crate::synthetic;

/// The adapters to try. Where there is none a test says so and is through, unless the machine is one that must have one.
fn adapters() -> Vec<usize> {
    let found = gpu::enumerate();
    if found.is_empty() {
        assert!(std::env::var_os("CHRYSALIS_REQUIRE_GPU").is_none(), "there must be a Vulkan adapter here");
        println!("skipped: no Vulkan adapter");
    }
    (0..found.len()).collect()
}

fn tiny() -> Model {
    Model::read(&mut synthetic::tiny().as_slice(), Limits::default()).unwrap()
}

fn open(model: Model, adapter: usize, context: u32, tuning: &Tuning) -> Wgpu {
    let options = Options { threads: 1, context, max_sequences: 4 };
    let wish = Wish { adapter: Some(adapter.to_string()), software: true };
    Wgpu::new(model, &options, &wish, tuning).unwrap()
}

/// All words of a buffer.
fn read(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<u32> {
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let back = gpu.buffer("a test", buffer.size(), usage).unwrap();
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &back, 0, buffer.size());
    let submission = gpu.queue.submit([encoder.finish()]);
    back.map_async(wgpu::MapMode::Read, .., |_| {});
    gpu.wait(submission).unwrap();
    let view = back.get_mapped_range(..).unwrap();
    view.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}
