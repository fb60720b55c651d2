//! The conditions in the list of system calls, as values: what is reviewed is what the kernel is given.

use std::fmt;

/// Conditions on the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `clone`: another thread of this process, in no namespace of its own.
    Thread,
    /// `mprotect`: memory that is not run as code.
    NoCode,
    /// `mmap`: no memory that grows downwards by itself, which the kernel counts as a stack and not against the limit of memory.
    NoStack,
    /// `mmap`: the same, and none that is shared and has no name, which is not counted against the limit either.
    Counted,
    /// `mmap`: the same, and not run as code.
    CountedNoCode,
    /// `sendto`: to whoever the socket is connected with.
    NoAddress,
    /// `tgkill`: a signal to this process itself.
    Itself,
    /// `sched_getaffinity`: on which processors the caller or the first thread may run. Of another's there is no such call: the C library
    /// asks by number about a thread of its own, whose number nobody knows beforehand, and goes on without.
    OwnProcessors,
    /// `prctl`: a thread's own name.
    Name,
    /// `prctl`: the same, and giving up privileges once more, which goes with another filter.
    NameOrNoMore,
    /// `fcntl`: marks, copies and seals of descriptors; nobody is told anything by signals.
    Descriptor,
    /// `ioctl`: orders to drivers of graphics cards (DRM, NVIDIA, AMD's compute driver, shared buffers and fences).
    Card,
    /// `seccomp`: another filter, for all threads.
    Narrower,
    /// `prlimit64`: asking for limits of this process, not setting any.
    AskLimits,
    /// `madvise`: anything but poisoning pages.
    Advice,
}

/// How much of an argument is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Its lower 32 bits, which are all that the kernel takes.
    Half,
    /// All 64.
    Whole,
}

use Width::{Half, Whole};

/// What an argument is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    /// It is this.
    Is(u64),
    /// It is not this.
    IsNot(u64),
    /// Of these bits, those and no others are set.
    Bits {
        /// Which are looked at.
        of: u64,
        /// Which of them are set.
        set: u64,
    },
    /// It is the number of this process.
    IsItself,
    /// It is not.
    IsNotItself,
}

/// One comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Check {
    /// Which argument, from 0 on.
    pub(crate) argument: u8,
    pub(crate) width: Width,
    pub(crate) test: Test,
}

/// Kinds of namespaces, and what else makes more of a thread than one.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;
const CODE: u64 = libc::PROT_EXEC as u64;
/// One bit of both ways to share.
const SHARED: u64 = libc::MAP_SHARED as u64;
const NAMELESS: u64 = libc::MAP_ANONYMOUS as u64;
const STACK: u64 = libc::MAP_GROWSDOWN as u64;
/// `MADV_HWPOISON` and `MADV_SOFT_OFFLINE`.
const POISON: [u64; 2] = [100, 101];

impl Rule {
    /// Any of these, each being all of its checks, lets the call through.
    pub(crate) fn alternatives(self) -> Vec<Vec<Check>> {
        let any_of = |argument, values: &[libc::c_int]| {
            values.iter().map(|value| vec![check(argument, Half, Test::Is(*value as u64))]).collect()
        };
        match self {
            Self::Thread => vec![vec![none_but(0, Whole, THREAD | NAMESPACES, THREAD)]],
            Self::NoCode => vec![vec![none_but(2, Whole, CODE, 0)]],
            Self::NoStack => vec![vec![none_but(3, Half, STACK, 0)]],
            Self::Counted => {
                vec![vec![none_but(3, Half, SHARED | STACK, 0)], vec![none_but(3, Half, NAMELESS | STACK, 0)]]
            }
            Self::CountedNoCode => {
                let mut counted = Self::Counted.alternatives();
                for checks in &mut counted {
                    checks.push(none_but(2, Whole, CODE, 0));
                }
                counted
            }
            Self::NoAddress => vec![vec![check(4, Whole, Test::Is(0))]],
            // Here it says what is not answered, see `filter`.
            Self::OwnProcessors => vec![vec![check(0, Half, Test::IsNot(0)), check(0, Half, Test::IsNotItself)]],
            Self::Itself => vec![vec![check(0, Half, Test::IsItself)]],
            Self::Name => any_of(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME]),
            Self::NameOrNoMore => any_of(0, &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_NO_NEW_PRIVS]),
            Self::Descriptor => any_of(
                1,
                &[
                    libc::F_GETFD,
                    libc::F_SETFD,
                    libc::F_GETFL,
                    libc::F_SETFL,
                    libc::F_DUPFD,
                    libc::F_DUPFD_CLOEXEC,
                    libc::F_ADD_SEALS,
                    libc::F_GET_SEALS,
                ],
            ),
            Self::Card => {
                // By the byte that says whose order it is: DRM, NVIDIA, AMD's compute driver, shared buffers, fences, and NVIDIA's unified
                // memory, whose orders are plain numbers.
                let kinds = [b'd', b'F', b'K', b'b', b'>'].map(|kind| (0xff00, u64::from(kind) << 8));
                let plain = [(0xffff_ff00, 0), (0xffff_fffc, 0x3000_0000)];
                kinds.into_iter().chain(plain).map(|(of, set)| vec![none_but(1, Half, of, set)]).collect()
            }
            Self::Narrower => {
                let (mode, threads) = (u64::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_TSYNC);
                vec![vec![check(0, Half, Test::Is(mode)), check(1, Whole, Test::Is(threads))]]
            }
            Self::AskLimits => vec![vec![check(0, Half, Test::Is(0)), check(2, Whole, Test::Is(0))]],
            Self::Advice => vec![POISON.iter().map(|advice| check(2, Half, Test::IsNot(*advice))).collect()],
        }
    }
}

