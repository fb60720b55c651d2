//! NVIDIA's driver, loaded when it is first wanted: nothing of CUDA is needed to build this program or to start it.

#![expect(unsafe_code, reason = "a driver is a library of C")]

use std::collections::BTreeMap;
use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use crate::adapter::{Adapter, AdapterKind};
use crate::fault::DeviceFault;

use super::driver::{Arguments, DEADLINE, Driver, Grid, Moment};
use super::launch::KERNELS;

/// All kernels, as `cargo xtask kernels` wrote them.
pub(crate) const PTX: &str = include_str!("kernels/kernels.ptx");

/// Oldest card whose instructions the kernels are written in: Turing.
const LEAST: (i32, i32) = (7, 5);
/// Oldest driver that reads the kernels (PTX 8.1): the one of CUDA 12.1.
const LEAST_DRIVER: i32 = 12_010;
const PCI_NVIDIA: u32 = 0x10de;

/// Cards of a machine, or why there are none that can be asked.
pub(crate) fn list() -> Result<Vec<Adapter>, String> {
    load()?;
    let count = result::device::get_count().map_err(told)?;
    (0..count).map(|number| describe(number).map_err(told)).collect()
}

/// Loads the driver and starts it.
fn load() -> Result<(), String> {
    // The library would rather end the program than say that there is none.
    // SAFETY: this loads a library and looks at nothing in it; its initialisers are the driver's own.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no NVIDIA driver here".to_owned());
    }
    result::init().map_err(|error| match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => "NVIDIA's driver sees no card".to_owned(),
        _ => format!("NVIDIA's driver does not start: {}", told(error)),
    })
}

fn driver_version() -> Option<i32> {
    let mut version = 0;
    // SAFETY: it writes one number, to where it is told.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().ok().map(|()| version)
}

fn describe(number: c_int) -> Result<Adapter, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(number)?;
    // SAFETY: the device comes from the driver.
    let attribute = |which: Attribute| unsafe { result::device::get_attribute(device, which) };
    let capability = (
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0;
    let place = |which| attribute(which).ok();
    let pci = place(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)
        .zip(place(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID))
        .zip(place(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID))
        .map(|((domain, bus), slot)| format!("{domain:04x}:{bus:02x}:{slot:02x}.0"));
    // SAFETY: the device comes from the driver.
    let memory = unsafe { result::device::total_mem(device)? } as u64;
    let version = driver_version();
    let unusable = if capability < LEAST {
        Some(format!("kernels need a card of compute capability 7.5, it has {}.{}", capability.0, capability.1))
    } else if version.is_some_and(|version| version < LEAST_DRIVER) {
        Some("kernels need the driver of CUDA 12.1 or a newer one".to_owned())
    } else {
        None
    };
    Ok(Adapter {
        name: result::device::get_name(device)?,
        driver: version.map_or_else(String::new, |it| format!("CUDA {}.{}", it / 1000, it % 1000 / 10)),
        api: "CUDA",
        kind: if integrated { AdapterKind::Integrated } else { AdapterKind::Discrete },
        vendor: PCI_NVIDIA,
        // The driver tells places of cards, not numbers of products.
        device: None,
        pci,
        binding_bytes: memory,
        buffer_bytes: memory,
        half_floats: true,
        subgroup: Some((32, 32)),
        cooperative: None,
        unusable,
    })
}

/// The driver's words for what went wrong.
fn told(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("error {}", error.0 as u32),
    }
}

fn fault(error: DriverError, what: &'static str, wanted: Option<u64>) -> DeviceFault {
    use sys::CUresult as R;
    match error.0 {
        R::CUDA_ERROR_OUT_OF_MEMORY => DeviceFault::OutOfMemory { what, wanted, limit: None },
        R::CUDA_ERROR_INVALID_PTX
        | R::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | R::CUDA_ERROR_NO_BINARY_FOR_GPU
        | R::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        | R::CUDA_ERROR_JIT_COMPILATION_DISABLED
        | R::CUDA_ERROR_INVALID_IMAGE
        | R::CUDA_ERROR_NOT_FOUND => DeviceFault::Pipeline { kernel: what.to_owned(), reason: told(error) },
        R::CUDA_ERROR_INVALID_VALUE | R::CUDA_ERROR_NOT_SUPPORTED | R::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES => {
            DeviceFault::Refused { reason: told(error) }
        }
        // A kernel that failed takes everything with it: nothing works after it, as on a card that is gone.
        _ => DeviceFault::Lost { reason: told(error) },
    }
}

