//! What the system says of a process's walls, and what of a mode's is missing there.

use super::Mode;

/// The walls around a process as the system tells them from outside. `None` where it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Whether it is in an AppContainer.
    pub app_container: Option<bool>,
    /// How many capabilities its AppContainer has.
    pub capabilities: Option<u32>,
    /// Its integrity, as Windows numbers levels: 0x1000 is low, 0x2000 medium, 0x3000 high.
    pub integrity: Option<u32>,
    /// How many names of groups its token is restricted to; 0: it is no restricted token.
    pub restricting: Option<u32>,
    /// How many privileges its token has.
    pub privileges: Option<u32>,
    /// Whether it is in the job it was put into.
    pub in_job: Option<bool>,
    /// The job's limits.
    pub job: Option<Job>,
    /// Which of [`Mitigation::ALL`] are on.
    pub mitigations: Vec<Mitigation>,
}

/// Limits of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Job {
    /// Whether whatever runs in it ends with the app.
    pub kill_on_close: bool,
    /// Most bytes of memory that its process may ask for.
    pub memory: Option<u64>,
    /// Most processes at a time.
    pub processes: Option<u32>,
    /// Whether everything that has to do with windows, desktops and the clipboard is forbidden.
    pub closed_desktop: bool,
}

/// What Windows forbids a process on top of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mitigation {
    /// A wrong handle ends it.
    StrictHandles,
    /// Nothing that other programs registered is loaded into it.
    ExtensionPoints,
    /// No code from other computers or from places of low integrity, and the system's own before any other of the name.
    ImageLoad,
    /// No fonts but the system's.
    Fonts,
    /// It starts no process.
    ChildProcess,
    /// Its parts lie at addresses that nobody can guess.
    RandomAddresses,
}

impl Mitigation {
    /// Every one that is asked for.
    pub const ALL: [Self; 6] = [
        Self::StrictHandles,
        Self::ExtensionPoints,
        Self::ImageLoad,
        Self::Fonts,
        Self::ChildProcess,
        Self::RandomAddresses,
    ];
}

/// A part of a mode that the system does not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// It is not in an AppContainer.
    AppContainer,
    /// Its AppContainer has a capability.
    NoCapabilities,
    /// Its integrity is above low.
    LowIntegrity,
    /// Its token is restricted to nothing.
    RestrictedToken,
    /// It has more privileges than the one that everybody needs.
    NoPrivileges,
    /// It is not in its job.
    Job,
    /// The job has not all its limits.
    JobLimits,
    /// One of these is not on.
    Mitigation(Mitigation),
}

/// Something that a box keeps from the process in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// It has no network, not even to programs on this PC.
    Network,
    /// It opens no files of the owner's.
    Files,
    /// It starts no programs.
    Programs,
    /// It neither looks into other programs nor ends them.
    Others,
    /// It has no rights of an administrator and gets none.
    Rights,
    /// It can't take all the memory.
    Memory,
}

impl Wall {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Network, Self::Files, Self::Programs, Self::Others, Self::Rights, Self::Memory];
}

/// Low integrity, as Windows numbers levels.
const LOW: u32 = 0x1000;

impl Seen {
    /// Whether a wall stands, by what the system says and nothing else: neither the firewall's rule nor a restricted token closes one of
    /// these whole. `None`: the system does not say.
    pub fn closed(&self, wall: Wall) -> Option<bool> {
        let container = match (self.app_container, self.capabilities) {
            (Some(true), Some(count)) => Some(count == 0),
            (Some(true), None) | (None, _) => None,
            (Some(false), _) => Some(false),
        };
        let low = self.integrity.map(|level| level <= LOW);
        match wall {
            Wall::Network | Wall::Files => container,
            Wall::Programs => {
                let one = self.job.map(|job| job.processes == Some(1));
                if self.mitigations.contains(&Mitigation::ChildProcess) { Some(true) } else { one }
            }
            Wall::Others | Wall::Rights => low,
            Wall::Memory => self.job.map(|job| job.memory.is_some()),
        }
    }

    /// What the system does not confirm of a mode. A process that lacks anything is not to run.
    pub fn lacks(&self, mode: Mode) -> Vec<Lack> {
        let mut lacks = Vec::new();
        let mut must = |holds: bool, lack: Lack| {
            if !holds {
                lacks.push(lack);
            }
        };
        must(self.in_job == Some(true), Lack::Job);
        // Wine has the job, and forgets the rest.
        if mode == Mode::Wine {
            return lacks;
        }
        match mode {
            Mode::AppContainer { .. } => {
                must(self.app_container == Some(true), Lack::AppContainer);
                must(self.capabilities == Some(0), Lack::NoCapabilities);
            }
            Mode::Restricted { .. } | Mode::Wine => {
                must(self.restricting.is_some_and(|names| names > 0), Lack::RestrictedToken);
                must(self.privileges.is_some_and(|count| count <= 1), Lack::NoPrivileges);
            }
        }
        must(self.integrity.is_some_and(|level| level <= LOW), Lack::LowIntegrity);
        let limited = self.job.is_some_and(|job| {
            job.kill_on_close && job.memory.is_some() && job.processes == Some(1) && job.closed_desktop
        });
        must(limited, Lack::JobLimits);
        for mitigation in Mitigation::ALL {
            must(self.mitigations.contains(&mitigation), Lack::Mitigation(mitigation));
        }
        lacks
    }
}

/// In a few words.
impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AppContainer => "it is in no AppContainer",
            Self::NoCapabilities => "its AppContainer has capabilities",
            Self::LowIntegrity => "its integrity is not low",
            Self::RestrictedToken => "its token is not restricted",
            Self::NoPrivileges => "its token has privileges",
            Self::Job => "it is in no job",
            Self::JobLimits => "its job lacks limits",
            Self::Mitigation(Mitigation::StrictHandles) => "it may use wrong handles",
            Self::Mitigation(Mitigation::ExtensionPoints) => "other programs may load into it",
            Self::Mitigation(Mitigation::ImageLoad) => "it may load code from anywhere",
            Self::Mitigation(Mitigation::Fonts) => "it may load any font",
            Self::Mitigation(Mitigation::ChildProcess) => "it may start programs",
            Self::Mitigation(Mitigation::RandomAddresses) => "its addresses can be guessed",
        })
    }
}
