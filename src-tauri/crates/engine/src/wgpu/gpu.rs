//! One open card: orders to it, and what it complains about.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::adapter::{Adapter, AdapterKind};
use crate::device::budget;
use crate::device::plan::MOST_SLICES;
use crate::fault::DeviceFault;

use super::{cooperative, memory};

/// What the driver said last, noted by its callbacks.
#[derive(Clone)]
enum Trouble {
    Lost(String),
    /// Lost, because the driver itself had no memory for an order.
    LostForMemory,
    OutOfMemory,
    Complaint(String),
}

/// How the library words why it gave a card up; it tells the reason in no other way (`wgpu_hal::DeviceError`).
const NO_MEMORY: &str = "Out of memory";
const UNEXPECTED: &str = "Unexpected error variant";
/// The same when a card could not even be opened (`wgpu_core::device::DeviceError`).
const NO_MEMORY_LEFT: &str = "Not enough memory left";

/// An open card.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) about: Adapter,
    pub(super) limits: wgpu::Limits,
    adapter: wgpu::Adapter,
    /// Positions of a slice of attention.
    pub(super) slice: u32,
    /// What it was asked for.
    pub(super) made: Made,
    trouble: Arc<Mutex<Option<Trouble>>>,
    deadline: Mutex<Duration>,
}

/// How often a card was asked for what costs time or memory, for tests: steps that only repeat ask for nothing new.
#[derive(Default)]
pub(super) struct Made {
    buffers: AtomicU64,
    groups: AtomicU64,
    pipelines: AtomicU64,
    submissions: AtomicU64,
}

impl Made {
    /// Buffers, bind groups and pipelines.
    #[cfg(test)]
    pub(super) fn objects(&self) -> [u64; 3] {
        [&self.buffers, &self.groups, &self.pipelines].map(|count| count.load(Ordering::Relaxed))
    }

    /// Orders handed over.
    #[cfg(test)]
    pub(super) fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }
}

/// All cards, in the order of their numbers.
pub(super) fn enumerate() -> Vec<(wgpu::Adapter, Adapter)> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Neither validation layers nor labels: what the driver is told is what the kernels need.
        flags: wgpu::InstanceFlags::empty(),
        // Memory beyond this share of what the system grants us would be taken from the owner's desktop or game.
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
            for_resource_creation: Some(95),
            for_device_loss: None,
        },
        // Of DirectX' compilers the one that is part of Windows; by default any other that is found would be loaded (docs/adr/0030).
        backend_options: wgpu::BackendOptions {
            dx12: wgpu::Dx12BackendOptions { shader_compiler: wgpu::Dx12Compiler::Fxc, ..Default::default() },
            ..Default::default()
        },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let found = now(instance.enumerate_adapters(backends));
    found
        .into_iter()
        .map(|adapter| {
            let about = describe(&adapter);
            (adapter, about)
        })
        .collect()
}

/// Positions of a slice of attention at least: so few that a card has enough to do with a single sequence.
const SLICE: u32 = 256;

/// Storage buffers that the kernel with the most of them has that there is no way around.
const STORAGE_BUFFERS: u32 = 9;
/// The same of the kernel of products with matrices of several types.
pub(super) const MIXED_BUFFERS: u32 = 13;
const WORKGROUP_MEMORY: u32 = 16 * 1024;

fn describe(adapter: &wgpu::Adapter) -> Adapter {
    let info = adapter.get_info();
    let limits = adapter.limits();
    let features = adapter.features();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    };
    let unusable = if limits.max_storage_buffers_per_shader_stage < STORAGE_BUFFERS {
        Some(format!("kernels need {STORAGE_BUFFERS} buffers, it has {}", limits.max_storage_buffers_per_shader_stage))
    } else if limits.max_compute_workgroup_storage_size < WORKGROUP_MEMORY {
        Some(format!(
            "kernels need {WORKGROUP_MEMORY} bytes of shared memory, it has {}",
            limits.max_compute_workgroup_storage_size
        ))
    } else {
        None
    };
    Adapter {
        name: info.name.trim().to_owned(),
        driver: if info.driver_info.is_empty() { info.driver } else { info.driver_info },
        api: match info.backend {
            wgpu::Backend::Vulkan => "Vulkan",
            wgpu::Backend::Dx12 => "DX12",
            _ => "other",
        },
        kind,
        vendor: info.vendor,
        device: Some(info.device).filter(|&number| number != 0),
        pci: Some(info.device_pci_bus_id).filter(|id| !id.is_empty()),
        binding_bytes: limits.max_storage_buffer_binding_size,
        buffer_bytes: limits.max_buffer_size,
        half_floats: features.contains(wgpu::Features::SHADER_F16),
        subgroup: features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((info.subgroup_min_size, info.subgroup_max_size)),
        cooperative: cooperative::side(adapter),
        unusable,
    }
}

