//! What kernels leave in the memory that a workgroup shares. A listener looks there, as another program could on cards that don't
//! clear it (CVE-2023-4969): so one client's numbers could reach whoever comes next.

use super::whole::tunings;
use super::*;
use crate::model::Architecture;
use crate::synthetic::Stored;

/// Words that every card's workgroups can share.
const WORDS: u64 = 4096;
/// Many more than a card works off side by side.
const GROUPS: u32 = 256;
const CANARY: u32 = 0x5ec2_e7ed;

/// Writes to all of the shared memory, long enough that every thread of a software adapter has its turn.
const SPEAKER: &str = "
@group(0) @binding(0) var<storage, read_write> said: array<u32>;
var<workgroup> shared_words: array<u32, 4096>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = said[0];
    for (var turn = 0u; turn < 8u; turn++) {
        for (var at = thread; at < 4096u; at += 64u) {
            shared_words[at] = word;
        }
        workgroupBarrier();
    }
    said[1u + group.x * 4096u + thread] = shared_words[4095u - thread];
}";

/// Reads what it never wrote.
const LISTENER: &str = "
@group(0) @binding(0) var<storage, read_write> heard: array<u32>;
var<workgroup> shared_words: array<u32, 4096>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    for (var at = thread; at < 4096u; at += 64u) {
        heard[1u + group.x * 4096u + at] = shared_words[at];
    }
}";

/// Another program on the card, as far as the memory of its workgroups goes.
struct Other<'a> {
    gpu: &'a Gpu,
    speaker: wgpu::ComputePipeline,
    listener: wgpu::ComputePipeline,
    words: wgpu::Buffer,
}

impl<'a> Other<'a> {
    fn new(gpu: &'a Gpu) -> Self {
        let pipeline = |source: &str| {
            let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(source.into()),
            });
            gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: None,
            })
        };
        let words = gpu.storage("a test", 4 * (1 + u64::from(GROUPS) * WORDS)).unwrap();
        Self { gpu, speaker: pipeline(SPEAKER), listener: pipeline(LISTENER), words }
    }

    fn run(&self, pipeline: &wgpu::ComputePipeline) {
        let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: self.words.as_entire_binding() }],
        });
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(GROUPS, 1, 1);
        drop(pass);
        self.gpu.wait(self.gpu.submit(encoder)).unwrap();
    }

    fn say(&self, word: u32) {
        self.gpu.queue.write_buffer(&self.words, 0, &word.to_le_bytes());
        self.run(&self.speaker);
    }

    /// What is there and is not zero.
    fn hear(&self) -> Vec<u32> {
        self.gpu.queue.write_buffer(&self.words, 0, &[0; 4]);
        self.run(&self.listener);
        read(self.gpu, &self.words).into_iter().skip(1).filter(|&word| word != 0).collect()
    }
}

fn family(architecture: Architecture, stored: Stored) -> Model {
    Model::read(&mut synthetic::family(architecture, stored).as_slice(), Limits::default()).unwrap()
}

#[test]
fn kernels_leave_nothing_where_the_next_kernel_could_find_it() {
    let mut heard_anything = false;
    let cuts = |it| tunings(it).into_iter().enumerate().map(move |(number, cut)| (it, number, cut));
    for (adapter, number, tuning) in adapters().into_iter().flat_map(cuts) {
        let mut models = vec![tiny()];
        // Kernels of other families are cut as these are.
        if number == 0 {
            models.push(family(Architecture::Qwen3Moe, Stored::Blocks));
            models.push(family(Architecture::Gemma3, Stored::Floats));
        }
        for model in models {
            let architecture = model.parameters().architecture;
            let mut card = open(model, adapter, 128, &tuning);
            let gpu = Arc::clone(&card.gpu);
            let other = Other::new(&gpu);
            // That there is something to hear where nobody cleans up.
            other.say(CANARY);
            let heard = other.hear().iter().filter(|&&word| word == CANARY).count();
            heard_anything |= heard > 0;
            let mut rounds = 0;
            other.say(0);
            while !other.hear().is_empty() {
                other.say(0);
                rounds += 1;
                assert!(rounds < 50, "{} doesn't get quiet", gpu.about.name);
            }
            let pages = card.reserve(80).unwrap();
            for (first, count, prompt) in [(0, 70, card.reads_otherwise()), (70, 1, false), (71, 4, false)] {
                let wanted = |at| if at + 2 < count { Wanted::Nothing } else { Wanted::Candidates };
                let rows: Vec<Row> = (0..count)
                    .map(|at| Row {
                        token: 3 + at as u32 * 7 % 500,
                        position: first + at as u32,
                        sequence: 0,
                        prompt,
                        wanted: wanted(at),
                    })
                    .collect();
                card.forward(&Batch { rows: &rows, sequences: &[&pages], penalties: &[], masks: &[] }).unwrap();
            }
            let left = other.hear();
            println!(
                "{}: {architecture:?}: {heard} words heard of who leaves them, {} of ours",
                gpu.about.name,
                left.len()
            );
            assert!(
                left.is_empty(),
                "{} words on {}, {:x?}",
                left.len(),
                gpu.about.describe(),
                &left[..left.len().min(8)]
            );
            card.release(pages);
        }
    }
    assert!(heard_anything || adapters().is_empty(), "nothing is heard on any card here: this test could not fail");
}
