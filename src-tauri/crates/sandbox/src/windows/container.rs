//! An AppContainer without a single capability: no network, and no file that is not for every program of the PC.
//!
//! Windows wants a profile for it, which it keeps under `%LOCALAPPDATA%\Packages` with a folder that the worker may write to. It is made
//! without an administrator and taken away by the uninstaller, which knows it by the same name.

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::Path;

use windows::Win32::Foundation::{HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::{
    EXPLICIT_ACCESS_W, GRANT_ACCESS, GetNamedSecurityInfoW, SE_FILE_OBJECT, SetEntriesInAclW, SetNamedSecurityInfoW,
    TRUSTEE_IS_SID, TRUSTEE_W,
};
use windows::Win32::Security::{ACL, DACL_SECURITY_INFORMATION, FreeSid, NO_INHERITANCE, PSECURITY_DESCRIPTOR, PSID};
use windows::Win32::Storage::FileSystem::{FILE_GENERIC_EXECUTE, FILE_GENERIC_READ};
use windows::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};
use windows::core::{HRESULT, HSTRING, PCSTR, PCWSTR, PWSTR, s, w};

use super::sid::Sid;

/// What Windows knows it by. The uninstaller has it too.
const NAME: PCWSTR = w!("Chrysalis.Worker");
const SHOWN: PCWSTR = w!("Chrysalis worker");
const ABOUT: PCWSTR = w!("Runs language models for Chrysalis, without network and files");
/// There is such a profile already.
const ALREADY: HRESULT = HRESULT(0x8007_00B7_u32.cast_signed());

type Create = unsafe extern "system" fn(PCWSTR, PCWSTR, PCWSTR, *const u8, u32, *mut PSID) -> HRESULT;
type Derive = unsafe extern "system" fn(PCWSTR, *mut PSID) -> HRESULT;

/// The name of the container, with its profile there. An error where this system has no containers.
pub(super) fn profile() -> io::Result<Sid> {
    let mut sid = PSID::default();
    // SAFETY: the function has this form since Windows 8.
    let create: Create = unsafe { std::mem::transmute(function(s!("CreateAppContainerProfile"))?) };
    // SAFETY: the texts live as long as the program, no capability is passed, and the place for the result is ours.
    let mut made = unsafe { create(NAME, SHOWN, ABOUT, std::ptr::null(), 0, &raw mut sid) };
    if made == ALREADY {
        // SAFETY: the function has this form since Windows 8.
        let derive: Derive = unsafe { std::mem::transmute(function(s!("DeriveAppContainerSidFromAppContainerName"))?) };
        // SAFETY: as above.
        made = unsafe { derive(NAME, &raw mut sid) };
    }
    made.ok()?;
    // SAFETY: Windows has just made it.
    let copied = unsafe { Sid::copy(sid) };
    // SAFETY: the memory is ours to give back, and the copy does not need it.
    unsafe { FreeSid(sid) };
    copied
}

/// A function that Wine does not have: named in the program's table, it would end the program there when it is called.
fn function(name: PCSTR) -> io::Result<unsafe extern "system" fn() -> isize> {
    let missing = || io::Error::new(io::ErrorKind::Unsupported, "this system has no AppContainers");
    // SAFETY: only the system's own folder is searched, and the library is never unloaded.
    let library = unsafe { LoadLibraryExW(w!("userenv.dll"), None, LOAD_LIBRARY_SEARCH_SYSTEM32) }?;
    // SAFETY: the library is loaded.
    unsafe { GetProcAddress(library, name) }.ok_or_else(missing)
}

/// Lets the container read and run a file. Where only an administrator could, every container can already or the self-test finds out.
pub(super) fn let_run(program: &Path, container: &Sid) -> io::Result<()> {
    let name = HSTRING::from_wide(&program.as_os_str().encode_wide().collect::<Vec<u16>>());
    let (mut old, mut all) = (std::ptr::null_mut::<ACL>(), PSECURITY_DESCRIPTOR::default());
    let what = DACL_SECURITY_INFORMATION;
    // SAFETY: the places for the results are ours.
    let told = unsafe {
        GetNamedSecurityInfoW(&name, SE_FILE_OBJECT, what, None, None, Some(&raw mut old), None, &raw mut all)
    };
    told.ok()?;
    let access = EXPLICIT_ACCESS_W {
        grfAccessPermissions: FILE_GENERIC_READ.0 | FILE_GENERIC_EXECUTE.0,
        grfAccessMode: GRANT_ACCESS,
        grfInheritance: NO_INHERITANCE,
        Trustee: TRUSTEE_W {
            TrusteeForm: TRUSTEE_IS_SID,
            ptstrName: PWSTR(container.pointer().0.cast()),
            ..TRUSTEE_W::default()
        },
    };
    let mut new: *mut ACL = std::ptr::null_mut();
    // SAFETY: name and old list outlive the call.
    let made = unsafe { SetEntriesInAclW(Some(&[access]), Some(old), &raw mut new) };
    let set = made.ok().and_then(|()| {
        // SAFETY: the list outlives the call.
        unsafe { SetNamedSecurityInfoW(&name, SE_FILE_OBJECT, what, None, None, Some(new), None) }.ok()
    });
    // SAFETY: both are ours to give back, and nothing is left that reads them.
    unsafe {
        LocalFree(Some(HLOCAL(new.cast())));
        LocalFree(Some(HLOCAL(all.0)));
    }
    Ok(set?)
}
