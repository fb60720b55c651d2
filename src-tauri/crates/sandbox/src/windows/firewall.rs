//! The rule of Windows' firewall that stops what the worker sends to other computers. To make it takes an administrator, so the owner asks
//! for it and Windows asks the owner; to see whether it is there takes nobody.
//!
//! What is run with an administrator's rights is Windows' own `netsh`, not a program of ours: ours lies where any program of the same user
//! could exchange it. Windows' firewall never looks at what stays on this PC, and lets nobody in who was not let in by name.

use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use windows::Win32::Foundation::{ERROR_CANCELLED, HANDLE};
use windows::Win32::NetworkManagement::WindowsFirewall::{
    INetFwPolicy2, INetFwRule, NET_FW_ACTION_BLOCK, NET_FW_IP_PROTOCOL_ANY, NET_FW_PROFILE2_DOMAIN,
    NET_FW_PROFILE2_PRIVATE, NET_FW_PROFILE2_PUBLIC, NET_FW_RULE_DIR_OUT, NetFwPolicy2,
};
use windows::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows::Win32::System::Threading::{GetExitCodeProcess, INFINITE, WaitForSingleObject};
use windows::Win32::UI::Shell::{SEE_MASK_NO_CONSOLE, SEE_MASK_NOCLOSEPROCESS, SHELLEXECUTEINFOW, ShellExecuteExW};
use windows::core::{BSTR, HSTRING, PCWSTR, w};