/// An open card.
pub(crate) struct Nvidia {
    about: Adapter,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: BTreeMap<&'static str, sys::CUfunction>,
    /// Where the beginning and the end of what is measured are noted.
    moments: [sys::CUevent; 2],
    /// It failed or hung: nothing is waited for any more, and its memory is left to the driver.
    failed: AtomicBool,
}

// SAFETY: the driver's handles may be used from any thread once its context is current there, which every order sees to.
unsafe impl Send for Nvidia {}
// SAFETY: the driver's functions may be called by several threads at a time.
unsafe impl Sync for Nvidia {}

impl Nvidia {
    /// Opens the card of this number and gives it the kernels, which its driver compiles now or knows already.
    pub(crate) fn open(number: usize) -> Result<Arc<dyn Driver>, DeviceFault> {
        let failed = |error: DriverError| fault(error, "the driver's own use", None);
        let number = c_int::try_from(number).map_err(|_| DeviceFault::Refused { reason: "no such card".to_owned() })?;
        load().map_err(|reason| DeviceFault::Refused { reason })?;
        let about = describe(number).map_err(failed)?;
        let device = result::device::get(number).map_err(failed)?;
        // SAFETY: the device comes from the driver; what is made here is given back when it is dropped, in the opposite order.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        let mut card = Self {
            about,
            device,
            context,
            stream: std::ptr::null_mut(),
            module: std::ptr::null_mut(),
            functions: BTreeMap::new(),
            moments: [std::ptr::null_mut(); 2],
            failed: AtomicBool::new(false),
        };
        card.enter()?;
        // Of the kind that goes in step with the null stream, which copies to and from the processor's memory are done in: they come
        // after all orders before them, and all orders after them wait for them.
        card.stream = result::stream::create(result::stream::StreamKind::Default).map_err(failed)?;
        for moment in &mut card.moments {
            // SAFETY: it writes one handle, to where it is told, in the context that was made current.
            unsafe { sys::cuEventCreate(moment, sys::CUevent_flags::CU_EVENT_DEFAULT as u32) }
                .result()
                .map_err(failed)?;
        }
        let kernels = |error: DriverError| fault(error, "kernels", None);
        let text = CString::new(PTX).map_err(|_| DeviceFault::Pipeline {
            kernel: "kernels".to_owned(),
            reason: "their text ends".to_owned(),
        })?;
        // SAFETY: the text ends with a zero and outlives the call.
        card.module = unsafe { result::module::load_data(text.as_ptr().cast::<c_void>()) }.map_err(kernels)?;
        for kernel in KERNELS {
            let name = CString::new(kernel).unwrap_or_default();
            // SAFETY: the module was loaded above.
            let function = unsafe { result::module::get_function(card.module, name) };
            card.functions.insert(kernel, function.map_err(|error| fault(error, kernel, None))?);
        }
        Ok(Arc::new(card))
    }

    /// Makes the card's context that of this thread.
    fn enter(&self) -> Result<(), DeviceFault> {
        // SAFETY: the context is held until this is dropped.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| fault(error, "the driver's own use", None))
    }

    /// Does something in the card's context.
    fn order(&self, what: &'static str, order: impl FnOnce() -> Result<(), DriverError>) -> Result<(), DeviceFault> {
        self.enter()?;
        order().map_err(|error| fault(error, what, None))
    }
}

impl Driver for Nvidia {
    fn about(&self) -> &Adapter {
        &self.about
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<u64, DeviceFault> {
        self.enter()?;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // SAFETY: the context is current; whoever gets the memory writes it before reading.
        unsafe { result::malloc_sync(size) }.map_err(|error| fault(error, what, Some(bytes)))
    }

    fn memory(&self) -> Option<(u64, u64)> {
        self.enter().ok()?;
        let (free, total) = result::mem_get_info().ok()?;
        Some((free as u64, total as u64))
    }

    unsafe fn free(&self, at: u64) {
        if !self.failed.load(Ordering::Relaxed) && self.wait(DEADLINE).is_ok() {
            // SAFETY: the address is one of `allocate` and given back once; nothing that uses it is left to be done.
            let _ = unsafe { result::memory_free(at) };
        }
    }

    unsafe fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        // The copy would wait for orders before it, and for ever.
        self.wait(DEADLINE)?;
        // SAFETY: the caller stays inside of what was allocated. The copy is the synchronous one: from memory that is not pinned the
        // driver has taken all bytes when it returns. Where they are still under way on the card then, the null stream has them, which
        // the card's own stream waits for.
        self.order("the driver's own use", || unsafe { result::memcpy_htod_sync(at, bytes) })
    }

