//! The places in the tree of files that drivers of graphics cards live in. Nothing is there that only the owner may read; what everybody may
//! read there, serial numbers and addresses of hardware among it, a boxed process can read until its box is closed for good.

use std::path::{Path, PathBuf};

/// What may be done at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Files are read and folders listed, all the way down.
    Read,
    /// A device: read, written, given orders.
    Device,
}

/// Libraries, and what they read about themselves. Folders that a distribution does not have are passed over.
const READ: [&str; 33] = [
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    // Which drivers there are, and which of them are preferred for what.
    "/usr/share/vulkan",
    "/usr/local/share/vulkan",
    "/etc/vulkan",
    "/usr/share/glvnd",
    "/etc/glvnd",
    "/usr/share/drirc.d",
    "/etc/drirc",
    "/usr/share/libdrm",
    "/usr/share/nvidia",
    // Drivers that are installed elsewhere: AMD's own, NixOS, Guix, Flatpak.
    "/opt/amdgpu",
    "/opt/amdgpu-pro",
    "/run/opengl-driver",
    "/nix/store",
    "/gnu/store",
    "/app/lib",
    // Which cards there are.
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/module",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/devices",
    "/proc/driver",
];

/// Devices of graphics cards: the folder, the name, and whether a number follows it. Those that can change what a screen shows
/// (`card0`, `nvidia-modeset`) or look into what other programs do with a card (`nvidia-uvm-tools`) are not among them.
const DEVICES: [(&str, &str, bool); 6] = [
    ("/dev/dri", "renderD", true),
    ("/dev", "nvidia", true),
    ("/dev", "nvidiactl", false),
    ("/dev", "nvidia-uvm", false),
    ("/dev/nvidia-caps", "nvidia-cap", true),
    ("/dev", "kfd", false),
];

/// Everything there is of these here.
pub(super) fn all() -> Vec<(PathBuf, Use)> {
    let mut places: Vec<(PathBuf, Use)> = READ.iter().map(|place| (PathBuf::from(place), Use::Read)).collect();
    places.retain(|(place, _)| place.exists());
    for (folder, name, numbered) in DEVICES {
        places.extend(devices(Path::new(folder), name, numbered).into_iter().map(|device| (device, Use::Device)));
    }
    places.push(("/dev/null".into(), Use::Device));
    // Left in the environment for developers alone, see `confine`.
    places.extend(std::env::var_os("VK_LAYER_PATH").map(|folder| (folder.into(), Use::Read)));
    places
}

fn devices(folder: &Path, name: &str, numbered: bool) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    listed
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| is_called(found, name, numbered)))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_char_device()))
        .map(|entry| entry.path())
        .collect()
}

fn is_called(found: &str, name: &str, numbered: bool) -> bool {
    found.strip_prefix(name).is_some_and(|rest| {
        if numbered { !rest.is_empty() && rest.bytes().all(|letter| letter.is_ascii_digit()) } else { rest.is_empty() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_owners_is_among_the_places() {
        for (place, _) in all() {
            for theirs in
                ["/home", "/root", "/etc/passwd", "/var", "/tmp", "/dev/shm", "/mnt", "/media", "/srv", "/run/user"]
            {
                assert!(!Path::new(theirs).starts_with(&place), "{} holds {theirs}", place.display());
                assert!(!place.starts_with(theirs), "{} is in {theirs}", place.display());
            }
        }
    }

    #[test]
    fn only_devices_that_compute_are_among_the_places() {
        let is_one = |folder: &str, found: &str| {
            DEVICES.iter().any(|(place, name, numbered)| *place == folder && is_called(found, name, *numbered))
        };
        for (folder, name) in [
            ("/dev/dri", "renderD128"),
            ("/dev", "nvidia0"),
            ("/dev", "nvidiactl"),
            ("/dev", "nvidia-uvm"),
            ("/dev/nvidia-caps", "nvidia-cap2"),
            ("/dev", "kfd"),
        ] {
            assert!(is_one(folder, name), "{folder}/{name}");
        }
        for (folder, name) in [
            ("/dev/dri", "card0"),
            ("/dev/dri", "renderD"),
            ("/dev", "nvidia"),
            ("/dev", "nvidia-modeset"),
            ("/dev", "nvidia-uvm-tools"),
            ("/dev", "nvidia0x"),
            ("/dev", "kfd0"),
            ("/dev", "kmsg"),
            ("/dev/nvidia-caps", "nvidia-cap"),
        ] {
            assert!(!is_one(folder, name), "{folder}/{name}");
        }
    }

    #[test]
    fn the_libraries_of_this_machine_are_among_the_places() {
        let places = all();
        assert!(places.iter().any(|(place, how)| place == Path::new("/usr/lib") && *how == Use::Read));
        assert!(places.iter().any(|(place, how)| place == Path::new("/dev/null") && *how == Use::Device));
    }
}
