//! A control group of the kernel's (version 2) for a boxed process alone: limits that no process takes off itself, and that count what it does
//! not ask for by its own name, like pages of the kernel.
//!
//! It is made where this program may make one: below the group it is in, if that is its own to divide. The kernel hands limits down only from
//! a group without processes, so this program and its children move into a group beside the new one first. Where systemd keeps the groups and
//! has not handed this one over, nothing is touched; there systemd is asked, which is not done here. What stands is read from the kernel.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::state::GroupLimits;
use crate::{GroupError, Share};

/// Where this program goes to make room.
const APP: &str = "chrysalis-app";
/// Groups of boxed processes: this and the process's number.
const BOXED: &str = "chrysalis-worker-";
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Where systemd runs, this is there.
const SYSTEMD: &str = "/run/systemd/system";
/// What systemd writes on a group that it has handed over.
const HANDED_OVER: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// The group, gone with this value if it is empty by then.
pub(crate) struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What is wanted of a group: which controllers, and what is written into which file.
struct Order {
    controllers: Vec<&'static str>,
    limits: Vec<(&'static str, String)>,
}

impl Order {
    fn of(share: &Share) -> Self {
        let mut limits = vec![("pids.max", share.threads.to_string()), ("cpu.weight", share.weight.to_string())];
        if let Some(memory) = share.memory {
            limits.push(("memory.max", memory.to_string()));
            limits.push(("memory.swap.max", "0".to_owned()));
            // All of it or nothing: half a process is of no use.
            limits.push(("memory.oom.group", "1".to_owned()));
        }
        Self { controllers: CONTROLLERS.to_vec(), limits }
    }
}

/// Puts a process into a group of its own.
pub(crate) fn limit(pid: u32, share: &Share) -> Result<Group, GroupError> {
    let tree = Tree::here().ok_or(GroupError::None)?;
    let own = tree.group_of("self").ok_or(GroupError::None)?;
    // An earlier start made room already.
    let divided = if own.ends_with(APP) { own.parent().unwrap_or(&own) } else { &own };
    if Path::new(SYSTEMD).exists() && !is_handed_over(divided) {
        return Err(GroupError::Systemd);
    }
    below(divided, pid, &Order::of(share))
}

/// What the kernel says of the group that a process is in.
pub(crate) fn limits_of(pid: u32) -> Option<GroupLimits> {
    let tree = Tree::here()?;
    let group = tree.group_of(&pid.to_string())?;
    Some(GroupLimits { own: tree.group_of("self").is_some_and(|own| own != group), ..read(&group) })
}

fn read(group: &Path) -> GroupLimits {
    // "max" and a file that is not there are no limit.
    let number = |file: &str| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    GroupLimits {
        own: false,
        memory: number("memory.max"),
        swap: number("memory.swap.max"),
        threads: number("pids.max"),
        weight: number("cpu.weight"),
    }
}

/// Makes the group below this one.
fn below(divided: &Path, pid: u32, order: &Order) -> Result<Group, GroupError> {
    let failed = |what: &'static str| move |why: io::Error| GroupError::Refused { what, why: why.to_string() };
    sweep(divided);
    let group = divided.join(format!("{BOXED}{pid}"));
    match std::fs::create_dir(&group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("a group of its own")(error)),
        _ => {}
    }
    let group = Group(group);
    hand_down(divided, order).map_err(failed("handing limits down"))?;
    let set = order.limits.iter().filter(|(file, value)| write(&group.0.join(file), value).is_ok()).count();
    if set == 0 {
        return Err(GroupError::Refused { what: "limits", why: "the kernel counts nothing here".to_owned() });
    }
    write(&group.0.join("cgroup.procs"), &pid.to_string()).map_err(failed("moving the process"))?;
    Ok(group)
}

