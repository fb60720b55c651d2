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
use super::rules::{Check, Test, Width};
use crate::walls::{Calls, ConfineError};

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
        (libc::SYS_sched_getaffinity, rules(Rule::OwnProcessors)?),
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

/// Any of these, each being all of its conditions.
fn rules(rule: Rule) -> Result<Vec<SeccompRule>, BackendError> {
    let all = |checks: Vec<Check>| SeccompRule::new(checks.into_iter().map(condition).collect::<Result<_, _>>()?);
    rule.alternatives().into_iter().map(all).collect()
}

fn condition(check: Check) -> Result<SeccompCondition, BackendError> {
    let width = match check.width {
        Width::Half => SeccompCmpArgLen::Dword,
        Width::Whole => SeccompCmpArgLen::Qword,
    };
    let itself = u64::from(std::process::id());
    let (operator, value) = match check.test {
        Test::Is(value) => (SeccompCmpOp::Eq, value),
        Test::IsNot(value) => (SeccompCmpOp::Ne, value),
        Test::Bits { of, set } => (SeccompCmpOp::MaskedEq(of), set),
        Test::IsItself => (SeccompCmpOp::Eq, itself),
        Test::IsNotItself => (SeccompCmpOp::Ne, itself),
    };
    SeccompCondition::new(check.argument, width, operator, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_closed_for_good_is_known_by_how_many_filters_it_has() {
        let filters = [Calls::Opening, Calls::Card].map(|calls| programs(calls).unwrap().len()).iter().sum::<usize>();
        assert_eq!(filters, crate::state::SEALED as usize);
        assert_eq!(programs(Calls::Card).unwrap().len(), programs(Calls::Processor).unwrap().len());
    }
}
