//! The system calls that a boxed process may make: a list to be reviewed line by line, each with who needs it.
//!
//! There are three lists, one narrower than the other: while a graphics card is opened ([`Calls::Opening`]), while it serves
//! ([`Calls::Card`]), and while the processor serves ([`Calls::Processor`]). A line says for each of them what becomes of the call:
//! `Y` it is made; `If` it is made under a condition, else fails politely; `N` it fails politely, because something here tries it and goes on
//! without. What has no line kills the process, because nothing here ever does that. A test fails when this list grows or a condition
//! changes (`sandbox::the_list_of_system_calls_is_the_one_that_was_reviewed`).

use crate::walls::Calls;

pub(crate) use super::rules::Rule;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Y,
    /// It is made if this holds, else fails.
    If(Rule),
    /// It fails with "not permitted".
    N,
}

use Rule as R;
use Verdict::{If, N, Y};

/// One line.
pub(crate) struct Call {
    /// As the kernel's headers have it, with `SYS_`.
    constant: &'static str,
    pub(crate) number: i64,
    /// While a card is opened, while it serves, while the processor serves.
    verdicts: [Verdict; 3],
    /// Who needs it, or, with an `N`, who tries it.
    pub(crate) who: &'static str,
}

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        self.constant.trim_start_matches("SYS_")
    }

    /// What becomes of it under this list.
    pub(crate) fn verdict(&self, calls: Calls) -> Verdict {
        let [opening, card, processor] = self.verdicts;
        match calls {
            Calls::Any => Y,
            Calls::Opening => opening,
            Calls::Card => card,
            Calls::Processor => processor,
        }
    }
}

macro_rules! calls {
    ($($number:ident [$opening:expr, $card:expr, $processor:expr] $who:literal)*) => {
        &[$(Call {
            constant: stringify!($number),
            number: libc::$number,
            verdicts: [$opening, $card, $processor],
            who: $who,
        }),*]
    };
}

