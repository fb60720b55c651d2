//! A card made of the processor: the kernels compiled as C++, with memory that is looked after.

#![expect(unsafe_code, reason = "kernels are functions of C")]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libloading::Library;
use sha2::{Digest, Sha256};

use super::super::driver::{Arguments, Driver, Grid, Moment};
use super::record::{SOURCES, hex};
use crate::adapter::{Adapter, AdapterKind};
use crate::fault::DeviceFault;

/// Bytes before and behind everything that is allocated, which nobody may write.
const FENCE: usize = 256;
const FENCE_BYTE: u8 = 0xf3;

type Emulate = unsafe extern "C" fn(*const c_void, u32, u32, u32, *const Arguments) -> i32;

/// Memory by its address: layout with both fences, and bytes between them.
type Memory = BTreeMap<u64, (Layout, u64)>;

/// What is made to happen.
#[derive(Default)]
pub(super) struct Trouble {
    /// Bytes that may be allocated.
    pub(super) memory: Option<u64>,
    /// Bytes that the driver says there are, of which those that are allocated are not free.
    pub(super) said: Option<u64>,
    /// What the next order gets for an answer, and every one after it.
    pub(super) fault: Option<DeviceFault>,
    /// A kernel that computes nothing.
    pub(super) idle: Option<&'static str>,
    /// A kernel that computes nothing in blocks of 256 threads.
    pub(super) wide: Option<&'static str>,
    /// Microseconds that a kernel takes by the card's clock; one if nothing is said.
    pub(super) micros: Option<fn(&'static str, Grid) -> u64>,
}

pub(super) struct Emulated {
    about: Adapter,
    library: Library,
    memory: Mutex<Memory>,
    pub(super) trouble: Mutex<Trouble>,
    /// Kernels in the order in which they were started.
    pub(super) started: Mutex<Vec<&'static str>>,
    /// Microseconds that it computed by its own clock, and the moments that were noted.
    clock: Mutex<u64>,
    noted: Mutex<[u64; 2]>,
    /// The card's own number.
    pub(super) number: Mutex<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernels compiled for this processor, beside the tests' own program; only if they have changed.
fn compiled() -> Result<PathBuf, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
    let mut hash = Sha256::new();
    for name in SOURCES.into_iter().chain(["emulator.h"]) {
        hash.update(std::fs::read(folder.join(name)).unwrap());
    }
    let name = hex(&hash.finalize()[..8]);
    let beside = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let finished = beside.join(format!("kernels-{name}.so"));
    if finished.exists() {
        return Ok(finished);
    }
    // Another test may be at it too: whoever comes last puts the same in the same place.
    let own = tempfile::Builder::new().prefix("kernels-").suffix(".so").tempfile_in(&beside).unwrap().into_temp_path();
    let flags = ["-DEMULATED", "-O2", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-march=native"];
    let output = Command::new("g++")
        .args(flags)
        // As on a card: nothing is contracted, and memory is looked at as what it is wanted as.
        .args(["-ffp-contract=off", "-fno-strict-aliasing", "-Wno-unknown-pragmas", "-x", "c++"])
        .arg(folder.join("kernels.cu"))
        .arg("-o")
        .arg(&own)
        .output()
        .map_err(|error| format!("there is no g++: {error}"))?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    own.persist(&finished).unwrap();
    Ok(finished)
}

impl Emulated {
    pub(super) fn new() -> Result<Self, String> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err("the emulator is written for x86-64 and Linux".to_owned());
        }
        // SAFETY: it was compiled from the sources of this crate and initialises nothing.
        let library = unsafe { Library::new(compiled()?) }.unwrap();
        let about = Adapter {
            name: "Emulated card".to_owned(),
            driver: "CUDA 12.1".to_owned(),
            api: "CUDA",
            kind: AdapterKind::Software,
            vendor: 0x10de,
            device: None,
            pci: None,
            binding_bytes: 1 << 30,
            buffer_bytes: 1 << 30,
            half_floats: true,
            subgroup: Some((32, 32)),
            cooperative: None,
            unusable: None,
        };
        Ok(Self {
            about,
            library,
            memory: Mutex::default(),
            trouble: Mutex::default(),
            started: Mutex::default(),
            clock: Mutex::default(),
            noted: Mutex::default(),
            number: Mutex::default(),
        })
    }

    /// What the next order gets for an answer.
    fn refused(&self) -> Result<(), DeviceFault> {
        lock(&self.trouble).fault.clone().map_or(Ok(()), Err)
    }

    /// That these bytes are within one allocation.
    fn inside(&self, at: u64, bytes: u64) {
        let memory = lock(&self.memory);
        let found = memory.range(..=at).next_back();
        let (first, (_, size)) = found.expect("an address of nothing");
        assert!(at + bytes <= first + size, "{bytes} bytes at {} of {size}", at - first);
    }

    fn fences(at: u64, bytes: u64) -> [&'static [u8]; 2] {
        let before = at as usize - FENCE;
        // SAFETY: both fences were allocated with what lies between them.
        [before, (at + bytes) as usize].map(|at| unsafe { std::slice::from_raw_parts(at as *const u8, FENCE) })
    }