fn check(argument: u8, width: Width, test: Test) -> Check {
    Check { argument, width, test }
}

fn none_but(argument: u8, width: Width, of: u64, set: u64) -> Check {
    check(argument, width, Test::Bits { of, set })
}

/// For who reviews it.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.width {
            Half => 32,
            Whole => 64,
        };
        write!(f, "argument {}:{bits} ", self.argument)?;
        match self.test {
            Test::Is(value) => write!(f, "= {value:#x}"),
            Test::IsNot(value) => write!(f, "!= {value:#x}"),
            Test::Bits { of, set } => write!(f, "& {of:#x} = {set:#x}"),
            Test::IsItself => f.write_str("= itself"),
            Test::IsNotItself => f.write_str("!= itself"),
        }
    }
}

/// All conditions in words, a line each.
#[cfg(test)]
pub(super) fn written() -> String {
    use std::fmt::Write as _;
    let all = [
        Rule::Thread,
        Rule::NoCode,
        Rule::NoStack,
        Rule::Counted,
        Rule::CountedNoCode,
        Rule::NoAddress,
        Rule::Itself,
        Rule::OwnProcessors,
        Rule::Name,
        Rule::NameOrNoMore,
        Rule::Descriptor,
        Rule::Card,
        Rule::Narrower,
        Rule::AskLimits,
        Rule::Advice,
    ];
    let mut text = String::new();
    for rule in all {
        let one = |checks: &Vec<Check>| checks.iter().map(Check::to_string).collect::<Vec<_>>().join(" and ");
        let words = rule.alternatives().iter().map(one).collect::<Vec<_>>().join(" or ");
        let turned = if rule == Rule::OwnProcessors { "no such call if " } else { "" };
        let _ = writeln!(text, "{rule:?}: {turned}{words}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_pass(rule: Rule, arguments: &[u64; 6]) -> bool {
        let holds = |check: &Check| {
            let value = arguments[usize::from(check.argument)];
            let value = if check.width == Half { value & 0xffff_ffff } else { value };
            match check.test {
                Test::Is(wanted) => value == wanted,
                Test::IsNot(other) => value != other,
                Test::Bits { of, set } => value & of == set,
                Test::IsItself => value == 77,
                Test::IsNotItself => value != 77,
            }
        };
        rule.alternatives().iter().any(|checks| checks.iter().all(holds))
    }

    /// As mmap takes them.
    fn memory(protection: libc::c_int, flags: libc::c_int) -> [u64; 6] {
        [0, 4096, protection as u64, flags as u64, u64::MAX, 0]
    }

    #[test]
    fn only_memory_that_counts_against_the_limit_is_had_while_serving() {
        let (read_write, code) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
        let nameless = libc::MAP_ANONYMOUS;
        for (flags, while_opening, counted) in [
            (libc::MAP_PRIVATE | nameless, true, true),
            (libc::MAP_PRIVATE | nameless | libc::MAP_STACK | libc::MAP_NORESERVE, true, true),
            // Of a file or a device, which a driver has open.
            (libc::MAP_SHARED, true, true),
            (libc::MAP_PRIVATE, true, true),
            (libc::MAP_SHARED | nameless, true, false),
            (libc::MAP_SHARED_VALIDATE | nameless, true, false),
            (libc::MAP_PRIVATE | nameless | libc::MAP_GROWSDOWN, false, false),
            (libc::MAP_SHARED | libc::MAP_GROWSDOWN, false, false),
        ] {
            let asked = memory(read_write, flags);
            assert_eq!(lets_pass(Rule::NoStack, &asked), while_opening, "{flags:#x}");
            assert_eq!(lets_pass(Rule::Counted, &asked), counted, "{flags:#x}");
            assert_eq!(lets_pass(Rule::CountedNoCode, &asked), counted, "{flags:#x}");
            assert!(!lets_pass(Rule::CountedNoCode, &memory(code, flags)), "{flags:#x}");
        }
    }
}