    unsafe fn read(&self, at: u64, bytes: &mut [u8], deadline: Duration) -> Result<(), DeviceFault> {
        self.wait(deadline)?;
        // SAFETY: the caller stays inside of what was allocated; nothing is left to be done on the card, and the copy is done when it
        // returns.
        self.order("the driver's own use", || unsafe { result::memcpy_dtoh_sync(bytes, at) })
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), DeviceFault> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // SAFETY: the caller stays inside of what was allocated.
        self.order("the driver's own use", || unsafe { result::memcpy_dtod_async(to, from, size, self.stream) })
    }

    unsafe fn clear(&self, at: u64, bytes: u64) -> Result<(), DeviceFault> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        // SAFETY: the caller stays inside of what was allocated.
        self.order("the driver's own use", || unsafe { result::memset_d8_async(at, 0, size, self.stream) })
    }

    unsafe fn launch(&self, kernel: &'static str, grid: Grid, arguments: &Arguments) -> Result<(), DeviceFault> {
        let Some(&function) = self.functions.get(kernel) else {
            let reason = "it was not loaded".to_owned();
            return Err(DeviceFault::Pipeline { kernel: kernel.to_owned(), reason });
        };
        let mut copy = *arguments;
        let mut parameters = [(&raw mut copy).cast::<c_void>()];
        self.order(kernel, || {
            // SAFETY: every kernel takes one `Arguments`, which the driver copies before it returns; what its addresses are of is the
            // caller's promise.
            unsafe {
                result::launch_kernel(
                    function,
                    (grid.across, grid.down, 1),
                    (grid.threads, 1, 1),
                    0,
                    self.stream,
                    &mut parameters,
                )
            }
        })
    }

    fn uuid(&self) -> Option<[u8; 16]> {
        result::device::get_uuid(self.device).ok().map(|uuid| uuid.bytes.map(|byte| byte as u8))
    }

    fn note(&self, moment: Moment) -> Result<(), DeviceFault> {
        // SAFETY: event and stream were made when the card was opened.
        self.order("the driver's own use", || unsafe { sys::cuEventRecord(self.event(moment), self.stream) }.result())
    }

    fn noted(&self) -> Result<Duration, DeviceFault> {
        let mut millis = 0.0_f32;
        let [begin, end] = self.moments;
        // The second version of this function is none of older drivers'.
        self.order("the driver's own use", || {
            // SAFETY: it writes one number, to where it is told; both events were made when the card was opened.
            unsafe { sys::cuEventElapsedTime(&raw mut millis, begin, end) }.result()
        })?;
        Duration::try_from_secs_f32(millis / 1000.0)
            .map_err(|_| DeviceFault::Refused { reason: "a time that cannot be".to_owned() })
    }

    fn wait(&self, deadline: Duration) -> Result<(), DeviceFault> {
        self.enter()?;
        let started = Instant::now();
        loop {
            // SAFETY: the stream was made when the card was opened.
            match unsafe { sys::cuStreamQuery(self.stream) }.result() {
                Ok(()) => return Ok(()),
                Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_READY)) => {}
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(fault(error, "the driver's own use", None));
                }
            }
            let waited = started.elapsed();
            if waited > deadline {
                self.failed.store(true, Ordering::Relaxed);
                return Err(DeviceFault::Hung { seconds: deadline.as_secs() });
            }
            // A token takes some milliseconds; the processor has other things to do.
            if waited > Duration::from_micros(200) {
                std::thread::sleep(Duration::from_micros(50));
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

impl Nvidia {
    /// The handle of a moment.
    fn event(&self, moment: Moment) -> sys::CUevent {
        let [begin, end] = self.moments;
        if moment == Moment::Begin { begin } else { end }
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        // What hangs would be waited for.
        if self.failed.load(Ordering::Relaxed) || self.enter().is_err() {
            return;
        }
        // SAFETY: all of them were made when the card was opened and are used no more.
        unsafe {
            for moment in self.moments.into_iter().filter(|moment| !moment.is_null()) {
                let _ = sys::cuEventDestroy_v2(moment);
            }
            if !self.module.is_null() {
                let _ = result::module::unload(self.module);
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
