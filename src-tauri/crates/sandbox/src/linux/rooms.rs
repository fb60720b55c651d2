//! Namespaces of its own, where the system grants them: no network, no shared memory of others, and a tree of files that holds nothing
//! but the places of drivers.
//!
//! They are a second wall. Ubuntu 24.04 and hardened kernels refuse them to ordinary programs, so nothing depends on them as long as there
//! is Landlock.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::places::{self, Use};

/// What became of it.
pub(super) struct Rooms {
    /// Those entered, by the kernel's names.
    pub(super) namespaces: Vec<&'static str>,
    /// Whether the tree of files is its own.
    pub(super) own_root: bool,
    /// Why one of both is not so.
    pub(super) why_not: Option<String>,
}

/// Where the new tree is put together; it is there on every Linux, and nobody sees it there but this process.
const BUILDING_SITE: &str = "/tmp";
const MOUNT_ATTR_READ_ONLY: u64 = 1;
const MOUNT_ATTR_NO_SUID: u64 = 2;
const MOUNT_ATTR_NO_DEVICES: u64 = 4;
const MOUNT_ATTR_NO_EXEC: u64 = 8;
/// Of `mount_setattr`: all mounts below, too.
const AT_RECURSIVE: u64 = 0x8000;

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Enters whatever the system grants. Must be called while there is one thread.
pub(super) fn enter() -> Rooms {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS;
    // SAFETY: descriptors stay shared with nobody, as they were: this process has one thread.
    if let Err(error) = unsafe { rustix::thread::unshare_unsafe(flags) } {
        return Rooms { namespaces: Vec::new(), own_root: false, why_not: Some(format!("unshare: {error}")) };
    }
    let namespaces = vec!["user", "mnt", "net", "ipc", "uts"];
    let built = identity(user, group).map_err(|error| format!("names of users: {error}")).and_then(|()| own_root());
    Rooms { namespaces, own_root: built.is_ok(), why_not: built.err() }
}

/// The user is who they were, inside and outside.
fn identity(user: u32, group: u32) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

fn own_root() -> Result<(), String> {
    let places = places::all();
    let at = |what: &str| {
        let what = what.to_owned();
        move |error: rustix::io::Errno| format!("{what}: {error}")
    };
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(at("a tree of its own"))?;
    let nothing: Option<&std::ffi::CStr> = None;
    let site = Path::new(BUILDING_SITE);
    rustix::mount::mount("tmpfs", site, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, nothing)
        .map_err(at("an empty tree"))?;
    for (place, how) in &places {
        bring(site, place, *how).map_err(|error| format!("{}: {error}", place.display()))?;
    }
    std::env::set_current_dir(site).map_err(|error| format!("the new tree: {error}"))?;
    // The old root is put where the new one is, on top of it, and taken away.
    rustix::process::pivot_root(".", ".").map_err(at("the new root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(at("the old root"))?;
    std::env::set_current_dir("/").map_err(|error| format!("the new tree: {error}"))?;
    restrict(Path::new("/"), MOUNT_ATTR_READ_ONLY | MOUNT_ATTR_NO_SUID | MOUNT_ATTR_NO_EXEC, false)
        .map_err(|error| format!("the new root: {error}"))
}

/// Makes a place visible in the new tree, to read. Links stay links.
fn bring(site: &Path, place: &Path, how: Use) -> io::Result<()> {
    let target = inside(site, place);
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let kind = place.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        return symlink(std::fs::read_link(place)?, target);
    }
    if kind.is_dir() {
        std::fs::create_dir_all(&target)?;
    } else {
        std::fs::write(&target, "")?;
    }
    rustix::mount::mount_bind_recursive(place, &target)?;
    let devices = if how == Use::Device { 0 } else { MOUNT_ATTR_READ_ONLY | MOUNT_ATTR_NO_DEVICES };
    restrict(&target, devices | MOUNT_ATTR_NO_SUID, true)
}

fn inside(site: &Path, place: &Path) -> PathBuf {
    site.join(place.strip_prefix("/").unwrap_or(place))
}

fn restrict(mount: &Path, set: u64, below: bool) -> io::Result<()> {
    let path = std::ffi::CString::new(mount.as_os_str().as_encoded_bytes())?;
    let attributes = Attributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = if below { AT_RECURSIVE } else { 0 };
    // SAFETY: path and attributes outlive the call, which reads no more of them than their sizes.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
