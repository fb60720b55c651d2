//! Starting a process in its walls. It is started stopped; only when the system has confirmed every wall does it make its first step.

use std::ffi::{OsStr, OsString, c_void};
use std::io::{self, PipeReader, PipeWriter};
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsRawHandle, FromRawHandle as _, OwnedHandle};

use windows::Win32::Foundation::{HANDLE, HANDLE_FLAG_INHERIT, HANDLE_FLAGS, SetHandleInformation};
use windows::Win32::Security::SECURITY_CAPABILITIES;
use windows::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, CREATE_UNICODE_ENVIRONMENT, CreateProcessAsUserW, CreateProcessW,
    DETACHED_PROCESS, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT, InitializeProcThreadAttributeList,
    LPPROC_THREAD_ATTRIBUTE_LIST, PROC_THREAD_ATTRIBUTE_CHILD_PROCESS_POLICY, PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
    PROC_THREAD_ATTRIBUTE_JOB_LIST, PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY,
    PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES, PROCESS_INFORMATION, ResumeThread, STARTF_USESTDHANDLES,
    STARTUPINFOEXW, UpdateProcThreadAttribute,
};
use windows::core::{HSTRING, PWSTR};

use super::job::Job;
use super::{MODEL, container, handle, mitigation, seen, token};
use crate::Spawn;
use crate::mode::{Lack, Mode};

/// A process in its walls.
pub(super) struct Started {
    pub(super) process: OwnedHandle,
    pub(super) job: Job,
    pub(super) pid: u32,
}

/// Without it, parts of Windows do not load into a process.
const ROOT: &str = "SystemRoot";
/// The step at which Windows looks at the program.
pub(super) const BEGIN: &str = "it does not start";