    /// Bytes that are allocated now.
    pub(super) fn allocated(&self) -> u64 {
        lock(&self.memory).values().map(|(_, bytes)| bytes).sum()
    }
}

impl Driver for Emulated {
    fn about(&self) -> &Adapter {
        &self.about
    }

    fn memory(&self) -> Option<(u64, u64)> {
        let total = lock(&self.trouble).said?;
        Some((total.saturating_sub(self.allocated()), total))
    }

    fn allocate(&self, what: &'static str, bytes: u64) -> Result<u64, DeviceFault> {
        self.refused()?;
        if lock(&self.trouble).memory.is_some_and(|most| self.allocated() + bytes > most) {
            return Err(DeviceFault::OutOfMemory { what, wanted: Some(bytes), limit: None });
        }
        let layout = Layout::from_size_align(bytes as usize + 2 * FENCE, FENCE).unwrap();
        // SAFETY: the layout is not empty; all of it is written before anybody reads.
        let at = unsafe {
            let begin = alloc(layout);
            assert!(!begin.is_null());
            std::ptr::write_bytes(begin, FENCE_BYTE, layout.size());
            std::ptr::write_bytes(begin.add(FENCE), 0xa5, bytes as usize);
            begin as u64 + FENCE as u64
        };
        lock(&self.memory).insert(at, (layout, bytes));
        Ok(at)
    }

    unsafe fn free(&self, at: u64) {
        let (layout, bytes) = lock(&self.memory).remove(&at).expect("given back twice");
        // SAFETY: it was allocated with this layout and is in use no more.
        unsafe {
            if self.refused().is_ok() {
                let left = std::slice::from_raw_parts(at as *const u8, bytes as usize);
                assert!(left.iter().all(|&byte| byte == 0), "given back with something in it");
            }
            dealloc((at as usize - FENCE) as *mut u8, layout);
        }
    }

    unsafe fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DeviceFault> {
        self.refused()?;
        self.inside(at, bytes.len() as u64);
        // SAFETY: it is within one allocation.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
        Ok(())
    }

    unsafe fn read(&self, at: u64, bytes: &mut [u8], deadline: Duration) -> Result<(), DeviceFault> {
        self.wait(deadline)?;
        self.inside(at, bytes.len() as u64);
        // SAFETY: it is within one allocation.
        unsafe { std::ptr::copy_nonoverlapping(at as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: u64) -> Result<(), DeviceFault> {
        self.refused()?;
        self.inside(from, bytes);
        self.inside(to, bytes);
        // SAFETY: both are within allocations.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        Ok(())
    }

    unsafe fn clear(&self, at: u64, bytes: u64) -> Result<(), DeviceFault> {
        self.refused()?;
        self.inside(at, bytes);
        // SAFETY: it is within one allocation.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes as usize) };
        Ok(())
    }

    unsafe fn launch(&self, kernel: &'static str, grid: Grid, arguments: &Arguments) -> Result<(), DeviceFault> {
        self.refused()?;
        lock(&self.started).push(kernel);
        *lock(&self.clock) += lock(&self.trouble).micros.map_or(1, |micros| micros(kernel, grid));
        let idle = {
            let trouble = lock(&self.trouble);
            trouble.idle == Some(kernel) || grid.threads == 256 && trouble.wide == Some(kernel)
        };
        if idle {
            return Ok(());
        }
        // SAFETY: both are functions of the library, of these kinds; addresses are of allocations.
        let ended = unsafe {
            let emulate = self.library.get::<Emulate>(b"emulate").unwrap();
            let function = self.library.get::<*const c_void>(kernel.as_bytes()).unwrap();
            emulate(*function, grid.across, grid.down, grid.threads, arguments)
        };
        assert_eq!(ended, 0, "{kernel} with {grid:?}");
        for (&at, &(_, bytes)) in lock(&self.memory).iter() {
            let whole = Self::fences(at, bytes).iter().all(|fence| fence.iter().all(|&byte| byte == FENCE_BYTE));
            assert!(whole, "{kernel} wrote beside a buffer of {bytes} bytes");
        }
        Ok(())
    }

    fn uuid(&self) -> Option<[u8; 16]> {
        Some([*lock(&self.number); 16])
    }

    fn note(&self, moment: Moment) -> Result<(), DeviceFault> {
        self.refused()?;
        lock(&self.noted)[usize::from(moment == Moment::End)] = *lock(&self.clock);
        Ok(())
    }

    fn noted(&self) -> Result<Duration, DeviceFault> {
        self.refused()?;
        let [begin, end] = *lock(&self.noted);
        Ok(Duration::from_micros(end - begin))
    }

    fn wait(&self, deadline: Duration) -> Result<(), DeviceFault> {
        self.refused()?;
        if deadline.is_zero() { Err(DeviceFault::Hung { seconds: 0 }) } else { Ok(()) }
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || lock(&self.memory).is_empty(), "something was not given back");
    }
}
