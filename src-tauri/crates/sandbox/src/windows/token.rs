//! What a process may do, as its token says: a restricted one of low integrity for the worker, and what any process's token says.

use std::io;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};

use windows::Win32::Foundation::{HANDLE, HLOCAL, LocalFree};
use windows::Win32::Security::Authorization::{
    EXPLICIT_ACCESS_W, GRANT_ACCESS, SetEntriesInAclW, TRUSTEE_IS_SID, TRUSTEE_W,
};
use windows::Win32::Security::{
    ACL, CreateRestrictedToken, DISABLE_MAX_PRIVILEGE, GetSidSubAuthority, GetSidSubAuthorityCount,
    GetTokenInformation, NO_INHERITANCE, PSID, SID_AND_ATTRIBUTES, SetTokenInformation, TOKEN_ADJUST_DEFAULT,
    TOKEN_ASSIGN_PRIMARY, TOKEN_DEFAULT_DACL, TOKEN_DUPLICATE, TOKEN_GROUPS, TOKEN_INFORMATION_CLASS,
    TOKEN_MANDATORY_LABEL, TOKEN_PRIVILEGES, TOKEN_QUERY, TokenCapabilities, TokenDefaultDacl, TokenGroups,
    TokenIntegrityLevel, TokenIsAppContainer, TokenPrivileges, TokenRestrictedSids,
};
use windows::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};
use windows::core::PWSTR;

use super::handle;
use super::sid::{EVERYONE, INTERACTIVE, LOW_INTEGRITY, RESTRICTED, Sid, USERS};

/// Marks of a group in a token.
const SE_GROUP_INTEGRITY: u32 = 0x20;
const SE_GROUP_LOGON_ID: u32 = 0xC000_0000;
const GENERIC_ALL: u32 = 0x1000_0000;
/// No answer about a token is longer, in bytes.
const LONGEST: u32 = 256 * 1024;

/// A token for the worker, made of this process's own: no privilege but to pass folders, no group of weight, files only where everybody
/// or all users may, low integrity. It is the one that Chromium gives its process for graphics, whose drivers start with it.
pub(super) fn restricted() -> io::Result<OwnedHandle> {
    let mut own = HANDLE::default();
    let rights = TOKEN_DUPLICATE | TOKEN_ASSIGN_PRIMARY | TOKEN_QUERY | TOKEN_ADJUST_DEFAULT;
    // SAFETY: the place for the result is ours.
    unsafe { OpenProcessToken(GetCurrentProcess(), rights, &raw mut own) }?;
    // SAFETY: it was just opened for us.
    let own = unsafe { OwnedHandle::from_raw_handle(own.0) };
    let (kept, restricting) = names(&own)?;
    let groups = groups(&own, TokenGroups)?;
    let disabled: Vec<SID_AND_ATTRIBUTES> = groups
        .iter()
        .filter(|(sid, marks)| marks & SE_GROUP_INTEGRITY == 0 && !kept.contains(sid))
        .map(|(sid, _)| entry(sid, 0))
        .collect();
    let restricting: Vec<SID_AND_ATTRIBUTES> = restricting.iter().map(|sid| entry(sid, 0)).collect();
    let mut made = HANDLE::default();
    // SAFETY: names and lists outlive the call.
    unsafe {
        CreateRestrictedToken(
            handle(&own),
            DISABLE_MAX_PRIVILEGE,
            Some(&disabled),
            None,
            Some(&restricting),
            &raw mut made,
        )
    }?;
    // SAFETY: it was just made for us.
    let made = unsafe { OwnedHandle::from_raw_handle(made.0) };
    let low = Sid::parse(LOW_INTEGRITY)?;
    let label = TOKEN_MANDATORY_LABEL { Label: entry(&low, SE_GROUP_INTEGRITY) };
    set(&made, TokenIntegrityLevel, &label)?;
    let logon = groups.iter().find(|(_, marks)| marks & SE_GROUP_LOGON_ID == SE_GROUP_LOGON_ID);
    if let Some((logon, _)) = logon {
        open_to(&made, logon)?;
    }
    Ok(made)
}

/// Groups that stay as they are, and those that everything asked for is measured by besides.
fn names(token: &OwnedHandle) -> io::Result<(Vec<Sid>, Vec<Sid>)> {
    let parse = |names: &[&str]| names.iter().map(|name| Sid::parse(name)).collect::<io::Result<Vec<Sid>>>();
    let (mut kept, mut restricting) = (parse(&[EVERYONE, USERS, INTERACTIVE])?, parse(&[EVERYONE, USERS, RESTRICTED])?);
    // Objects that have names, which drivers make, belong to whoever logged on.
    for (sid, marks) in groups(token, TokenGroups)? {
        if marks & SE_GROUP_LOGON_ID == SE_GROUP_LOGON_ID {
            kept.push(sid.clone());
            restricting.push(sid);
        }
    }
    Ok((kept, restricting))
}

/// Lets a process with this token open what it made itself: that is measured twice, and the second time by the restricting names alone.
fn open_to(token: &OwnedHandle, sid: &Sid) -> io::Result<()> {
    let before = ask(token, TokenDefaultDacl)?;
    // SAFETY: the answer begins with this structure, and the list that it points to is part of the answer.
    let old = unsafe { before.as_ptr().cast::<TOKEN_DEFAULT_DACL>().read() }.DefaultDacl;
    let trustee =
        TRUSTEE_W { TrusteeForm: TRUSTEE_IS_SID, ptstrName: PWSTR(sid.pointer().0.cast()), ..TRUSTEE_W::default() };
    let access = EXPLICIT_ACCESS_W {
        grfAccessPermissions: GENERIC_ALL,
        grfAccessMode: GRANT_ACCESS,
        grfInheritance: NO_INHERITANCE,
        Trustee: trustee,
    };
    let mut made: *mut ACL = std::ptr::null_mut();
    // SAFETY: name and old list outlive the call.
    let done = unsafe { SetEntriesInAclW(Some(&[access]), Some(old), &raw mut made) };
    done.ok()?;
    let set = set(token, TokenDefaultDacl, &TOKEN_DEFAULT_DACL { DefaultDacl: made });
    // SAFETY: the memory is ours to give back, and the token has a copy.
    unsafe { LocalFree(Some(HLOCAL(made.cast()))) };
    set
}