/// Has the kernel count in the groups below this one, as far as it does so at all.
fn hand_down(divided: &Path, order: &Order) -> io::Result<()> {
    let words = |file: &str| std::fs::read_to_string(divided.join(file)).unwrap_or_default();
    let (there, handed) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    for controller in &order.controllers {
        if has(&there, controller) && !has(&handed, controller) {
            let order = format!("+{controller}");
            match write(&divided.join("cgroup.subtree_control"), &order) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    make_room(divided)?;
                    write(&divided.join("cgroup.subtree_control"), &order)?;
                }
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

/// Moves this program and whatever it started into a group beside the new one, if nobody else is here.
fn make_room(divided: &Path) -> io::Result<()> {
    let listed = std::fs::read_to_string(divided.join("cgroup.procs"))?;
    if !listed.lines().all(is_ours) {
        return Err(io::Error::other("other programs are in the same group"));
    }
    let app = divided.join(APP);
    match std::fs::create_dir(&app) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    listed.lines().try_for_each(|pid| write(&app.join("cgroup.procs"), pid))
}

/// This process, or one that it or one of its children started.
fn is_ours(pid: &str) -> bool {
    let own = std::process::id().to_string();
    let mut pid = pid.to_owned();
    while pid != own {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        match status.lines().find_map(|line| line.strip_prefix("PPid:")).map(str::trim) {
            Some(parent) if parent != "0" => parent.clone_into(&mut pid),
            _ => return false,
        }
    }
    true
}

/// Groups that an app left which was killed. One that is in use stays: the kernel removes no such.
fn sweep(divided: &Path) {
    for entry in std::fs::read_dir(divided).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(BOXED.as_bytes()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn is_handed_over(group: &Path) -> bool {
    HANDED_OVER.iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, *name, &mut value).is_ok_and(|length| value.get(..length) == Some(b"1"))
    })
}

/// Into a file of the kernel's. None is made.
fn write(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// Where the groups are.
#[derive(Debug, PartialEq, Eq)]
struct Tree {
    mount: PathBuf,
    /// The group that is seen there.
    root: PathBuf,
}

impl Tree {
    fn here() -> Option<Self> {
        Self::read(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
    }

    /// Out of a list of mounts: the fourth word is what is seen there, the fifth where, and behind a dash comes the kind.
    fn read(mounts: &str) -> Option<Self> {
        mounts.lines().find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut words = place.split(' ').skip(3);
            let (root, mount) = (words.next()?, words.next()?);
            (kind.split(' ').next() == Some("cgroup2")).then(|| Self { mount: mount.into(), root: root.into() })
        })
    }

    fn group_of(&self, process: &str) -> Option<PathBuf> {
        self.group(&std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?)
    }

    /// Out of a process's list of groups: the one of version 2.
    fn group(&self, groups: &str) -> Option<PathBuf> {
        let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
        let below = path.strip_prefix(&self.root).ok()?;
        // Outside of what is seen here.
        let outside = below.components().any(|part| part == std::path::Component::ParentDir);
        (!outside).then(|| self.mount.join(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                          36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn groups_are_found_where_they_are_mounted() {
        let tree = Tree::read(MOUNTS).unwrap();
        assert_eq!(tree.mount, Path::new("/sys/fs/cgroup/unified"));
        let groups = "8:pids:/x\n0::/user.slice/app.scope\n";
        assert_eq!(tree.group(groups).unwrap(), Path::new("/sys/fs/cgroup/unified/user.slice/app.scope"));
        assert_eq!(tree.group("8:pids:/x\n"), None);
        assert_eq!(tree.group("0::/../other.scope\n"), None, "outside of what a container sees");
        let inner = Tree { mount: "/sys/fs/cgroup".into(), root: "/user.slice".into() };
        assert_eq!(inner.group(groups).unwrap(), Path::new("/sys/fs/cgroup/app.scope"));
        assert_eq!(inner.group("0::/system.slice/x\n"), None);
        assert_eq!(Tree::read(""), None);
    }

    fn share() -> Share {
        Share { memory: Some(3 << 30), threads: 1024, weight: 20 }
    }

    /// Folders that say what the kernel's would: on a described tree, because no kernel here counts memory in version 2.
    #[test]
    fn limits_are_written_where_the_kernel_counts_and_read_back() {
        let folder = std::env::temp_dir().join(format!("sandbox-group-{}", std::process::id()));
        let group = folder.join("chrysalis-worker-77");
        std::fs::create_dir_all(&group).unwrap();
        let put = |file: &Path, text: &str| std::fs::write(file, text).unwrap();
        put(&folder.join("cgroup.controllers"), "cpuset cpu io memory pids\n");
        put(&folder.join("cgroup.subtree_control"), "cpu pids\n");
        for file in ["memory.max", "memory.swap.max", "pids.max", "cpu.weight", "cgroup.procs"] {
            put(&group.join(file), "");
        }
        assert_eq!(read(&group), GroupLimits::default(), "no limit is not a large one");
        let made = below(&folder, 77, &Order::of(&share())).unwrap();
        let limits = read(&group);
        assert_eq!(
            (limits.memory, limits.swap, limits.threads, limits.weight),
            (Some(3 << 30), Some(0), Some(1024), Some(20))
        );
        let text = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        assert!(text(group.join("cgroup.procs")).starts_with("77"), "the process is in it");
        assert!(text(folder.join("cgroup.subtree_control")).starts_with("+memory"), "it was not handed down yet");
        drop(made);
        // A kernel that counts nothing.
        for file in ["memory.max", "memory.swap.max", "pids.max", "cpu.weight"] {
            std::fs::remove_file(group.join(file)).unwrap();
        }
        let refused = below(&folder, 77, &Order::of(&share()));
        assert!(matches!(refused, Err(GroupError::Refused { what: "limits", .. })));
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The kernel's own rules, with whichever controller of its version 2 is free here.
    #[test]
    fn this_program_makes_room_in_its_group_for_one_below_it() {
        let Some(tree) = Tree::here() else { return println!("skipped: no control groups of version 2") };
        let Some(own) = tree.group_of("self") else { return println!("skipped: its group is not seen") };
        let free = std::fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        let known = [("hugetlb", "hugetlb.2MB.max"), ("pids", "pids.max"), ("memory", "memory.max")];
        let Some((controller, file)) =
            known.into_iter().find(|(name, _)| free.split_whitespace().any(|it| it == *name))
        else {
            return println!("skipped: version 2 counts nothing here");
        };
        let divided = own.join(format!("chrysalis-test-{}", std::process::id()));
        if std::fs::create_dir(&divided).is_err() {
            return println!("skipped: {} is not ours to divide", own.display());
        }
        let handed = write(&own.join("cgroup.subtree_control"), &format!("+{controller}"));
        if handed.is_ok() {
            let sleeper = || std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
            let (mut app, mut boxed) = (sleeper(), sleeper());
            for child in [&app, &boxed] {
                write(&divided.join("cgroup.procs"), &child.id().to_string()).unwrap();
            }
            let order = Order { controllers: vec![controller], limits: vec![(file, (64 << 20).to_string())] };
            let group = below(&divided, boxed.id(), &order).unwrap();
            let in_it = |group: &Path| std::fs::read_to_string(group.join("cgroup.procs")).unwrap().trim().to_owned();
            assert_eq!(in_it(&group.0), boxed.id().to_string());
            assert_eq!(in_it(&divided.join(APP)), app.id().to_string());
            assert_eq!(std::fs::read_to_string(group.0.join(file)).unwrap().trim(), (64 << 20).to_string());
            assert_eq!(tree.group_of(&boxed.id().to_string()).unwrap(), group.0);
            for child in [&mut app, &mut boxed] {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            let gone = group.0.clone();
            drop(group);
            assert!(!gone.exists(), "nothing of it is left");
            // A group that was left is taken away at the next start.
            std::fs::create_dir(&gone).unwrap();
            sweep(&divided);
            assert!(!gone.exists());
            std::fs::remove_dir(divided.join(APP)).unwrap();
            std::fs::remove_dir(&divided).unwrap();
            let _ = write(&own.join("cgroup.subtree_control"), &format!("-{controller}"));
        } else {
            println!("skipped: {controller} is not handed down from {}", own.display());
        }
        let _ = std::fs::remove_dir(&divided);
    }

    #[test]
    fn a_group_with_strangers_in_it_is_left_as_it_is() {
        assert!(is_ours(&std::process::id().to_string()));
        assert!(!is_ours("1"));
        assert!(!is_ours("4194999"), "nobody has this number");
    }
}
