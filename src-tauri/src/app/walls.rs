//! The worker's box for the page Trust, wall by wall: what the system says of the process, and where it says nothing, what the worker says of
//! itself, marked as that. A wish is no wall: where the system says that no list of calls is in force, nothing that rests on it stands.

use node::{CallList, Confinement};
use sandbox::BoxState;

use crate::view::trust::{Wall, WallKind, Walls, Witness};

/// The box of a running worker; `None`: the system tells nothing of it.
pub(crate) fn of(pid: u32, said: Option<&Confinement>, now: i64) -> Option<Walls> {
    let walls = seen(pid, said)?;
    Some(Walls { at: now as f64, walls })
}

#[cfg(not(windows))]
fn seen(pid: u32, said: Option<&Confinement>) -> Option<Vec<Wall>> {
    Some(lines(&BoxState::of(pid)?, said))
}

#[cfg(windows)]
fn seen(pid: u32, _: Option<&Confinement>) -> Option<Vec<Wall>> {
    Some(windows_lines(&sandbox::seen_of(pid)?))
}

/// The walls of Linux.
#[cfg_attr(windows, allow(dead_code, reason = "Windows has other walls"))]
fn lines(state: &BoxState, said: Option<&Confinement>) -> Vec<Wall> {
    let kernel = |kind, closed, found| Wall { kind, closed, by: Witness::Kernel, found };
    let filtered = match (state.filtered, state.all_threads) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let filters = state.filters.map(|count| format!("{count} filters of system calls, in every thread"));
    // What a list keeps away stands only as long as a list is in force, and which one it is only the worker knows.
    let listed = |kind| match (filtered, said) {
        (Some(false), _) => kernel(kind, Some(false), Some("no filter of system calls is in force".to_owned())),
        (_, Some(said)) if said.calls != CallList::Any => {
            let list = match said.calls {
                CallList::Opening => "opening a card",
                CallList::Card => "serving with a card",
                CallList::Processor | CallList::Any => "serving with the processor",
            };
            Wall {
                kind,
                closed: Some(true),
                by: Witness::Worker,
                found: Some(format!("the list for {list} has no such call")),
            }
        }
        (_, Some(_)) => Wall { kind, closed: Some(false), by: Witness::Worker, found: None },
        (_, None) => kernel(kind, None, None),
    };
    let network = match &state.namespaces {
        Some(own) if own.contains(&"net") => {
            kernel(WallKind::Network, Some(true), Some("a network of its own, in which there is nothing".to_owned()))
        }
        _ => listed(WallKind::Network),
    };
    let files = match said {
        None => kernel(WallKind::Files, None, None),
        Some(said) => {
            let landlock = said.landlock.map(|version| format!("Landlock {version}"));
            let root = said.own_root.then(|| "a tree of files of its own".to_owned());
            let found: Vec<String> = landlock.into_iter().chain(root).collect();
            let closed = Some(!found.is_empty());
            let found = (!found.is_empty()).then(|| found.join(", "));
            Wall { kind: WallKind::Files, closed, by: Witness::Worker, found }
        }
    };
    let rights = match (state.no_new_privileges, state.capabilities) {
        (Some(false), _) => Some(false),
        (_, Some(bits)) if bits != 0 => Some(false),
        (Some(true), Some(_)) => Some(true),
        _ => None,
    };
    let found = state.capabilities.map(|bits| format!("capabilities {bits:#x}"));
    vec![
        network,
        files,
        listed(WallKind::Programs),
        listed(WallKind::Others),
        kernel(WallKind::Rights, rights, found),
        kernel(WallKind::Calls, filtered, filters),
        memory(state),
    ]
}

