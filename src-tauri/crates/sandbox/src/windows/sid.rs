//! Names of users, groups and levels as Windows keeps them, in bytes of our own.

use std::io;

use windows::Win32::Foundation::{HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::ConvertStringSidToSidW;
use windows::Win32::Security::{CopySid, GetLengthSid, PSID};
use windows::core::HSTRING;

/// A name. Its bytes are in eights, so that Windows finds it where it expects it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sid(Vec<u64>);

/// Everybody.
pub(super) const EVERYONE: &str = "S-1-1-0";
/// All users of the PC.
pub(super) const USERS: &str = "S-1-5-32-545";
/// Who sits before the screen.
pub(super) const INTERACTIVE: &str = "S-1-5-4";
/// Restricted code.
pub(super) const RESTRICTED: &str = "S-1-5-12";
/// Low integrity.
pub(super) const LOW_INTEGRITY: &str = "S-1-16-4096";

impl Sid {
    /// From its text.
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let mut sid = PSID::default();
        // SAFETY: the text outlives the call; the place for the result is ours.
        unsafe { ConvertStringSidToSidW(&HSTRING::from(text), &raw mut sid) }?;
        // SAFETY: Windows has just made it.
        let copied = unsafe { Self::copy(sid) };
        // SAFETY: the memory is ours to give back, and the copy does not need it.
        unsafe { LocalFree(Some(HLOCAL(sid.0))) };
        copied
    }

    /// A copy of what Windows points to.
    ///
    /// # Safety
    /// It must point to a valid name.
    pub(super) unsafe fn copy(sid: PSID) -> io::Result<Self> {
        // SAFETY: as promised by the caller.
        let length = unsafe { GetLengthSid(sid) };
        let mut bytes = vec![0; (length as usize).div_ceil(8)];
        // SAFETY: there is room for so many bytes.
        unsafe { CopySid(length, PSID(bytes.as_mut_ptr().cast()), sid) }?;
        Ok(Self(bytes))
    }

    /// For a call that reads it while this lives.
    pub(super) fn pointer(&self) -> PSID {
        PSID(self.0.as_ptr().cast_mut().cast())
    }
}
