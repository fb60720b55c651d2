//! Closing the box from inside, in two steps.

use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::calls::CALLS;

use super::{FIRST_CLOSED, files, filter, keep_memory_private, rooms};
use crate::walls::{Calls, ConfineError, ListedCall, Serving, Walls};

/// Most descriptors at once: drivers open dozens.
const DESCRIPTORS: u64 = 512;
/// Most threads where they can be counted for this process alone: drivers start some for each processor.
const THREADS: u64 = 1024;
/// Bytes of memory that the system may be told to keep out of its swap: as many as systemd gives everybody. NVIDIA's driver wants some.
const LOCKED: u64 = 8 * 1024 * 1024;

/// What drivers are told in the environment: to write nothing to disk, and not to load what others have put before them.
const TOLD: [(&str, &str); 5] = [
    ("MESA_SHADER_CACHE_DISABLE", "true"),
    ("__GL_SHADER_DISK_CACHE", "0"),
    ("CUDA_CACHE_DISABLE", "1"),
    ("VK_LOADER_LAYERS_DISABLE", "~implicit~"),
    // What the line before says to the loader of Vulkan, said to Mesa's own layer for loaders older than it.
    ("NODEVICE_SELECT", "1"),
];

/// Step 1. `memory`: the most bytes that this process may have.
pub(crate) fn confine(memory: Option<u64>) -> Result<Walls, ConfineError> {
    let step = |step| move |error: io::Error| ConfineError::Step { step, why: error.to_string() };
    rustix::thread::set_no_new_privs(true).map_err(|error| step("no new privileges")(error.into()))?;
    close_the_rest().map_err(step("closing what was left open"))?;
    name();
    environment();
    // Before there is a tree of files in which it is not.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rooms = rooms::enter();
    limits(memory, !rooms.namespaces.is_empty() && counts_in_namespaces(&release)).map_err(step("limits"))?;
    // Not before: a process that nobody looks into cannot write its own names of users.
    keep_memory_private().map_err(step("keeping its memory to itself"))?;
    no_capabilities().map_err(step("giving up capabilities"))?;
    let landlock = files::guard();
    if let (Err(why), false) = (&landlock, rooms.own_root) {
        return Err(ConfineError::Files {
            landlock: why.clone(),
            namespaces: rooms.why_not.unwrap_or_else(|| "no tree of its own".to_owned()),
        });
    }
    filter::install(Calls::Opening)?;
    Ok(Walls {
        landlock: landlock.ok(),
        own_root: rooms.own_root,
        namespaces: rooms.namespaces,
        without_namespaces: rooms.why_not,
        memory,
        calls: Calls::Opening,
    })
}

/// Step 2, for all threads.
pub(crate) fn seal(walls: &mut Walls, serving: Serving) -> Result<(), ConfineError> {
    let calls = match serving {
        Serving::Card => Calls::Card,
        Serving::Processor => Calls::Processor,
    };
    filter::install(calls)?;
    walls.calls = calls;
    Ok(())
}

pub(crate) fn listed_calls() -> Vec<ListedCall> {
    CALLS.iter().map(|call| ListedCall { number: call.number, name: call.name(), who: call.who }).collect()
}

/// Whatever a starter left open beside the pipe, the model and the standard three.
fn close_the_rest() -> io::Result<()> {
    // SAFETY: takes three numbers and touches no memory; nobody here has opened anything yet.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, FIRST_CLOSED, libc::c_uint::MAX, 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// In builds for developers a layer of Vulkan's may be named, with what it is to do: that is how tests make a card fail under the real
/// program. No released program keeps any of it.
fn is_of_the_tests(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let named = [&b"VK_INSTANCE_LAYERS"[..], b"VK_LAYER_PATH"].contains(&name) || name.starts_with(b"TROUBLE");
    cfg!(debug_assertions) && named && std::env::var_os("VK_LAYER_PATH").is_some()
}

/// By whom it was started it is called after a descriptor; others shall know it by its name.
fn name() {
    let name = std::env::args_os().next().and_then(|path| Path::new(&path).file_name().map(std::ffi::OsStr::to_owned));
    if let Some(name) = name.and_then(|name| std::ffi::CString::new(name.into_encoded_bytes()).ok()) {
        // The kernel cuts what is too long.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Nothing of whoever started it, and what drivers are to know.
#[expect(clippy::disallowed_methods, reason = "drivers read nothing else, and there is one thread")]
fn environment() {
    let names: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in names.into_iter().filter(|name| !is_of_the_tests(name)) {
        // SAFETY: there is one thread.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in TOLD {
        // SAFETY: there is one thread.
        unsafe { std::env::set_var(name, value) };
    }
}

fn limits(memory: Option<u64>, alone: bool) -> io::Result<()> {
    let limit = |resource, most: u64| {
        // Nobody gets more than they had.
        let most = rustix::process::getrlimit(resource).maximum.map_or(most, |before| before.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Memlock, LOCKED)?;
    if let Some(memory) = memory {
        // Not the address space: drivers of cards reserve terabytes of it.
        limit(Resource::Data, memory)?;
        // Of files there are none to be written but those without a name that drivers make, and these are memory.
        limit(Resource::Fsize, memory)?;
        // SAFETY: to ignore a signal takes no memory of ours. A driver that wants more hears it by an error then, and is not killed.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }
    if alone {
        // Elsewhere all processes of the user would count.
        limit(Resource::Nproc, THREADS)?;
    }
    Ok(())
}

/// Whether the kernel counts threads against the limit for each namespace of users by itself, as it does from 5.14 on. Before that all of
/// the user's count, and a desktop has more than a worker may.
fn counts_in_namespaces(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 14),
        _ => false,
    }
}

fn no_capabilities() -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    // What could be had again by starting a program. Whoever may not change that has nothing to lose there.
    for capability in CapabilitySet::all().iter() {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_limited_only_where_the_kernel_counts_them_for_this_process_alone() {
        for (release, alone) in [
            ("5.13.19-generic", false),
            ("5.11.0\n", false),
            ("5.14.0-70.el9\n", true),
            ("5.4.0", false),
            ("6.1.0-rc1", true),
            ("6.18.44-fc-v669", true),
            ("10.0", true),
            ("", false),
            ("six", false),
        ] {
            assert_eq!(counts_in_namespaces(release), alone, "{release:?}");
        }
    }
}
