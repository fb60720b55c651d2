//! What the registry says of how this Windows was started. Everybody may read it.

use crate::machine::Machine;
use windows::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RegGetValueW};
use windows::core::{PCWSTR, w};

/// Reads both values.
pub(crate) fn machine() -> Machine {
    let secure_boot = w!(r"SYSTEM\CurrentControlSet\Control\SecureBoot\State");
    let control = w!(r"SYSTEM\CurrentControlSet\Control");
    Machine::of_registry(number(secure_boot, w!("UEFISecureBootEnabled")), number(control, w!("PEFirmwareType")))
}

fn number(key: PCWSTR, name: PCWSTR) -> Option<u32> {
    let (mut value, mut length) = (0_u32, 4);
    let place = Some((&raw mut value).cast());
    // SAFETY: both names end with a zero, and there is room for four bytes.
    let told =
        unsafe { RegGetValueW(HKEY_LOCAL_MACHINE, key, name, RRF_RT_REG_DWORD, None, place, Some(&raw mut length)) };
    told.is_ok().then_some(value)
}
