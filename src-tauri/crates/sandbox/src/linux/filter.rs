//! From the list of system calls to filters that the kernel takes.
//!
//! Three programs for each list, because a program knows two answers: one kills for whatever has no line, one refuses what has a line but
//! is not to be done, one tells the C library that there is no `clone3` and nobody else's processors. The kernel obeys the strictest of all that were ever installed.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::calls::{CALLS, Rule, Verdict};
use crate::walls::{Calls, ConfineError};

use SeccompCmpArgLen::{Dword, Qword};
use SeccompCmpOp::{Eq, MaskedEq, Ne};

/// Kinds of namespaces, and what else makes more of a thread than one.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;
/// `MADV_HWPOISON` and `MADV_SOFT_OFFLINE`.
const POISON: [u64; 2] = [100, 101];

/// Puts a list into force, for all threads of this process. Nothing takes it back.
pub(crate) fn install(calls: Calls) -> Result<(), ConfineError> {
    for program in programs(calls).map_err(|error| ConfineError::Calls(error.to_string()))? {
        seccompiler::apply_filter_all_threads(&program).map_err(|error| ConfineError::Calls(words(&error)))?;
    }
    Ok(())
}

fn words(error: &seccompiler::Error) -> String {
    match error {
        seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// In the order in which they are to be installed: the list that no longer allows a filter to be installed comes last.
fn programs(calls: Calls) -> Result<Vec<BpfProgram>, BackendError> {
    let mut listed = BTreeMap::new();
    let mut made = BTreeMap::new();
    for call in CALLS {
        let rules = match call.verdict(calls) {
            // Let pass by this program, because another one has a better answer.
            Verdict::N if call.number == libc::SYS_clone3 => Some(Vec::new()),
            Verdict::N => None,
            Verdict::Y | Verdict::If(Rule::OwnProcessors) => Some(Vec::new()),
            Verdict::If(rule) => Some(rules(rule)?),
        };
        listed.insert(call.number, Vec::new());
        if let Some(rules) = rules {
            made.insert(call.number, rules);
        }
    }
    let no_such_call = BTreeMap::from([
        (libc::SYS_clone3, Vec::new()),
        // What is asked of a thread by its number is not told: which of them are ours, a filter can't know.
        (libc::SYS_sched_getaffinity, others_processors()?),
    ]);
    let refusal = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let program = |rules, otherwise, matched| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64)?.try_into()
    };
    Ok(vec![
        program(no_such_call, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?,
        program(listed, SeccompAction::KillProcess, SeccompAction::Allow)?,
        program(made, refusal, SeccompAction::Allow)?,
    ])
}

/// Neither the caller nor the process's first thread.
fn others_processors() -> Result<Vec<SeccompRule>, BackendError> {
    let other = |whose: u64| SeccompCondition::new(0, Dword, Ne, whose);
    Ok(vec![SeccompRule::new(vec![other(0)?, other(u64::from(std::process::id()))?])?])
}

/// Any of these, each being all of its conditions.
fn rules(rule: Rule) -> Result<Vec<SeccompRule>, BackendError> {
    let argument = SeccompCondition::new;
    let all = |conditions: Vec<Result<SeccompCondition, BackendError>>| {
        SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
    };
    let one_of = |index: u8, length: SeccompCmpArgLen, values: &[u64]| {
        values.iter().map(|value| all(vec![argument(index, length.clone(), Eq, *value)])).collect()
    };
    match rule {
        Rule::Thread => {
            let thread = libc::CLONE_THREAD as u64;
            Ok(vec![all(vec![argument(0, Qword, MaskedEq(thread | NAMESPACES), thread)])?])
        }
        Rule::NoCode => Ok(vec![all(vec![argument(2, Qword, MaskedEq(libc::PROT_EXEC as u64), 0)])?]),
        Rule::NoAddress => Ok(vec![all(vec![argument(4, Qword, Eq, 0)])?]),
        // Another program answers.
        Rule::OwnProcessors => Ok(Vec::new()),
        Rule::Itself => one_of(0, Dword, &[u64::from(std::process::id())]),
        Rule::Name => one_of(0, Dword, &[libc::PR_SET_NAME as u64, libc::PR_GET_NAME as u64]),
        Rule::NameOrNoMore => {
            let one = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS];
            one_of(0, Dword, &one.map(|what| what as u64))
        }
        Rule::Descriptor => {
            let harmless = [
                libc::F_GETFD,
                libc::F_SETFD,
                libc::F_GETFL,
                libc::F_SETFL,
                libc::F_DUPFD,
                libc::F_DUPFD_CLOEXEC,
                libc::F_ADD_SEALS,
                libc::F_GET_SEALS,
            ];
            one_of(1, Dword, &harmless.map(|command| command as u64))
        }
        Rule::Card => {
            // By the byte that says whose order it is: DRM, NVIDIA, AMD's compute driver, shared buffers, fences, and NVIDIA's unified
            // memory, whose orders are plain numbers.
            let kinds = [b'd', b'F', b'K', b'b', b'>'].map(|kind| u64::from(kind) << 8);
            let mut rules = Vec::new();
            for kind in kinds {
                rules.push(all(vec![argument(1, Dword, MaskedEq(0xff00), kind)])?);
            }
            rules.push(all(vec![argument(1, Dword, MaskedEq(0xffff_ff00), 0)])?);
            rules.push(all(vec![argument(1, Dword, MaskedEq(0xffff_fffc), 0x3000_0000)])?);
            Ok(rules)
        }
        Rule::Narrower => {
            let (mode, threads) = (u64::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_TSYNC);
            Ok(vec![all(vec![argument(0, Dword, Eq, mode), argument(1, Qword, Eq, threads)])?])
        }
        Rule::AskLimits => Ok(vec![all(vec![argument(0, Dword, Eq, 0), argument(2, Qword, Eq, 0)])?]),
        Rule::Advice => Ok(vec![all(POISON.iter().map(|advice| argument(2, Dword, Ne, *advice)).collect())?]),
    }
}
