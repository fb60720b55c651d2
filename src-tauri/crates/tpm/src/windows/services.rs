//! TPM Base Services (`tbs.dll`): which TPM there is, commands to it, and the log of the measured boot.
//!
//! Its functions are looked up when they are called: a program that names them in its table does not start where one is missing, as in older
//! Windows and under Wine.

use super::provider::Provider;
use crate::kept::Refusal;
use crate::presence::Presence;
use crate::transport::{LIMIT, Transport, length};
use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use windows::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};
use windows::Win32::System::TpmBaseServices::{
    TBS_CONTEXT_PARAMS2, TBS_CONTEXT_PARAMS2_0, TBS_CONTEXT_VERSION_TWO, TBS_TCGLOG_SRTM_CURRENT, TPM_DEVICE_INFO,
};
use windows::core::{PCSTR, s, w};

/// Of a context: commands of TPM 2.0 are sent on it.
const INCLUDE_TPM_20: u32 = 1 << 2;
const LOCALITY_ZERO: u32 = 0;
const PRIORITY_NORMAL: u32 = 200;
/// A command that Windows does not pass on, and access denied.
const BLOCKED: [u8; 4] = 0x8028_0400_u32.to_be_bytes();
const COMMAND_BLOCKED: u32 = 0x8028_0400;
const ACCESS_DENIED: u32 = 0x8028_4012;
/// There is no such library, or not this function in it; Windows' own numbers.
const NO_LIBRARY: u32 = 0x8007_007e;
const NO_FUNCTION: u32 = 0x8007_007f;

type GetDeviceInfo = unsafe extern "system" fn(u32, *mut TPM_DEVICE_INFO) -> u32;
type CreateContext = unsafe extern "system" fn(*const TBS_CONTEXT_PARAMS2, *mut *mut c_void) -> u32;
type CloseContext = unsafe extern "system" fn(*mut c_void) -> u32;
type GetLog = unsafe extern "system" fn(u32, *mut u8, *mut u32) -> u32;
type Submit = unsafe extern "system" fn(*mut c_void, u32, u32, *const u8, u32, *mut u8, *mut u32) -> u32;

/// What Windows shows of a TPM, and whether this user is let in.
pub(crate) fn presence() -> Presence {
    let version = version();
    // Where there is no TPM of a use, some functions are there in name only.
    let entry = if version == Ok(2) { enter() } else { Ok(()) };
    Presence::of_services(version, entry)
}

/// The TPM's version: 1 or 2.
pub(crate) fn version() -> Result<u32, Refusal> {
    let asked = "say which TPM this PC has";
    let found = function(asked, s!("Tbsi_GetDeviceInfo"))?;
    // SAFETY: the function has this form since Windows 8.
    let get: GetDeviceInfo = unsafe { std::mem::transmute(found) };
    let mut info = TPM_DEVICE_INFO { structVersion: 1, ..TPM_DEVICE_INFO::default() };
    let size = u32::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: there is room for so many bytes.
    done(asked, unsafe { get(size, &raw mut info) })?;
    Ok(info.tpmVersion)
}

/// Opens a way to the TPM and closes it again.
fn enter() -> Result<(), Refusal> {
    let asked = "let this user talk to the TPM";
    let open = function(asked, s!("Tbsi_Context_Create"))?;
    // SAFETY: the function has this form since Windows 8.
    let open: CreateContext = unsafe { std::mem::transmute(open) };
    let close = function(asked, s!("Tbsip_Context_Close"))?;
    // SAFETY: the function has this form since Windows Vista.
    let close: CloseContext = unsafe { std::mem::transmute(close) };
    let wanted = TBS_CONTEXT_PARAMS2 {
        version: TBS_CONTEXT_VERSION_TWO,
        Anonymous: TBS_CONTEXT_PARAMS2_0 { asUINT32: INCLUDE_TPM_20 },
    };
    let mut context = std::ptr::null_mut();
    // SAFETY: the place for the result is ours.
    done(asked, unsafe { open(&raw const wanted, &raw mut context) })?;
    // SAFETY: it was just opened, and nobody else has it.
    done(asked, unsafe { close(context) })
}