/// Where there is a limit it is told; where none is told there may be one of another kind.
fn memory(state: &BoxState) -> Wall {
    let group = state.group.filter(|group| group.own);
    let most = |bytes: u64| format!("at most {} MiB", bytes >> 20);
    let of_group = group.map(|group| {
        let limits = [
            group.memory.map(most),
            group
                .swap
                .map(|bytes| if bytes == 0 { "none of it on disk".to_owned() } else { most(bytes) + " of it on disk" }),
            group.threads.map(|threads| format!("at most {threads} threads")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        if limits.is_empty() { "no limits".to_owned() } else { limits.join(", ") }
    });
    let found = [state.memory.map(most), of_group.map(|limits| format!("a control group of its own: {limits}"))];
    let found: Vec<String> = found.into_iter().flatten().collect();
    let closed = state.memory.or(group.and_then(|group| group.memory)).map(|_| true);
    let found = (!found.is_empty()).then(|| found.join("; "));
    Wall { kind: WallKind::Memory, closed, by: Witness::Kernel, found }
}

#[cfg(windows)]
fn windows_lines(seen: &sandbox::mode::Seen) -> Vec<Wall> {
    use sandbox::mode::Wall as Known;
    let kind = |wall| match wall {
        Known::Network => WallKind::Network,
        Known::Files => WallKind::Files,
        Known::Programs => WallKind::Programs,
        Known::Others => WallKind::Others,
        Known::Rights => WallKind::Rights,
        Known::Memory => WallKind::Memory,
    };
    let line = |wall| Wall { kind: kind(wall), closed: seen.closed(wall), by: Witness::Kernel, found: None };
    Known::ALL.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use sandbox::GroupLimits;

    use super::*;

    fn state() -> BoxState {
        BoxState {
            filtered: Some(true),
            filters: Some(6),
            inherited_filters: Some(0),
            no_new_privileges: Some(true),
            capabilities: Some(0),
            namespaces: Some(vec!["user", "net"]),
            memory: Some(1 << 34),
            group: None,
            all_threads: Some(true),
        }
    }

    fn said() -> Confinement {
        Confinement { landlock: Some(7), own_root: true, calls: CallList::Card, ..Confinement::default() }
    }

    fn open(lines: &[Wall]) -> Vec<WallKind> {
        lines.iter().filter(|wall| wall.closed != Some(true)).map(|wall| wall.kind).collect()
    }

    #[test]
    fn a_whole_box_stands_by_the_kernels_word_where_it_has_one() {
        let all = lines(&state(), Some(&said()));
        assert!(open(&all).is_empty());
        let kernels: Vec<WallKind> =
            all.iter().filter(|wall| wall.by == Witness::Kernel).map(|wall| wall.kind).collect();
        assert_eq!(kernels, [WallKind::Network, WallKind::Rights, WallKind::Calls, WallKind::Memory]);
    }

    #[test]
    fn what_the_worker_says_counts_for_nothing_where_the_kernel_says_otherwise() {
        let naked = BoxState { filtered: Some(false), namespaces: Some(Vec::new()), ..state() };
        let all = lines(&naked, Some(&said()));
        assert_eq!(open(&all), [WallKind::Network, WallKind::Programs, WallKind::Others, WallKind::Calls]);
        assert!(all.iter().filter(|wall| wall.closed == Some(false)).all(|wall| wall.by == Witness::Kernel));
        // One thread without a filter is a box without one.
        let thread = BoxState { all_threads: Some(false), ..state() };
        assert!(open(&lines(&thread, Some(&said()))).contains(&WallKind::Calls));
        let mighty = BoxState { capabilities: Some(1), ..state() };
        assert_eq!(open(&lines(&mighty, Some(&said()))), [WallKind::Rights]);
    }

    #[test]
    fn limits_of_a_control_group_are_told_as_the_kernel_reads_them() {
        let found = |state: &BoxState| memory(state).found.unwrap_or_default();
        assert_eq!(found(&state()), "at most 16384 MiB");
        let limits =
            GroupLimits { own: true, memory: Some(1 << 33), swap: Some(0), threads: Some(1024), weight: Some(20) };
        let grouped = BoxState { group: Some(limits), ..state() };
        assert_eq!(
            found(&grouped),
            "at most 16384 MiB; a control group of its own: at most 8192 MiB, none of it on disk, at most 1024 threads"
        );
        let alone = BoxState { memory: None, ..grouped.clone() };
        assert_eq!(memory(&alone).closed, Some(true));
        let unlimited = GroupLimits { own: true, ..GroupLimits::default() };
        let unlimited = BoxState { group: Some(unlimited), memory: None, ..state() };
        assert_eq!(
            (memory(&unlimited).closed, found(&unlimited).as_str()),
            (None, "a control group of its own: no limits")
        );
        // Of a group that is the app's too nothing is said.
        let shared = BoxState { group: Some(GroupLimits { own: false, ..limits }), ..state() };
        assert_eq!(found(&shared), "at most 16384 MiB");
    }

    #[test]
    fn what_nobody_says_is_unknown_and_not_closed() {
        let nothing = lines(&BoxState::default(), None);
        assert!(nothing.iter().all(|wall| wall.closed.is_none()));
        let unboxed = lines(&state(), Some(&Confinement::default()));
        assert_eq!(open(&unboxed), [WallKind::Files, WallKind::Programs, WallKind::Others]);
    }
}
