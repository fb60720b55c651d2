//! The console a program without one was started from.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::{AsRawHandle as _, IntoRawHandle as _, RawHandle};

/// Standard input, output and error output, by Windows' numbers, and the console's file for each.
const STANDARD: [(u32, &str); 3] = [
    ((-10_i32).cast_unsigned(), "CONIN$"),
    ((-11_i32).cast_unsigned(), "CONOUT$"),
    ((-12_i32).cast_unsigned(), "CONOUT$"),
];
const ATTACH_PARENT_PROCESS: u32 = u32::MAX;
const INVALID_HANDLE: usize = usize::MAX;
const FILE_TYPE_UNKNOWN: u32 = 0;
const ENABLE_ECHO_INPUT: u32 = 4;

#[link(name = "kernel32")]
unsafe extern "system" {
    fn AttachConsole(process: u32) -> i32;
    fn GetStdHandle(which: u32) -> RawHandle;
    fn SetStdHandle(which: u32, handle: RawHandle) -> i32;
    fn GetFileType(file: RawHandle) -> u32;
    fn GetConsoleMode(console: RawHandle, mode: *mut u32) -> i32;
    fn SetConsoleMode(console: RawHandle, mode: u32) -> i32;
}

pub(crate) fn reach_terminal() {
    let found = STANDARD.map(|(which, _)| {
        // SAFETY: no pointer is passed.
        unsafe { GetStdHandle(which) }
    });
    if found.iter().all(|handle| leads_somewhere(*handle)) {
        return;
    }
    // SAFETY: no pointer is passed. Fails where it has one already, and where nobody has, as when the program was opened with the mouse:
    // then the console's files don't open below.
    let _ = unsafe { AttachConsole(ATTACH_PARENT_PROCESS) };
    for ((which, name), before) in STANDARD.into_iter().zip(found) {
        let handle = if leads_somewhere(before) {
            // Attaching may have put the console in the place of a pipe or a file.
            before
        } else {
            let Ok(console) = open(name) else { continue };
            console.into_raw_handle()
        };
        // SAFETY: the handle is open, and nobody closes it as long as the process lives.
        unsafe { SetStdHandle(which, handle) };
    }
}

/// A console's mode as it was before; so again when this is dropped.
pub(crate) struct Quiet(u32);

pub(crate) fn echo_off() -> io::Result<Quiet> {
    let mut before = 0;
    // SAFETY: standard input is never closed; the number outlives the call.
    let known = unsafe { GetConsoleMode(io::stdin().as_raw_handle(), &raw mut before) };
    if known == 0 || !set_mode(before & !ENABLE_ECHO_INPUT) {
        return Err(io::Error::last_os_error());
    }
    Ok(Quiet(before))
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A console that is gone shows nothing.
        set_mode(self.0);
    }
}

fn set_mode(mode: u32) -> bool {
    // SAFETY: standard input is never closed; no pointer is passed.
    (unsafe { SetConsoleMode(io::stdin().as_raw_handle(), mode) }) != 0
}

/// The console's own file. Asking for its mode takes both rights.
fn open(name: &str) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(name)
}

fn leads_somewhere(handle: RawHandle) -> bool {
    if handle.is_null() || handle as usize == INVALID_HANDLE {
        return false;
    }
    // SAFETY: a value that is no handle is refused; no memory of ours is touched.
    (unsafe { GetFileType(handle) }) != FILE_TYPE_UNKNOWN
}
