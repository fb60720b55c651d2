//! What Windows forbids the worker on top of its token, from its first instruction on.
//!
//! Three that exist are not asked for. Code that is made while running: drivers of graphics cards compile. The kernel's windows: DirectX calls
//! it. Guarded calls: what the compiler for this target makes has no tables for them.

use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::Threading::{
    GetProcessMitigationPolicy, PROCESS_MITIGATION_POLICY, ProcessASLRPolicy, ProcessChildProcessPolicy,
    ProcessExtensionPointDisablePolicy, ProcessFontDisablePolicy, ProcessImageLoadPolicy,
    ProcessStrictHandleCheckPolicy,
};

use crate::mode::Mitigation;

/// "Always on" in the field that begins at this bit of `PROCESS_CREATION_MITIGATION_POLICY_…`; each field has four.
const fn on(bit: u32) -> u64 {
    1 << bit
}

/// For `PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY`: no data as code and no overwritten handlers (the first three bits); images at random
/// addresses from both ends and of high entropy; a heap that ends the process when it is damaged; and what [`Mitigation`] lists.
pub(super) const POLICY: u64 =
    0b101 | on(8) | on(12) | on(16) | on(20) | on(24) | on(32) | on(48) | on(52) | on(56) | on(60);

/// For `PROC_THREAD_ATTRIBUTE_CHILD_PROCESS_POLICY`: it starts none.
pub(super) const NO_CHILDREN: u32 = 1;

/// Where the system tells of each, and which bits must be set there.
fn told(mitigation: Mitigation) -> (PROCESS_MITIGATION_POLICY, u32) {
    match mitigation {
        // Raises an exception, and stays on.
        Mitigation::StrictHandles => (ProcessStrictHandleCheckPolicy, 0b11),
        Mitigation::ExtensionPoints => (ProcessExtensionPointDisablePolicy, 1),
        // Neither remote nor of low label, and System32 first.
        Mitigation::ImageLoad => (ProcessImageLoadPolicy, 0b111),
        Mitigation::Fonts => (ProcessFontDisablePolicy, 1),
        Mitigation::ChildProcess => (ProcessChildProcessPolicy, 1),
        // Bottom up, and of high entropy.
        Mitigation::RandomAddresses => (ProcessASLRPolicy, 0b101),
    }
}

/// Those that the system says are on for a process.
pub(super) fn of(process: HANDLE) -> Vec<Mitigation> {
    let is_on = |mitigation: &Mitigation| {
        let (policy, bits) = told(*mitigation);
        let mut flags = 0_u32;
        // SAFETY: each of these policies is four bytes of flags, and there is room for them.
        let known = unsafe { GetProcessMitigationPolicy(process, policy, (&raw mut flags).cast(), size_of::<u32>()) };
        known.is_ok() && flags & bits == bits
    };
    Mitigation::ALL.into_iter().filter(is_on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_those_of_windows_headers() {
        // DEP, SEHOP; then the fields, each by the bit that the header winbase.h shifts it by.
        assert_eq!(POLICY & 0xff, 0x1 | 0x4);
        for (name, shift) in [
            ("FORCE_RELOCATE_IMAGES", 8),
            ("HEAP_TERMINATE", 12),
            ("BOTTOM_UP_ASLR", 16),
            ("HIGH_ENTROPY_ASLR", 20),
            ("STRICT_HANDLE_CHECKS", 24),
            ("EXTENSION_POINT_DISABLE", 32),
            ("FONT_DISABLE", 48),
            ("IMAGE_LOAD_NO_REMOTE", 52),
            ("IMAGE_LOAD_NO_LOW_LABEL", 56),
            ("IMAGE_LOAD_PREFER_SYSTEM32", 60),
        ] {
            assert_eq!(POLICY >> shift & 0xf, 1, "{name}");
        }
        // Not asked for: win32k (28), dynamic code (36), guarded calls (40), only signed images (44).
        for shift in [28, 36, 40, 44] {
            assert_eq!(POLICY >> shift & 0xf, 0, "bit {shift}");
        }
    }
}
