//! The places in the tree of files that drivers of graphics cards live in. Nothing of the owner's is there.

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

/// Devices of graphics cards by the beginnings of their names; those that can change what a screen shows are not among them.
const DEVICES: [(&str, &str); 4] =
    [("/dev/dri", "renderD"), ("/dev", "nvidia"), ("/dev/nvidia-caps", "nvidia-cap"), ("/dev", "kfd")];

/// Everything there is of these here.
pub(super) fn all() -> Vec<(PathBuf, Use)> {
    let mut places: Vec<(PathBuf, Use)> = READ.iter().map(|place| (PathBuf::from(place), Use::Read)).collect();
    places.retain(|(place, _)| place.exists());
    for (folder, beginning) in DEVICES {
        places.extend(devices(Path::new(folder), beginning).into_iter().map(|device| (device, Use::Device)));
    }
    places.push(("/dev/null".into(), Use::Device));
    // Left in the environment for developers alone, see `confine`.
    places.extend(std::env::var_os("VK_LAYER_PATH").map(|folder| (folder.into(), Use::Read)));
    places
}

fn devices(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    listed
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(beginning.as_bytes()))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_char_device()))
        .map(|entry| entry.path())
        .collect()
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
    fn the_libraries_of_this_machine_are_among_the_places() {
        let places = all();
        assert!(places.iter().any(|(place, how)| place == Path::new("/usr/lib") && *how == Use::Read));
        assert!(places.iter().any(|(place, how)| place == Path::new("/dev/null") && *how == Use::Device));
    }
}