/// Why there is no rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The owner said no when Windows asked.
    #[error("Windows asked for an administrator, and the answer was no")]
    Declined,
    /// The program's path has a sign in it that the rule can't be told.
    #[error("{} has a sign in its name that Windows' firewall cannot be told", .0.display())]
    Path(PathBuf),
    /// Windows does not do it.
    #[error("Windows' firewall does not take the rule: {0}")]
    System(#[source] io::Error),
    /// It said that it did, and the rule is not there.
    #[error("Windows' firewall says that it took the rule, but does not have it or is switched off")]
    NotThere,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

/// The rule's name: one for each place of the program, so that it is found again.
fn name(program: &str) -> String {
    format!("Chrysalis worker, no network: {program}")
}

/// The program as the firewall is told it. No sign that means something to a command line or to the firewall is let through.
fn told(program: &Path) -> Result<&str, RuleError> {
    let plain = program.to_str().filter(|text| !text.contains(['"', '|', '%', '\0', '\r', '\n', '*', '?', '<', '>']));
    plain
        .filter(|_| program.extension().is_some_and(|end| end.eq_ignore_ascii_case("exe")))
        .ok_or_else(|| RuleError::Path(program.to_owned()))
}

/// What `netsh` is told.
fn words(change: Change, program: &str) -> String {
    let name = name(program);
    match change {
        Change::Add => format!(
            "advfirewall firewall add rule name=\"{name}\" dir=out action=block program=\"{program}\" profile=any enable=yes"
        ),
        Change::Remove => format!("advfirewall firewall delete rule name=\"{name}\""),
    }
}

/// Asks the owner, through Windows, for an administrator, and has the rule made. Blocks until they have answered. Only to be called when the
/// owner asked for it.
pub fn ask_for_rule(program: &Path) -> Result<(), RuleError> {
    change(Change::Add, program)?;
    if has_rule(program) { Ok(()) } else { Err(RuleError::NotThere) }
}

/// The same the other way.
pub fn ask_to_remove_rule(program: &Path) -> Result<(), RuleError> {
    change(Change::Remove, program)
}

fn change(change: Change, program: &Path) -> Result<(), RuleError> {
    let netsh = super::system_folder().join("System32\\netsh.exe");
    let file = HSTRING::from_wide(&netsh.as_os_str().encode_wide().collect::<Vec<u16>>());
    let words = HSTRING::from(words(change, told(program)?));
    let mut order = SHELLEXECUTEINFOW {
        cbSize: u32::try_from(size_of::<SHELLEXECUTEINFOW>()).unwrap_or(0),
        fMask: SEE_MASK_NOCLOSEPROCESS | SEE_MASK_NO_CONSOLE,
        lpVerb: w!("runas"),
        lpFile: PCWSTR(file.as_ptr()),
        lpParameters: PCWSTR(words.as_ptr()),
        ..SHELLEXECUTEINFOW::default()
    };
    // SAFETY: the texts outlive the call.
    unsafe { ShellExecuteExW(&raw mut order) }.map_err(|error| {
        if error.code() == ERROR_CANCELLED.to_hresult() { RuleError::Declined } else { RuleError::System(error.into()) }
    })?;
    wait(order.hProcess).map_err(RuleError::System)
}

fn wait(process: HANDLE) -> io::Result<()> {
    use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
    if process.is_invalid() {
        return Err(io::Error::other("netsh was not started"));
    }
    // SAFETY: it was opened for us by the call before.
    let process = unsafe { OwnedHandle::from_raw_handle(process.0) };
    let mut code = 0;
    // SAFETY: the handle is open, and the place for the result is ours.
    unsafe {
        WaitForSingleObject(super::handle(&process), INFINITE);
        GetExitCodeProcess(super::handle(&process), &raw mut code)?;
    }
    if code == 0 { Ok(()) } else { Err(io::Error::other(format!("netsh ended with {code}"))) }
}

/// Whether the rule is there as it should be, and the firewall on wherever this PC may be.
pub fn has_rule(program: &Path) -> bool {
    let Ok(program) = told(program) else { return false };
    // Windows' firewall speaks through objects that a thread has to be made ready for.
    // SAFETY: paired with the end below, on the same thread; all objects are gone by then.
    let ready = unsafe { CoInitializeEx(None, COINIT_MULTITHREADED) };
    let found = look(program).unwrap_or(false);
    if ready.is_ok() {
        // SAFETY: see above.
        unsafe { CoUninitialize() };
    }
    found
}

fn look(program: &str) -> windows::core::Result<bool> {
    // SAFETY: this thread was made ready; each call gives values of its own.
    unsafe {
        let class = NetFwPolicy2;
        let policy: INetFwPolicy2 = CoCreateInstance(&raw const class, None, CLSCTX_INPROC_SERVER)?;
        for profile in [NET_FW_PROFILE2_DOMAIN, NET_FW_PROFILE2_PRIVATE, NET_FW_PROFILE2_PUBLIC] {
            if !policy.get_FirewallEnabled(profile)?.as_bool() {
                return Ok(false);
            }
        }
        blocks(&policy.Rules()?.Item(&BSTR::from(name(program)))?, program)
    }
}

/// Whether a rule stops everything that the program sends.
fn blocks(rule: &INetFwRule, program: &str) -> windows::core::Result<bool> {
    let everywhere = NET_FW_PROFILE2_DOMAIN.0 | NET_FW_PROFILE2_PRIVATE.0 | NET_FW_PROFILE2_PUBLIC.0;
    // SAFETY: the rule is an object of this thread.
    unsafe {
        Ok(rule.Enabled()?.as_bool()
            && rule.Action()? == NET_FW_ACTION_BLOCK
            && rule.Direction()? == NET_FW_RULE_DIR_OUT
            && rule.Protocol()? == NET_FW_IP_PROTOCOL_ANY.0
            && rule.Profiles()? & everywhere == everywhere
            && rule.RemoteAddresses()? == "*"
            && rule.LocalAddresses()? == "*"
            && rule.InterfaceTypes()?.to_string().eq_ignore_ascii_case("all")
            && rule.ServiceName().is_ok_and(|service| service.is_empty())
            && rule.ApplicationName()?.to_string().eq_ignore_ascii_case(program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "C:\\Users\\Ann O'Hara\\AppData\\Local\\Programs\\Chrysalis\\chrysalis-worker.exe";

    #[test]
    fn the_firewall_is_told_one_program_and_to_block_what_it_sends() {
        let program = told(Path::new(PROGRAM)).unwrap();
        assert_eq!(
            words(Change::Add, program),
            format!(
                "advfirewall firewall add rule name=\"Chrysalis worker, no network: {PROGRAM}\" dir=out action=block \
                 program=\"{PROGRAM}\" profile=any enable=yes"
            )
        );
        assert_eq!(
            words(Change::Remove, program),
            format!("advfirewall firewall delete rule name=\"Chrysalis worker, no network: {PROGRAM}\"")
        );
    }

    #[test]
    fn a_path_that_could_say_something_else_to_the_firewall_is_refused() {
        for bad in
            ["C:\\a\" action=allow\\x.exe", "C:\\%PATH%\\x.exe", "C:\\a|b.exe", "C:\\x", "C:\\a\nb.exe", "C:\\*.exe"]
        {
            assert!(matches!(told(Path::new(bad)), Err(RuleError::Path(_))), "{bad}");
        }
    }

    #[test]
    fn a_rule_that_nobody_made_is_not_there() {
        assert!(!has_rule(Path::new("C:\\no\\such\\chrysalis-worker.exe")));
    }
}