/// Why a process does not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    /// No pipe, or no thread.
    #[error("the system has no room for another process: {0}")]
    Resources(#[source] io::Error),
    /// A step of starting it failed.
    #[error("{step}: {source}")]
    Step {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    /// It was started, but its walls are not what they should be. It never made a step.
    #[error("Windows does not confirm its walls: {}", list(.0))]
    Walls(Vec<Lack>),
}

fn list(lacks: &[Lack]) -> String {
    lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The child's ends of its pipes.
pub(super) struct Ends {
    pub(super) reads: PipeReader,
    pub(super) writes: PipeWriter,
    pub(super) logs: PipeWriter,
}

/// Starts it. Blocks until it runs or can't.
pub(super) fn start(spawn: &Spawn, ends: &Ends, mode: Mode, memory: u64) -> Result<Started, Stopped> {
    let at = |step: &'static str| move |source: io::Error| Stopped::Step { step, source };
    let job = Job::new(memory).map_err(at("no job"))?;
    let handles = [raw(&ends.reads), raw(&ends.writes), raw(&ends.logs), raw(&spawn.model)];
    let sid = match mode {
        Mode::AppContainer { .. } => Some(container::profile().map_err(at("no AppContainer"))?),
        Mode::Restricted { .. } | Mode::Wine => None,
    };
    if let Some(sid) = &sid {
        // Where that is not ours to do, the process does not run, and that is noticed.
        let _ = container::let_run(spawn.program.path(), sid);
    }
    let token = match mode {
        Mode::Restricted { .. } => Some(token::restricted().map_err(at("no restricted token"))?),
        Mode::AppContainer { .. } | Mode::Wine => None,
    };
    let capabilities = sid
        .as_ref()
        .map(|sid| SECURITY_CAPABILITIES { AppContainerSid: sid.pointer(), ..SECURITY_CAPABILITIES::default() });
    let jobs = [job.handle()];
    let mut attributes = Attributes::new(5).map_err(at("no list of attributes"))?;
    let listed = (|| {
        attributes.add(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &handles)?;
        attributes.add(PROC_THREAD_ATTRIBUTE_JOB_LIST, &jobs)?;
        attributes.add(PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY, &mitigation::POLICY)?;
        attributes.add(PROC_THREAD_ATTRIBUTE_CHILD_PROCESS_POLICY, &mitigation::NO_CHILDREN)?;
        match &capabilities {
            Some(capabilities) => attributes.add(PROC_THREAD_ATTRIBUTE_SECURITY_CAPABILITIES, capabilities),
            None => Ok(()),
        }
    })();
    listed.map_err(at("an attribute is refused"))?;

    let mut how = STARTUPINFOEXW::default();
    how.StartupInfo.cb = u32::try_from(size_of::<STARTUPINFOEXW>()).unwrap_or(0);
    how.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    (how.StartupInfo.hStdInput, how.StartupInfo.hStdOutput, how.StartupInfo.hStdError) =
        (handles[0], handles[1], handles[2]);
    how.lpAttributeList = attributes.list();
    // Its name means what was measured, because it is held open.
    let program = wide(spawn.program.path().as_os_str());
    let mut line: Vec<u16> = command_line(spawn.program.path().as_os_str(), &spawn.args);
    let environment = environment(spawn.model.as_raw_handle() as usize, mode);
    let block = block(&environment);
    // A folder that the process may be in whatever its walls; ours it may not.
    let root = environment.iter().find(|(name, _)| *name == ROOT).map(|(_, value)| wide(value)).unwrap_or_default();
    // No console, or one more process would serve it.
    let flags = CREATE_SUSPENDED
        | CREATE_NEW_PROCESS_GROUP
        | CREATE_UNICODE_ENVIRONMENT
        | DETACHED_PROCESS
        | EXTENDED_STARTUPINFO_PRESENT;
    let mut made = PROCESS_INFORMATION::default();
    let block = Some(block.as_ptr().cast::<c_void>());
    let line = Some(PWSTR(line.as_mut_ptr()));
    let how = (&raw const how).cast();
    let inheritable = Inheritable::make(&handles).map_err(at("handles cannot be handed on"))?;
    // SAFETY: texts, lists and what they point to outlive the call; the command line may be written to.
    let begun = unsafe {
        match &token {
            Some(token) => CreateProcessAsUserW(
                Some(handle(token)),
                &program,
                line,
                None,
                None,
                true,
                flags,
                block,
                &root,
                how,
                &raw mut made,
            ),
            None => CreateProcessW(&program, line, None, None, true, flags, block, &root, how, &raw mut made),
        }
    };
    drop(inheritable);
    begun.map_err(|error| Stopped::Step { step: BEGIN, source: error.into() })?;
    // SAFETY: both were just opened for us.
    let (process, thread) =
        unsafe { (OwnedHandle::from_raw_handle(made.hProcess.0), OwnedHandle::from_raw_handle(made.hThread.0)) };
    let lacks = seen(handle(&process), &job).lacks(mode);
    if !lacks.is_empty() {
        end(&process, &job);
        return Err(Stopped::Walls(lacks));
    }
    // SAFETY: the thread is ours and stopped.
    if unsafe { ResumeThread(handle(&thread)) } == u32::MAX {
        let source = io::Error::last_os_error();
        end(&process, &job);
        return Err(Stopped::Step { step: "it does not go on", source });
    }
    Ok(Started { process, job, pid: made.dwProcessId })
}

/// Ends it, in its job or not.
fn end(process: &OwnedHandle, job: &Job) {
    job.end();
    super::terminate(process);
}

fn raw(object: &impl AsRawHandle) -> HANDLE {
    HANDLE(object.as_raw_handle())
}

/// Handles that a process started now can inherit, until this is dropped. Only the process for which they are listed gets them, unless this
/// program starts another one at the same time in another way; it would get a pipe that nobody writes to any more, and a model to read.
struct Inheritable<'a>(&'a [HANDLE]);

impl<'a> Inheritable<'a> {
    fn make(handles: &'a [HANDLE]) -> io::Result<Self> {
        let guard = Self(handles);
        for handle in handles {
            // SAFETY: the handle is open; no memory of ours is touched.
            unsafe { SetHandleInformation(*handle, HANDLE_FLAG_INHERIT.0, HANDLE_FLAG_INHERIT) }?;
        }
        Ok(guard)
    }
}

impl Drop for Inheritable<'_> {
    fn drop(&mut self) {
        for handle in self.0 {
            // SAFETY: as above.
            let _ = unsafe { SetHandleInformation(*handle, HANDLE_FLAG_INHERIT.0, HANDLE_FLAGS(0)) };
        }
    }
}

/// What a process is started with besides a program and words.
struct Attributes(Vec<u64>);

impl Attributes {
    /// For so many.
    fn new(count: u32) -> io::Result<Self> {
        let mut length = 0;
        // SAFETY: with no list the call says how long one is; it calls that an error.
        let _ = unsafe { InitializeProcThreadAttributeList(None, count, None, &raw mut length) };
        let mut room = vec![0; length.div_ceil(8)];
        let list = LPPROC_THREAD_ATTRIBUTE_LIST(room.as_mut_ptr().cast());
        // SAFETY: there is room for so many bytes, where they stay.
        unsafe { InitializeProcThreadAttributeList(Some(list), count, None, &raw mut length) }?;
        Ok(Self(room))
    }

    fn list(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        LPPROC_THREAD_ATTRIBUTE_LIST(self.0.as_mut_ptr().cast())
    }