fn entry(sid: &Sid, marks: u32) -> SID_AND_ATTRIBUTES {
    SID_AND_ATTRIBUTES { Sid: sid.pointer(), Attributes: marks }
}

fn set<T>(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS, value: &T) -> io::Result<()> {
    let length = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: the value has so many bytes, and what it points to outlives the call.
    unsafe { SetTokenInformation(handle(token), class, std::ptr::from_ref(value).cast(), length) }?;
    Ok(())
}

/// What a token says about itself, in eights of bytes so that structures lie where Windows wants them.
fn ask(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> io::Result<Vec<u64>> {
    let mut length = 256;
    loop {
        let mut answer: Vec<u64> = vec![0; (length as usize).div_ceil(8)];
        let room = u32::try_from(answer.len() * 8).unwrap_or(LONGEST);
        let mut needed = 0;
        // SAFETY: there is room for so many bytes.
        let told = unsafe {
            GetTokenInformation(handle(token), class, Some(answer.as_mut_ptr().cast()), room, &raw mut needed)
        };
        match told {
            Ok(()) => return Ok(answer),
            Err(_) if needed > room && needed <= LONGEST => length = needed,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A number that a token says about itself.
fn number(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> io::Result<u32> {
    // SAFETY: an answer has eight bytes at least.
    Ok(unsafe { ask(token, class)?.as_ptr().cast::<u32>().read() })
}

/// Names in a token, with their marks.
fn groups(token: &OwnedHandle, class: TOKEN_INFORMATION_CLASS) -> io::Result<Vec<(Sid, u32)>> {
    let answer = ask(token, class)?;
    let list = answer.as_ptr().cast::<TOKEN_GROUPS>();
    // SAFETY: the answer begins with this structure; behind the count stand so many entries, and their names are part of the answer.
    unsafe {
        let count = (*list).GroupCount as usize;
        let first = (&raw const (*list).Groups).cast::<SID_AND_ATTRIBUTES>();
        (0..count)
            .map(|at| {
                let one = first.add(at).read();
                Ok((Sid::copy(one.Sid)?, one.Attributes))
            })
            .collect()
    }
}

/// What a process's token says of the walls.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) app_container: Option<bool>,
    pub(super) capabilities: Option<u32>,
    pub(super) integrity: Option<u32>,
    pub(super) restricting: Option<u32>,
    pub(super) privileges: Option<u32>,
}

/// Asks the token of a process.
pub(super) fn facts(process: HANDLE) -> Facts {
    let mut token = HANDLE::default();
    // SAFETY: the place for the result is ours; a handle that means no process is refused.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) }.is_err() {
        return Facts::default();
    }
    // SAFETY: it was just opened for us.
    let token = unsafe { OwnedHandle::from_raw_handle(token.0) };
    let count = |class| Some(u32::try_from(groups(&token, class).ok()?.len()).unwrap_or(u32::MAX));
    Facts {
        app_container: number(&token, TokenIsAppContainer).ok().map(|answer| answer != 0),
        capabilities: count(TokenCapabilities),
        integrity: integrity(&token),
        restricting: count(TokenRestrictedSids),
        // SAFETY: the answer begins with this structure.
        privileges: ask(&token, TokenPrivileges)
            .ok()
            .map(|answer| unsafe { (*answer.as_ptr().cast::<TOKEN_PRIVILEGES>()).PrivilegeCount }),
    }
}

fn integrity(token: &OwnedHandle) -> Option<u32> {
    let answer = ask(token, TokenIntegrityLevel).ok()?;
    // SAFETY: the answer begins with this structure, and the name that it points to is part of the answer.
    unsafe {
        let sid: PSID = (*answer.as_ptr().cast::<TOKEN_MANDATORY_LABEL>()).Label.Sid;
        let last = u32::from(*GetSidSubAuthorityCount(sid)).checked_sub(1)?;
        Some(*GetSidSubAuthority(sid, last))
    }
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsRawHandle as _;

    use super::*;

    #[test]
    fn the_token_of_this_process_says_what_it_is() {
        // SAFETY: no pointer is passed.
        let facts = facts(unsafe { GetCurrentProcess() });
        assert_eq!(facts.app_container, Some(false));
        assert!(facts.integrity.is_some_and(|level| level >= 0x2000), "{facts:?}");
        assert!(facts.privileges.is_some_and(|count| count > 1), "{facts:?}");
        assert!(!matches!(facts.restricting, Some(1..)), "{facts:?}");
    }

    #[test]
    fn a_restricted_token_is_made_without_being_asked_for_rights() {
        let token = restricted().unwrap();
        assert!(!token.as_raw_handle().is_null());
        // Groups of weight are there to forbid only.
        let administrators = Sid::parse("S-1-5-32-544").unwrap();
        for (sid, marks) in groups(&token, TokenGroups).unwrap() {
            assert!(sid != administrators || marks & 0x10 != 0, "administrators are not disabled: {marks:#x}");
        }
    }
}
