//! The box's state as the kernel tells it from outside: what is shown to the owner, and what the app believes.

/// How many filters stand around a process whose box is closed for good: those of both steps.
pub(crate) const SEALED: u32 = 6;

/// What the kernel says of a boxed process. `None` in a field: the system does not tell, or not us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BoxState {
    /// Whether every system call goes through a filter.
    pub filtered: Option<bool>,
    /// How many filters there are, each at least as strict as the one before it.
    pub filters: Option<u32>,
    /// How many of them stand around us, too: a process has the filters of whoever started it.
    pub inherited_filters: Option<u32>,
    /// Whether no program that it could start would have more privileges.
    pub no_new_privileges: Option<bool>,
    /// The capabilities it has or could have without starting anything, as the kernel's bits.
    pub capabilities: Option<u64>,
    /// The namespaces that are not ours, by the kernel's names. Whoever is not root is not told of a process that is not to be looked into.
    pub namespaces: Option<Vec<&'static str>>,
    /// Most bytes of memory it can have; `None` also where there is no such limit.
    pub memory: Option<u64>,
    /// Limits of its control group; those of groups above that one hold too, and are not told.
    pub group: Option<GroupLimits>,
    /// Whether threads were looked at and all say the same.
    pub all_threads: Option<bool>,
}

/// What the kernel says of a control group. `None` in a field: it sets no limit there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    /// Whether it is another group than ours.
    pub own: bool,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of it that may be moved to disk.
    pub swap: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Its part of the processor's time; everybody has 100.
    pub weight: Option<u64>,
}

impl BoxState {
    /// Of this process, now. `None`: it is gone, or this system tells nothing.
    pub fn of(pid: u32) -> Option<Self> {
        crate::system::box_state(pid)
    }

    /// Whether the kernel holds the walls that every box has: filters, no new privileges, no capabilities, for every thread. `None`: the
    /// system does not tell.
    pub fn is_closed(&self) -> Option<bool> {
        let facts = [self.filtered, self.no_new_privileges, self.capabilities.map(|bits| bits == 0), self.all_threads];
        if facts.contains(&Some(false)) {
            return Some(false);
        }
        facts.into_iter().all(|fact| fact.is_some()).then_some(true)
    }

    /// Whether it is closed and has both steps behind it, so that it opens nothing any more. `None`: the system does not tell, as kernels
    /// before 5.10 don't count filters.
    pub fn is_sealed(&self) -> Option<bool> {
        let both = self.filters.map(|all| all.saturating_sub(self.inherited_filters.unwrap_or(0)) >= SEALED);
        match (self.is_closed(), both) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }
    }

    /// What the text of `/proc/PID/status` says.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "no other system has such a file"))]
    pub(crate) fn read(status: &str) -> Self {
        let line =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let bits = |name: &str| line(name).and_then(|text| u64::from_str_radix(text, 16).ok());
        let capabilities = match (bits("CapInh"), bits("CapPrm"), bits("CapEff"), bits("CapAmb")) {
            (Some(inherited), Some(permitted), Some(effective), Some(ambient)) => {
                Some(inherited | permitted | effective | ambient)
            }
            _ => None,
        };
        Self {
            // 2 is a filter; 1 was the strict mode of old, which no box has.
            filtered: line("Seccomp").map(|mode| mode == "2"),
            filters: line("Seccomp_filters").and_then(|count| count.parse().ok()),
            no_new_privileges: line("NoNewPrivs").map(|flag| flag == "1"),
            capabilities,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: &str = "Name:\tchrysalis-worke\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                          CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t6\n";

    #[test]
    fn what_the_kernel_says_is_read_and_what_it_does_not_say_is_unknown() {
        let state = BoxState { all_threads: Some(true), ..BoxState::read(CLOSED) };
        assert_eq!((state.filtered, state.filters, state.no_new_privileges), (Some(true), Some(6), Some(true)));
        assert_eq!((state.capabilities, state.is_closed()), (Some(0), Some(true)));
        assert_eq!(BoxState::read("").is_closed(), None);
        assert_eq!(BoxState::read("Seccomp:\tmany\n").filters, None);
    }

    #[test]
    fn one_wall_that_is_missing_is_a_box_that_is_open() {
        for (with, without) in [
            ("Seccomp:\t2", "Seccomp:\t0"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("CapEff:\t0000000000000000", "CapEff:\t0000000000000001"),
            ("CapPrm:\t0000000000000000", "CapPrm:\t0000002000000000"),
        ] {
            let state = BoxState { all_threads: Some(true), ..BoxState::read(&CLOSED.replace(with, without)) };
            assert_eq!(state.is_closed(), Some(false), "{without}");
        }
        let state = BoxState { all_threads: Some(false), ..BoxState::read(CLOSED) };
        assert_eq!(state.is_closed(), Some(false));
    }

    #[test]
    fn a_box_is_closed_for_good_only_with_the_filters_of_both_steps_and_those_of_others_do_not_count() {
        let with = |filters: &str, inherited| {
            let state = BoxState::read(&CLOSED.replace("Seccomp_filters:\t6\n", filters));
            BoxState { all_threads: Some(true), inherited_filters: inherited, ..state }
        };
        for (filters, inherited, sealed) in [
            ("Seccomp_filters:\t6\n", Some(0), Some(true)),
            ("Seccomp_filters:\t3\n", Some(0), Some(false)),
            ("Seccomp_filters:\t6\n", Some(3), Some(false)),
            ("Seccomp_filters:\t9\n", Some(3), Some(true)),
            ("Seccomp_filters:\t6\n", None, Some(true)),
            ("", Some(0), None),
        ] {
            let state = with(filters, inherited);
            assert_eq!((state.is_closed(), state.is_sealed()), (Some(true), sealed), "{filters:?}, {inherited:?}");
        }
        let open = BoxState { no_new_privileges: Some(false), ..with("", None) };
        assert_eq!(open.is_sealed(), Some(false));
    }
}
