//! Rules for files, ports and signals that the process gives itself: Landlock, the newest version that the kernel knows.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::places::{self, Use};

/// The newest version whose rules are asked for. Of an older kernel those are taken that it knows.
const NEWEST: ABI = ABI::V6;
/// Its number.
const NEWEST_NUMBER: u32 = 6;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const ASK_VERSION: libc::c_uint = 1;

/// Puts the rules into force for this thread and whatever it starts: the one thread there is, if this is called first thing. Says which
/// version of Landlock's interface they are of.
pub(super) fn guard() -> Result<u32, String> {
    let version = version().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS) => "is not part of this kernel".to_owned(),
        Some(libc::EOPNOTSUPP) => "is switched off at the start of this kernel (the option lsm=)".to_owned(),
        _ => format!("is refused ({error})"),
    })?;
    match restrict() {
        Ok(RulesetStatus::NotEnforced) => Err("takes no rules".to_owned()),
        Ok(_) => Ok(in_force(version)),
        Err(error) => Err(format!("takes no rules ({error})")),
    }
}

fn restrict() -> Result<RulesetStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for (place, how) in places::all() {
        // What cannot even be found is not granted.
        let Ok(open) = PathFd::new(&place) else { continue };
        let rights: BitFlags<AccessFs> = match how {
            Use::Read if place.is_dir() => AccessFs::ReadFile | AccessFs::ReadDir,
            Use::Read => AccessFs::ReadFile.into(),
            Use::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        };
        rules = rules.add_rule(PathBeneath::new(open, rights))?;
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Whose rules they are, on a kernel that knows this one.
fn in_force(kernels: u32) -> u32 {
    kernels.min(NEWEST_NUMBER)
}

fn version() -> std::io::Result<u32> {
    // SAFETY: asked for its version, the call touches no memory.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_VERSION) };
    u32::try_from(answer).map_err(|_| std::io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_were_not_asked_for_are_not_said_to_be_in_force() {
        assert_eq!(NEWEST as u32, NEWEST_NUMBER);
        assert_eq!([1, 6, 7, 9].map(in_force), [1, 6, 6, 6]);
    }
}