/// Bytes that may be taken of a card's memory by whoever has nothing of it yet; `None` where the driver does not say.
pub(super) fn room(adapter: &wgpu::Adapter, about: &Adapter) -> Option<u64> {
    memory::ask(adapter, Some(0)).map(|memory| budget::room(&memory, about.kind))
}

impl Gpu {
    /// Opens a card for sequences of so many tokens.
    pub(super) fn open_for(
        context: u32,
        adapter: &wgpu::Adapter,
        about: Adapter,
        deadline: Duration,
    ) -> Result<Arc<Self>, DeviceFault> {
        let mut gpu = Self::open(adapter, about, deadline)?;
        gpu.slice_for(context);
        Ok(Arc::new(gpu))
    }

    /// Opens a card. Work that takes longer than `deadline` counts as hung.
    pub(super) fn open(adapter: &wgpu::Adapter, about: Adapter, deadline: Duration) -> Result<Self, DeviceFault> {
        let limits = adapter.limits();
        let mut features = if about.subgroup.is_some() { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if about.cooperative.is_some() {
            let (more, experimental) = cooperative::wanted();
            features |= more;
            experimental_features = experimental;
        }
        let opened = now(adapter.request_device(&wgpu::DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            experimental_features,
            ..wgpu::DeviceDescriptor::default()
        }));
        if opened.is_err() && about.cooperative.is_some() {
            // Nobody can do without a card for the sake of what is experimental.
            return Self::open(adapter, Adapter { cooperative: None, ..about }, deadline);
        }
        let (device, queue) = opened.map_err(|error| match error.to_string() {
            reason if reason.contains(NO_MEMORY_LEFT) => fault(Trouble::OutOfMemory),
            reason => DeviceFault::Refused { reason },
        })?;
        let trouble = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&trouble);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let what = match &error {
                wgpu::Error::OutOfMemory { .. } => Trouble::OutOfMemory,
                error => Trouble::Complaint(error.to_string()),
            };
            note(&noted, what);
        }));
        let noted = Arc::clone(&trouble);
        device.set_device_lost_callback(move |reason, message| {
            let message = if message.is_empty() { format!("{reason:?}").to_lowercase() } else { message };
            // Whatever was complained about before was its first sign.
            let lost = if message == NO_MEMORY { Trouble::LostForMemory } else { Trouble::Lost(message) };
            *lock(&noted) = Some(lost);
        });
        Ok(Self {
            device,
            queue,
            about,
            limits,
            adapter: adapter.clone(),
            slice: SLICE,
            made: Made::default(),
            trouble,
            deadline: Mutex::new(deadline),
        })
    }

    /// Bytes that may still be taken of the card's memory; `None` where the driver does not say, and only it can refuse.
    pub(super) fn room(&self) -> Option<u64> {
        let own = self.device.generate_allocator_report().map(|report| report.total_reserved_bytes);
        memory::ask(&self.adapter, own).map(|memory| budget::room(&memory, self.about.kind))
    }

    /// Cuts attention over so many positions into no more slices than there is room for.
    pub(super) fn slice_for(&mut self, context: u32) {
        self.slice = context.div_ceil(MOST_SLICES).next_multiple_of(SLICE).max(SLICE);
    }

    /// A buffer of at least so many bytes, all zero. `what` is for whoever reads that it did not fit.
    pub(super) fn buffer(
        &self,
        what: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceFault> {
        let size = bytes.next_multiple_of(16).max(16);
        if size > self.limits.max_buffer_size {
            return Err(DeviceFault::OutOfMemory {
                what,
                wanted: Some(size),
                limit: Some(self.limits.max_buffer_size),
            });
        }
        self.made.buffers.fetch_add(1, Ordering::Relaxed);
        let buffer =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        match self.take_trouble() {
            None => Ok(buffer),
            Some(Trouble::OutOfMemory | Trouble::LostForMemory) => {
                Err(DeviceFault::OutOfMemory { what, wanted: Some(size), limit: None })
            }
            Some(other) => Err(fault(other)),
        }
    }

    /// Buffers bound for a kernel.
    pub(super) fn group(
        &self,
        layout: &wgpu::BindGroupLayout,
        entries: &[wgpu::BindGroupEntry<'_>],
    ) -> wgpu::BindGroup {
        self.made.groups.fetch_add(1, Ordering::Relaxed);
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries })
    }

    /// Hands over what was encoded.
    pub(super) fn submit(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        self.made.submissions.fetch_add(1, Ordering::Relaxed);
        self.queue.submit([encoder.finish()])
    }

    /// A buffer that kernels read and write.
    pub(super) fn storage(&self, what: &'static str, bytes: u64) -> Result<wgpu::Buffer, DeviceFault> {
        let limit = self.limits.max_storage_buffer_binding_size;
        if bytes.next_multiple_of(16) > limit {
            return Err(DeviceFault::OutOfMemory { what, wanted: Some(bytes), limit: Some(limit) });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.buffer(what, bytes, usage)
    }

    /// A compiled kernel.
    pub(super) fn pipeline(
        &self,
        kernel: &str,
        source: &str,
        layout: &wgpu::BindGroupLayout,
    ) -> Result<wgpu::ComputePipeline, DeviceFault> {
        self.check()?;
        self.made.pipelines.fetch_add(1, Ordering::Relaxed);
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let whole = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&whole),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes before it reads what its workgroup shares.
                zero_initialize_workgroup_memory: false,
                ..wgpu::PipelineCompilationOptions::default()
            },
            cache: None,
        });
        match self.take_trouble() {
            None => Ok(pipeline),
            Some(Trouble::Complaint(reason)) => Err(DeviceFault::Pipeline { kernel: kernel.to_owned(), reason }),
            // A driver that fails at a kernel in a way of its own: the library gives the card up, the kernel is the cause.
            Some(Trouble::Lost(reason)) if reason.starts_with(UNEXPECTED) => {
                Err(DeviceFault::Pipeline { kernel: kernel.to_owned(), reason })
            }
            Some(other) => Err(fault(other)),
        }
    }

    /// Waits until the card has done what it was told, but not for ever.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), DeviceFault> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(deadline) };
        let waited = self.device.poll(wait);
        self.check()?;
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(DeviceFault::Hung { seconds: deadline.as_secs() }),
            // Orders to a card that is gone are dropped in silence, and the last one is then unknown.
            Err(wgpu::PollError::WrongSubmissionIndex(..)) => {
                Err(DeviceFault::Lost { reason: "it takes no more orders".to_owned() })
            }
        }
    }

    /// Waits no longer than this from now on.
    pub(super) fn set_deadline(&self, deadline: Duration) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// What the driver complained about since the last look.
    pub(super) fn check(&self) -> Result<(), DeviceFault> {
        self.take_trouble().map_or(Ok(()), |trouble| Err(fault(trouble)))
    }

    /// A lost card stays lost; anything else is told once.
    fn take_trouble(&self) -> Option<Trouble> {
        let mut trouble = lock(&self.trouble);
        match &*trouble {
            Some(Trouble::Lost(_) | Trouble::LostForMemory) => trouble.clone(),
            _ => trouble.take(),
        }
    }

    /// Whether the card takes no more orders.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&*lock(&self.trouble), Some(Trouble::Lost(_) | Trouble::LostForMemory))
    }
}

fn fault(trouble: Trouble) -> DeviceFault {
    match trouble {
        Trouble::Lost(reason) => DeviceFault::Lost { reason },
        Trouble::OutOfMemory | Trouble::LostForMemory => {
            DeviceFault::OutOfMemory { what: "the driver's own use", wanted: None, limit: None }
        }
        Trouble::Complaint(reason) => DeviceFault::Refused { reason },
    }
}

/// The first complaint is the cause; what follows is its consequence.
fn note(trouble: &Mutex<Option<Trouble>>, what: Trouble) {
    lock(trouble).get_or_insert(what);
}

fn lock(trouble: &Mutex<Option<Trouble>>) -> MutexGuard<'_, Option<Trouble>> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a future gives that needs nobody to wake it: those of this library are ready at once outside of a browser.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::yield_now();
    }
}
