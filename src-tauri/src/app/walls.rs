//! The worker's box for the page Trust, wall by wall: what the system says of the process, and where it says nothing, what the worker says of
//! itself, marked as that. A wish is no wall: where the system says that no list of calls is in force, nothing that rests on it stands.

use node::{CallList, Confinement};
use sandbox::BoxState;
use sandbox::mode::{Mode, Seen, Tone};

use crate::view::trust::{Rule, RuleChange, Wall, WallKind, Walls, Witness};

/// What the system says of a running worker's box.
pub(crate) struct Read {
    /// When it was asked, Unix time in milliseconds.
    at: i64,
    told: Told,
}

#[cfg_attr(not(test), allow(dead_code, reason = "a program reads the boxes of one system"))]
enum Told {
    /// By Linux, and what the worker says besides.
    Linux(BoxState, Option<Confinement>),
    /// By Windows, or by what plays it.
    Windows { seen: Seen, wine: bool },
}

impl Read {
    /// The box of a running worker; `None`: the system tells nothing of it.
    pub(crate) fn of(pid: u32, said: Option<&Confinement>, at: i64) -> Option<Self> {
        Some(Self { at, told: told(pid, said)? })
    }

    /// Whether a rule of Windows' firewall is part of it.
    pub(super) fn has_to_do_with_a_rule(&self) -> bool {
        matches!(self.told, Told::Windows { .. })
    }

    /// Wall by wall. `rule`: whether the firewall's rule is there; none: not known.
    pub(crate) fn walls(&self, rule: Option<bool>) -> Walls {
        let (walls, rule) = match &self.told {
            Told::Linux(state, said) => (lines(state, said.as_ref()), None),
            Told::Windows { seen, wine } => {
                (windows_lines(seen, mode(seen, rule, *wine)), rule_of(mode(seen, rule, *wine), rule))
            }
        };
        Walls { at: self.at as f64, walls, rule }
    }
}

#[cfg(not(windows))]
fn told(pid: u32, said: Option<&Confinement>) -> Option<Told> {
    Some(Told::Linux(BoxState::of(pid)?, said.cloned()))
}

#[cfg(windows)]
fn told(pid: u32, _: Option<&Confinement>) -> Option<Told> {
    Some(Told::Windows { seen: sandbox::seen_of(pid)?, wine: sandbox::is_wine() })
}

/// Whether the firewall's rule for the worker is there; `None`: this system has no such rule, or there is no worker program. It takes a
/// while, so it is to be asked on a thread of its own.
#[cfg(windows)]
pub(super) fn has_rule() -> Option<bool> {
    let program = crate::provider::program("chrysalis-worker").ok()?;
    Some(sandbox::has_rule(&program))
}

/// See the one of Windows.
#[cfg(not(windows))]
pub(super) fn has_rule() -> Option<bool> {
    None
}

/// Has Windows ask the owner for an administrator, and the rule made or taken away. Blocks until they have answered; fails with a sentence.
#[cfg(windows)]
pub(super) fn change_rule(change: RuleChange) -> Result<(), String> {
    let program = crate::provider::program("chrysalis-worker").map_err(|error| format!("{error:#}"))?;
    let changed = match change {
        RuleChange::Add => sandbox::ask_for_rule(&program),
        RuleChange::Remove => sandbox::ask_to_remove_rule(&program),
    };
    changed.map_err(|error| error.to_string())
}

/// See the one of Windows.
#[cfg(not(windows))]
pub(super) fn change_rule(change: RuleChange) -> Result<(), String> {
    Err(match change {
        RuleChange::Add => "only Windows has such a rule, and none is needed here".to_owned(),
        RuleChange::Remove => "only Windows has such a rule, so there is none here".to_owned(),
    })
}