/// The log of this start, if there is one that evidence can carry.
pub(crate) fn boot_log() -> Option<Vec<u8>> {
    // Without a TPM there is no log, and what is only there in name is not called.
    version().ok().filter(|version| *version == 2)?;
    let found = function("give the log", s!("Tbsi_Get_TCG_Log_Ex")).ok()?;
    // SAFETY: the function has this form since it exists, in Windows 10.
    let get: GetLog = unsafe { std::mem::transmute(found) };
    let mut length = 0;
    // SAFETY: without a place it only says how long the log is.
    let told = unsafe { get(TBS_TCGLOG_SRTM_CURRENT, std::ptr::null_mut(), &raw mut length) };
    let size = usize::try_from(length).ok().filter(|size| told == 0 && (1..=evidence::LOG_LIMIT).contains(size))?;
    let mut log = vec![0; size];
    // SAFETY: there is room for so many bytes.
    let told = unsafe { get(TBS_TCGLOG_SRTM_CURRENT, log.as_mut_ptr(), &raw mut length) };
    log.truncate(usize::try_from(length).unwrap_or(0));
    (told == 0 && !log.is_empty()).then_some(log)
}

/// The key provider's own way to the TPM: its handles of keys count on no other.
pub(crate) struct Way<'a> {
    context: *mut c_void,
    submit: Submit,
    /// Its holder closes it.
    provider: PhantomData<&'a Provider>,
}

impl Way<'_> {
    /// The way of this context, which lives as long as the provider.
    pub(super) fn of(_provider: &Provider, context: *mut c_void) -> Result<Way<'_>, Refusal> {
        let found = function("pass commands on to the TPM", s!("Tbsip_Submit_Command"))?;
        // SAFETY: the function has this form since Windows Vista.
        let submit: Submit = unsafe { std::mem::transmute(found) };
        Ok(Way { context, submit, provider: PhantomData })
    }
}

impl Transport for Way<'_> {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; LIMIT];
        let (size, mut taken) = (u32::try_from(command.len()), u32::try_from(answer.len()).unwrap_or(0));
        let size = size.map_err(|_| io::ErrorKind::InvalidInput)?;
        let (from, to) = (command.as_ptr(), answer.as_mut_ptr());
        // SAFETY: the context is open while the provider is, and both places have as many bytes as is said. Windows itself waits for the
        // TPM, and not for ever.
        let told =
            unsafe { (self.submit)(self.context, LOCALITY_ZERO, PRIORITY_NORMAL, from, size, to, &raw mut taken) };
        match told {
            0 => {}
            COMMAND_BLOCKED | ACCESS_DENIED => return Err(io::ErrorKind::PermissionDenied.into()),
            code => return Err(io::Error::other(Refusal { asked: "pass a command on to the TPM", code })),
        }
        answer.truncate(usize::try_from(taken).unwrap_or(0));
        if answer.get(6..10) == Some(&BLOCKED) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let whole = length(&answer) == Some(answer.len());
        if whole { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// A function of the library.
fn function(asked: &'static str, name: PCSTR) -> Result<unsafe extern "system" fn() -> isize, Refusal> {
    // SAFETY: only the system's own folder is searched, and the library is never unloaded.
    let library = unsafe { LoadLibraryExW(w!("tbs.dll"), None, LOAD_LIBRARY_SEARCH_SYSTEM32) };
    let library = library.map_err(|_| Refusal { asked, code: NO_LIBRARY })?;
    // SAFETY: the library is loaded.
    unsafe { GetProcAddress(library, name) }.ok_or(Refusal { asked, code: NO_FUNCTION })
}

fn done(asked: &'static str, code: u32) -> Result<(), Refusal> {
    if code == 0 { Ok(()) } else { Err(Refusal { asked, code }) }
}
