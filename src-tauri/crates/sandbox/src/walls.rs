//! What the walls of a box are made of, as whoever stands inside says it.

/// Walls that stand, told by the process they stand around. What the kernel says of them from outside is [`crate::BoxState`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walls {
    /// The version of Landlock's interface whose rules are in force: the newest that both the kernel and we know; `None`: the kernel has no Landlock, or
    /// the system none of its kind.
    pub landlock: Option<u32>,
    /// Whether the tree of files is one of the box's own, which holds nothing but what drivers of graphics cards need.
    pub own_root: bool,
    /// Namespaces of its own, by the kernel's names (`user`, `mnt`, `net`, `ipc`, `uts`).
    pub namespaces: Vec<&'static str>,
    /// Why there are no namespaces or no tree of its own, in words; `None` where there are both.
    pub without_namespaces: Option<String>,
    /// Bytes of memory that the process can have at most; `None`: as many as the system gives.
    pub memory: Option<u64>,
    /// How far the list of system calls is narrowed.
    pub calls: Calls,
}

/// Which list of system calls is in force: each next one is part of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Calls {
    /// None: any call may be made.
    #[default]
    Any,
    /// What opening a graphics card takes: files may be opened, as far as there are any.
    Opening,
    /// What serving with a graphics card takes: nothing is opened any more.
    Card,
    /// What serving with the processor takes: neither orders to devices nor memory that is run as code.
    Processor,
}

/// A system call that a boxed process may make under some condition, or that fails politely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedCall {
    /// Its number on this processor.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// Who needs it, or tries it and goes on without.
    pub who: &'static str,
}

/// With what the box serves, once everything is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// A graphics card, whose driver gives orders to the kernel and makes code.
    Card,
    /// The processor.
    Processor,
}

/// Why the walls do not stand. Whoever hears this must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfineError {
    /// Nothing here keeps files away.
    #[error(
        "this system keeps no files away from the worker: Landlock {landlock}, and namespaces are refused ({namespaces}). Chrysalis does \
         not run a model without one of the two; a Linux kernel from 5.13 on with Landlock switched on has what is needed"
    )]
    Files {
        /// What the kernel says of Landlock.
        landlock: String,
        /// And of namespaces.
        namespaces: String,
    },
    /// The list of system calls is not taken.
    #[error("this system takes no list of system calls (seccomp): {0}. Chrysalis does not run a model without one")]
    Calls(String),
    /// Something else that every Linux has is refused.
    #[error("the box cannot be closed, {step}: {why}")]
    Step {
        /// What was done.
        step: &'static str,
        /// What the system says.
        why: String,
    },
}