/// The walls of Linux.
#[cfg_attr(windows, allow(dead_code, reason = "Windows has other walls"))]
fn lines(state: &BoxState, said: Option<&Confinement>) -> Vec<Wall> {
    let kernel = |kind, closed, found| Wall { kind, closed, partly: false, by: Witness::Kernel, limit: None, found };
    let worker = |kind, closed, found| Wall { by: Witness::Worker, ..kernel(kind, closed, found) };
    let filtered = match (state.filtered, state.all_threads) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let filters = state.filters.map(|count| match state.all_threads {
        Some(true) => format!("{count} filters of system calls, in every thread"),
        Some(false) => format!("{count} filters of system calls, but not in every thread"),
        None => format!("{count} filters of system calls, in its first thread"),
    });
    // What a list keeps away stands only as long as a list is in force, and which one it is only the worker knows.
    let listed = |kind| match (filtered, said) {
        (Some(false), _) => kernel(kind, Some(false), Some("no filter of system calls is in force".to_owned())),
        (_, Some(said)) if said.calls != CallList::Any => {
            let list = match said.calls {
                CallList::Opening => "opening a card",
                CallList::Card => "serving with a card",
                CallList::Processor | CallList::Any => "serving with the processor",
            };
            worker(kind, Some(true), Some(format!("the list for {list} has no such call")))
        }
        (_, Some(_)) => worker(kind, Some(false), None),
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
            worker(WallKind::Files, closed, found)
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
    // Where there are two limits the smaller one is the wall.
    let limit = state.memory.into_iter().chain(group.and_then(|group| group.memory)).min();
    let found = (!found.is_empty()).then(|| found.join("; "));
    Wall {
        kind: WallKind::Memory,
        closed: limit.map(|_| true),
        partly: false,
        by: Witness::Kernel,
        limit: limit.map(|bytes| bytes as f64),
        found,
    }
}

/// In which of Windows' modes a worker is that is in no AppContainer; `None`: it is in one, or Windows does not say enough.
fn mode(seen: &Seen, rule: Option<bool>, wine: bool) -> Option<Mode> {
    match seen.app_container {
        _ if wine => Some(Mode::Wine),
        Some(false) => Some(Mode::Restricted { firewall: rule? }),
        Some(true) | None => None,
    }
}

/// What the owner can ask for.
fn rule_of(mode: Option<Mode>, rule: Option<bool>) -> Option<Rule> {
    match rule {
        // A rule that is there can always be taken away again.
        Some(true) => Some(Rule::There),
        _ => mode.is_some_and(Mode::rule_would_help).then_some(Rule::CanBeAsked),
    }
}

/// The walls of Windows. The limits of a worker's job are told to whoever made that only, so of a process that is known by its number
/// nothing is said of its memory.
fn windows_lines(seen: &Seen, mode: Option<Mode>) -> Vec<Wall> {
    use sandbox::mode::Wall as Known;
    let kind = |wall| match wall {
        Known::Network => WallKind::Network,
        Known::Files => WallKind::Files,
        Known::Programs => WallKind::Programs,
        Known::Others => WallKind::Others,
        Known::Rights => WallKind::Rights,
        Known::Memory => WallKind::Memory,
    };
    let line = |wall| {
        let closed = seen.closed(wall);
        let network = wall == Known::Network;
        let contained =
            (network && closed == Some(true)).then(|| "in an AppContainer without a single capability".to_owned());
        let found = mode.filter(|_| network).map(|mode| mode.words().to_owned()).or(contained);
        // The rule is none of the process's walls, and stops a part of what one of them would.
        let partly = network && closed == Some(false) && mode.is_some_and(|mode| mode.tone() == Tone::Caution);
        Wall { kind: kind(wall), closed, partly, by: Witness::Kernel, limit: None, found }
    };
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
    fn where_one_thread_has_no_filter_nothing_is_said_of_every_thread() {
        let found = |all_threads| {
            let all = lines(&BoxState { all_threads, ..state() }, Some(&said()));
            all.into_iter().find(|wall| wall.kind == WallKind::Calls).unwrap().found.unwrap()
        };
        assert_eq!(found(Some(true)), "6 filters of system calls, in every thread");
        assert_eq!(found(Some(false)), "6 filters of system calls, but not in every thread");
        assert_eq!(found(None), "6 filters of system calls, in its first thread");
    }

    #[test]
    fn the_smaller_of_two_limits_of_memory_is_the_wall() {
        let limits = GroupLimits { own: true, memory: Some(1 << 33), ..GroupLimits::default() };
        let limit = |state: &BoxState| memory(state).limit;
        assert_eq!(limit(&state()), Some(17_179_869_184.0));
        assert_eq!(limit(&BoxState { group: Some(limits), ..state() }), Some(8_589_934_592.0));
        assert_eq!(limit(&BoxState { memory: None, ..state() }), None);
    }

    /// A worker on Windows with a restricted token, as its number tells.
    fn restricted() -> Seen {
        Seen {
            app_container: Some(false),
            capabilities: Some(0),
            integrity: Some(0x1000),
            restricting: Some(3),
            privileges: Some(1),
            in_job: Some(true),
            job: None,
            mitigations: sandbox::mode::Mitigation::ALL.to_vec(),
        }
    }

    fn contained() -> Seen {
        Seen { app_container: Some(true), restricting: Some(0), ..restricted() }
    }

    fn on_windows(seen: Seen, wine: bool, rule: Option<bool>) -> Walls {
        Read { at: 0, told: Told::Windows { seen, wine } }.walls(rule)
    }

    fn network(walls: &Walls) -> &Wall {
        walls.walls.iter().find(|wall| wall.kind == WallKind::Network).unwrap()
    }

    #[test]
    fn windows_says_in_the_words_of_its_mode_that_the_network_is_open_and_what_can_be_asked_for() {
        let told = |seen, wine, rule| {
            let walls = on_windows(seen, wine, rule);
            let wall = network(&walls);
            (wall.closed, wall.partly, wall.found.clone().unwrap_or_default(), walls.rule)
        };
        let words = |mode: Mode| mode.words().to_owned();
        assert_eq!(
            told(restricted(), false, Some(false)),
            (Some(false), false, words(Mode::Restricted { firewall: false }), Some(Rule::CanBeAsked))
        );
        assert_eq!(
            told(restricted(), false, Some(true)),
            (Some(false), true, words(Mode::Restricted { firewall: true }), Some(Rule::There))
        );
        // Nobody could say whether there is a rule: nothing is claimed of it, and it is not asked for.
        assert_eq!(told(restricted(), false, None), (Some(false), false, String::new(), None));
        let (closed, partly, found, rule) = told(contained(), false, Some(false));
        assert_eq!((closed, partly, rule), (Some(true), false, None));
        assert!(found.contains("AppContainer"), "{found}");
        // A rule from before is of no use there, and can be taken away.
        assert_eq!(told(contained(), false, Some(true)).3, Some(Rule::There));
        assert_eq!(told(restricted(), true, Some(false)), (Some(false), false, words(Mode::Wine), None));
        assert_eq!(told(Seen::default(), false, Some(false)), (None, false, String::new(), None));
    }

    #[test]
    fn windows_says_nothing_of_the_memory_of_a_process_that_is_known_by_its_number() {
        for seen in [restricted(), contained()] {
            let walls = on_windows(seen, false, Some(true));
            let memory = walls.walls.iter().find(|wall| wall.kind == WallKind::Memory).unwrap();
            assert_eq!((memory.closed, memory.limit), (None, None));
        }
    }

    #[cfg(not(windows))]
    #[test]
    fn other_systems_have_no_rule_to_ask_for() {
        assert_eq!(has_rule(), None);
        assert!(change_rule(RuleChange::Add).is_err() && change_rule(RuleChange::Remove).is_err());
        assert_eq!(Read { at: 0, told: Told::Linux(state(), None) }.walls(Some(true)).rule, None);
    }

    /// The page is tried on boxes as the program tells them, and on no others.
    #[test]
    fn the_boxes_that_the_page_is_tried_on_are_such_as_this_program_tells() {
        const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ui/src/ipc/fake-walls.json");
        let linux = |state: BoxState, said| Read { at: 0, told: Told::Linux(state, Some(said)) }.walls(None);
        let group =
            GroupLimits { own: true, memory: Some(20_685 << 20), swap: Some(0), threads: Some(1024), weight: Some(20) };
        let state = || BoxState { group: Some(group), memory: None, ..state() };
        let told = serde_json::json!({
            "card": linux(state(), said()),
            "processor": linux(state(), Confinement { calls: CallList::Processor, ..said() }),
            "naked": linux(BoxState { filtered: Some(false), namespaces: Some(Vec::new()), ..state() }, said()),
            "windows": on_windows(restricted(), false, Some(false)),
            "windows_rule": on_windows(restricted(), false, Some(true)),
            "windows_container": on_windows(contained(), false, Some(false)),
        });
        let told = serde_json::to_string_pretty(&told).unwrap() + "\n";
        if std::env::var_os("CHRYSALIS_WRITE_BINDINGS").is_some() {
            std::fs::write(FILE, &told).unwrap();
        }
        let file = std::fs::read_to_string(FILE).unwrap_or_default().replace("\r\n", "\n");
        assert!(
            file == told,
            "{FILE} is not what the program tells: run this test once with CHRYSALIS_WRITE_BINDINGS=1"
        );
    }

    #[test]
    fn what_nobody_says_is_unknown_and_not_closed() {
        let nothing = lines(&BoxState::default(), None);
        assert!(nothing.iter().all(|wall| wall.closed.is_none()));
        let unboxed = lines(&state(), Some(&Confinement::default()));
        assert_eq!(open(&unboxed), [WallKind::Files, WallKind::Programs, WallKind::Others]);
    }
}
