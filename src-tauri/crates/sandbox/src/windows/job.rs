//! The job that a worker is put into: it ends with the app, and is limited in memory, processes and windows.

use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};

use windows::Win32::Foundation::HANDLE;
use windows::Win32::System::JobObjects::{
    CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT, JOB_OBJECT_LIMIT_ACTIVE_PROCESS,
    JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION, JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_PROCESS_MEMORY, JOB_OBJECT_UILIMIT, JOB_OBJECT_UILIMIT_DESKTOP,
    JOB_OBJECT_UILIMIT_DISPLAYSETTINGS, JOB_OBJECT_UILIMIT_EXITWINDOWS, JOB_OBJECT_UILIMIT_GLOBALATOMS,
    JOB_OBJECT_UILIMIT_HANDLES, JOB_OBJECT_UILIMIT_READCLIPBOARD, JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS,
    JOB_OBJECT_UILIMIT_WRITECLIPBOARD, JOBOBJECT_BASIC_UI_RESTRICTIONS, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JOBOBJECTINFOCLASS, JobObjectBasicUIRestrictions, JobObjectExtendedLimitInformation, QueryInformationJobObject,
    SetInformationJobObject, TerminateJobObject,
};
use windows::core::{BOOL, PCWSTR};

use super::handle;
use crate::mode;

/// All that has to do with windows, desktops and the clipboard.
const NO_DESKTOP: JOB_OBJECT_UILIMIT = JOB_OBJECT_UILIMIT(
    JOB_OBJECT_UILIMIT_DESKTOP.0
        | JOB_OBJECT_UILIMIT_DISPLAYSETTINGS.0
        | JOB_OBJECT_UILIMIT_EXITWINDOWS.0
        | JOB_OBJECT_UILIMIT_GLOBALATOMS.0
        | JOB_OBJECT_UILIMIT_HANDLES.0
        | JOB_OBJECT_UILIMIT_READCLIPBOARD.0
        | JOB_OBJECT_UILIMIT_SYSTEMPARAMETERS.0
        | JOB_OBJECT_UILIMIT_WRITECLIPBOARD.0,
);

/// A job. When the last handle to it is closed, by us or by our end, what runs in it ends.
pub(super) struct Job(OwnedHandle);

impl Job {
    /// One for a single process with at most so many bytes of memory.
    pub(super) fn new(memory: u64) -> io::Result<Self> {
        // SAFETY: no name and no attributes are passed.
        let made = unsafe { CreateJobObjectW(None, PCWSTR::null()) }?;
        // SAFETY: it was just made for us.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(made.0) });
        let bytes = usize::try_from(memory).unwrap_or(usize::MAX);
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT(
            JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE.0
                | JOB_OBJECT_LIMIT_ACTIVE_PROCESS.0
                | JOB_OBJECT_LIMIT_PROCESS_MEMORY.0
                | JOB_OBJECT_LIMIT_JOB_MEMORY.0
                | JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION.0,
        );
        limits.BasicLimitInformation.ActiveProcessLimit = 1;
        (limits.ProcessMemoryLimit, limits.JobMemoryLimit) = (bytes, bytes);
        job.set(JobObjectExtendedLimitInformation, &limits)?;
        job.set(JobObjectBasicUIRestrictions, &JOBOBJECT_BASIC_UI_RESTRICTIONS { UIRestrictionsClass: NO_DESKTOP })?;
        Ok(job)
    }

    fn set<T>(&self, class: JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        let length = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
        // SAFETY: the value has so many bytes.
        unsafe { SetInformationJobObject(self.handle(), class, std::ptr::from_ref(value).cast(), length) }?;
        Ok(())
    }

    fn ask<T: Default>(&self, class: JOBOBJECTINFOCLASS) -> Option<T> {
        let mut value = T::default();
        let length = u32::try_from(size_of::<T>()).ok()?;
        let place = std::ptr::from_mut(&mut value).cast();
        // SAFETY: there is room for so many bytes, and any bytes are a value of these structures of numbers.
        unsafe { QueryInformationJobObject(Some(self.handle()), class, place, length, None) }.ok()?;
        Some(value)
    }

    /// For a call while this lives.
    pub(super) fn handle(&self) -> HANDLE {
        handle(&self.0)
    }

    /// Whether a process is in it.
    pub(super) fn holds(&self, process: HANDLE) -> Option<bool> {
        let mut inside = BOOL::default();
        // SAFETY: the place for the result is ours; handles that mean nothing are refused.
        unsafe { IsProcessInJob(process, Some(self.handle()), &raw mut inside) }.ok()?;
        Some(inside.as_bool())
    }

    /// Its limits as the system knows them.
    pub(super) fn limits(&self) -> Option<mode::Job> {
        let limits: JOBOBJECT_EXTENDED_LIMIT_INFORMATION = self.ask(JobObjectExtendedLimitInformation)?;
        let desktop: Option<JOBOBJECT_BASIC_UI_RESTRICTIONS> = self.ask(JobObjectBasicUIRestrictions);
        let set = |flag: JOB_OBJECT_LIMIT| limits.BasicLimitInformation.LimitFlags.0 & flag.0 != 0;
        Some(mode::Job {
            kill_on_close: set(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE),
            memory: set(JOB_OBJECT_LIMIT_PROCESS_MEMORY).then_some(limits.ProcessMemoryLimit as u64),
            processes: set(JOB_OBJECT_LIMIT_ACTIVE_PROCESS).then_some(limits.BasicLimitInformation.ActiveProcessLimit),
            closed_desktop: desktop.is_some_and(|desktop| desktop.UIRestrictionsClass.0 & NO_DESKTOP.0 == NO_DESKTOP.0),
        })
    }

    /// Ends whatever runs in it. Nothing happens if nothing does.
    pub(super) fn end(&self) {
        // SAFETY: the handle is open.
        let _ = unsafe { TerminateJobObject(self.handle(), 1) };
    }
}