/// The list.
pub(crate) const CALLS: &[Call] = calls! {
    // Bytes in and out of what is open already.
    SYS_read [Y, Y, Y] "the model; files of drivers; counters of events"
    SYS_write [Y, Y, Y] "last words on standard error; counters of events"
    SYS_readv [Y, Y, Y] "the standard library"
    SYS_writev [Y, Y, Y] "last words on standard error"
    SYS_pread64 [Y, N, N] "the loader of libraries, while it opens a driver"
    SYS_lseek [Y, N, N] "the standard library, before it reads a file"
    SYS_recvfrom [Y, Y, Y] "the pipe"
    SYS_sendto [If(R::NoAddress), If(R::NoAddress), If(R::NoAddress)] "the pipe"
    SYS_close [Y, Y, Y] "everybody who opened something"
    SYS_fcntl [If(R::Descriptor), If(R::Descriptor), If(R::Descriptor)] "the pipe's second handle; drivers"
    SYS_dup [Y, Y, N] "drivers, for buffers they share"
    SYS_poll [Y, Y, Y] "the standard library; drivers that wait for a card"
    SYS_ppoll [Y, Y, Y] "drivers that wait for a card"
    SYS_eventfd2 [Y, Y, N] "drivers of NVIDIA and Mesa, for events"
    SYS_ioctl [If(R::Card), If(R::Card), N] "drivers, to give orders to a card"

    // Memory.
    // Shared memory without a name is for CUDA while it opens a card: such processes have it, and no limit of their own counts it.
    SYS_mmap [If(R::NoStack), If(R::Counted), If(R::CountedNoCode)] "the allocator; stacks of threads; drivers, whose compilers make code"
    SYS_munmap [Y, Y, Y] "the allocator"
    SYS_mremap [Y, Y, Y] "the allocator"
    SYS_mprotect [Y, Y, If(R::NoCode)] "the allocator; stacks; the loader of libraries; compilers in drivers"
    SYS_madvise [If(R::Advice), If(R::Advice), If(R::Advice)] "the allocator; ends of threads"
    SYS_brk [Y, Y, Y] "the allocator"
    SYS_mlock [Y, Y, N] "NVIDIA's driver"
    SYS_munlock [Y, Y, N] "NVIDIA's driver"
    // While a card serves there are no more than were made while it was opened, each as long as the limit of files lets it be.
    SYS_memfd_create [Y, N, N] "Mesa, for memory of its own that has a descriptor (Intel's driver: 2 GB when it starts)"
    SYS_ftruncate [Y, Y, N] "Mesa, for the same; its software makes it longer as it needs more"

    // Threads and time.
    SYS_clone [If(R::Thread), If(R::Thread), If(R::Thread)] "threads"
    SYS_clone3 [N, N, N] "the C library tries it first; it is told that there is no such call, and takes clone"
    SYS_set_robust_list [Y, Y, Y] "threads, at their start"
    SYS_rseq [Y, Y, Y] "threads, at their start"
    SYS_futex [Y, Y, Y] "locks and channels"
    SYS_sched_yield [Y, Y, Y] "locks that spin"
    SYS_sched_getaffinity [If(R::OwnProcessors), If(R::OwnProcessors), If(R::OwnProcessors)] "how many threads may compute; the C library, about a thread's stack"
    SYS_sched_setaffinity [N, N, N] "Mesa, for its queue of work"
    SYS_sched_setscheduler [N, N, N] "Mesa, for its queue of work"
    SYS_setpriority [N, N, N] "Mesa, for its queue of work"
    SYS_getcpu [Y, Y, Y] "the C library, where the kernel's page does not tell"
    SYS_clock_gettime [Y, Y, Y] "time, where the kernel's page does not tell"
    SYS_clock_getres [Y, Y, Y] "time"
    SYS_gettimeofday [Y, Y, Y] "time"
    SYS_clock_nanosleep [Y, Y, Y] "waiting"
    SYS_nanosleep [Y, Y, Y] "waiting"
    SYS_restart_syscall [Y, Y, Y] "the kernel, after a process was stopped"
    SYS_exit [Y, Y, Y] "threads, at their end"
    SYS_exit_group [Y, Y, Y] "the end"

    // Signals of its own.
    SYS_rt_sigaction [Y, Y, Y] "the C library"
    SYS_rt_sigprocmask [Y, Y, Y] "threads, at start and end"
    SYS_rt_sigreturn [Y, Y, Y] "the end of a signal's handler"
    SYS_sigaltstack [Y, Y, Y] "threads: the stack on which an overflow is told"
    SYS_tgkill [If(R::Itself), If(R::Itself), If(R::Itself)] "giving up (abort)"

    // Questions about itself.
    SYS_getpid [Y, Y, Y] "giving up (abort); drivers"
    SYS_gettid [Y, Y, Y] "giving up (abort); drivers"
    SYS_getuid [Y, Y, N] "drivers"
    SYS_geteuid [Y, Y, N] "drivers"
    SYS_getgid [Y, Y, N] "drivers"
    SYS_getegid [Y, Y, N] "drivers"
    SYS_prctl [If(R::NameOrNoMore), If(R::Name), If(R::Name)] "names of threads; the box, once everything is open"
    SYS_prlimit64 [If(R::AskLimits), If(R::AskLimits), If(R::AskLimits)] "threads: how large a stack is"
    SYS_getrlimit [Y, Y, N] "drivers"
    SYS_getrandom [Y, Y, Y] "ids, keys of TLS, hash maps"
    SYS_sysinfo [Y, Y, Y] "drivers: how much memory there is"
    SYS_uname [Y, Y, Y] "drivers: which kernel this is"
    SYS_membarrier [N, N, N] "drivers, which go on without"

    // Files, as far as there are any for it: Landlock and its own tree decide which.
    SYS_open [Y, N, N] "drivers"
    SYS_openat [Y, N, N] "drivers; the loader of libraries; once more by drivers while they serve"
    SYS_stat [Y, N, N] "drivers"
    SYS_lstat [Y, N, N] "drivers"
    SYS_fstat [Y, Y, Y] "the C library"
    SYS_newfstatat [Y, N, N] "the C library; the loader of drivers"
    SYS_statx [Y, N, N] "the standard library"
    SYS_statfs [Y, N, N] "drivers"
    SYS_fstatfs [Y, N, N] "drivers"
    SYS_access [Y, N, N] "the loader of libraries"
    SYS_faccessat [Y, N, N] "drivers"
    SYS_faccessat2 [Y, N, N] "drivers"
    SYS_readlink [Y, N, N] "the loader of drivers"
    SYS_readlinkat [Y, N, N] "drivers, to find a card's place"
    SYS_getdents64 [Y, N, N] "the loader of drivers, to list its folders"
    SYS_getcwd [Y, N, N] "the loader of drivers"
    SYS_mkdir [N, N, N] "NVIDIA's driver, for folders of its own"
    SYS_unlink [N, N, N] "drivers with a cache, which they are told not to have"
    SYS_socket [N, N, N] "layers of Vulkan, for a display that the worker has not"
    SYS_kcmp [N, N, N] "Mesa, to compare descriptors"
    SYS_mbind [N, N, N] "drivers, for memory near a processor"
    SYS_get_mempolicy [N, N, N] "drivers, for the same"

    // The next, narrower list.
    SYS_seccomp [If(R::Narrower), N, N] "the box, once everything is open"
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What each list lets through or refuses politely, and what the conditions are, value by value. A longer list or a looser
    /// condition is a decision of whoever reviews it.
    #[test]
    fn the_list_of_system_calls_is_the_one_that_was_reviewed() {
        let list = |calls: Calls| {
            let lines = CALLS.iter().map(|call| match call.verdict(calls) {
                Y => call.name().to_owned(),
                If(rule) => format!("{}({rule:?})", call.name()),
                N => format!("{}(refused)", call.name()),
            });
            lines.collect::<Vec<_>>().join(" ")
        };
        let said = format!(
            "opening: {}\ncard: {}\nprocessor: {}\n\n{}",
            list(Calls::Opening),
            list(Calls::Card),
            list(Calls::Processor),
            super::super::rules::written(),
        );
        let reviewed = include_str!("reviewed.txt");
        assert_eq!(
            said, reviewed,
            "src/linux/reviewed.txt is what was reviewed; what is looser wants another review:\n{said}"
        );
    }

    #[test]
    fn each_list_is_part_of_the_one_before_it() {
        let rank = |verdict| match verdict {
            Y => 0,
            If(_) => 1,
            N => 2,
        };
        for call in CALLS {
            let [opening, card, processor] = call.verdicts.map(rank);
            assert!(opening <= card && card <= processor, "{}", call.name());
            assert!(!call.who.is_empty(), "{} is needed by nobody", call.name());
        }
        let mut numbers: Vec<i64> = CALLS.iter().map(|call| call.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CALLS.len(), "a call stands there twice");
    }
}