    /// The value must live as long as the list: Windows keeps where it is.
    fn add<T>(&mut self, attribute: u32, value: &T) -> io::Result<()> {
        let place = std::ptr::from_ref(value).cast();
        // SAFETY: the list was initialised; the value has so many bytes, and every caller keeps it until the process is started.
        unsafe {
            UpdateProcThreadAttribute(self.list(), 0, attribute as usize, Some(place), size_of::<T>(), None, None)
        }?;
        Ok(())
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the list was initialised.
        unsafe { DeleteProcThreadAttributeList(self.list()) };
    }
}

fn wide(text: &OsStr) -> HSTRING {
    HSTRING::from_wide(&text.encode_wide().collect::<Vec<u16>>())
}

/// What is in the environment, in the order of the alphabet, as Windows wants it. For an AppContainer it must name the system's folder and
/// one for local data (else: error 203); only that there is one is looked at, and Windows puts the container's own in its place. So it
/// says nothing of the owner.
fn environment(model: usize, mode: Mode) -> Vec<(&'static str, OsString)> {
    let root = super::system_folder();
    let drive = root.components().next().map_or_else(|| "C:".into(), |drive| drive.as_os_str().to_owned());
    let root = root.into_os_string();
    let mut all = vec![(MODEL, OsString::from(model.to_string()))];
    if matches!(mode, Mode::AppContainer { .. }) {
        all.push(("LOCALAPPDATA", root.clone()));
    }
    all.push(("SystemDrive", drive));
    all.push((ROOT, root));
    all
}

/// Name, value, end; and one more end.
fn block(environment: &[(&str, OsString)]) -> Vec<u16> {
    let mut block = Vec::new();
    for (name, value) in environment {
        block.extend(name.encode_utf16().chain([u16::from(b'=')]).chain(value.encode_wide()).chain([0]));
    }
    block.push(0);
    block
}

/// The line that Windows' programs take their words from, with an end.
fn command_line(program: &OsStr, words: &[OsString]) -> Vec<u16> {
    let mut line = Vec::new();
    for word in std::iter::once(program).chain(words.iter().map(OsString::as_os_str)) {
        if !line.is_empty() {
            line.push(u16::from(b' '));
        }
        quote(word, &mut line);
    }
    line.push(0);
    line
}

/// In quotes; in front of a quote of its own, and at the end, backslashes are doubled.
fn quote(word: &OsStr, line: &mut Vec<u16>) {
    let (quote, backslash) = (u16::from(b'"'), u16::from(b'\\'));
    line.push(quote);
    let mut pending = 0;
    for unit in word.encode_wide() {
        if unit == quote {
            line.extend(std::iter::repeat_n(backslash, pending + 1));
        }
        pending = if unit == backslash { pending + 1 } else { 0 };
        line.push(unit);
    }
    line.extend(std::iter::repeat_n(backslash, pending));
    line.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Graphics;

    #[test]
    fn a_container_gets_the_folder_that_windows_wants_named_and_nothing_of_the_owners() {
        let modes =
            [Mode::AppContainer { graphics: Graphics::Vulkan }, Mode::Restricted { firewall: true }, Mode::Wine];
        for mode in modes {
            let environment = environment(7, mode);
            let names: Vec<&str> = environment.iter().map(|(name, _)| *name).collect();
            let expected: &[&str] = match mode {
                Mode::AppContainer { .. } => &[MODEL, "LOCALAPPDATA", "SystemDrive", "SystemRoot"],
                _ => &[MODEL, "SystemDrive", "SystemRoot"],
            };
            assert_eq!(names, expected, "{mode:?}");
            assert!(names.is_sorted_by_key(|name| name.to_ascii_uppercase()));
            let theirs = std::env::var_os("LOCALAPPDATA").unwrap();
            assert!(environment.iter().all(|(_, value)| *value != theirs), "{mode:?}");
        }
        let text = String::from_utf16(&block(&[("A", "b".into()), ("C", "d".into())])).unwrap();
        assert_eq!(text, "A=b\0C=d\0\0");
    }

    #[test]
    fn words_reach_a_program_as_they_are() {
        let words = ["a b", "say \"yes\"", "C:\\folder\\", "\\\"", "", "x\\\\\"y"].map(OsString::from);
        let line = String::from_utf16(&command_line(OsStr::new("p.exe"), &words)).unwrap();
        assert_eq!(
            line,
            "\"p.exe\" \"a b\" \"say \\\"yes\\\"\" \"C:\\folder\\\\\" \"\\\\\\\"\" \"\" \"x\\\\\\\\\\\"y\"\0"
        );
    }
}
