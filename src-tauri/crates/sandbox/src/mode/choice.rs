//! The choice that is kept between starts, and what makes it old.

use std::fmt::Write as _;

use super::{Attempt, Graphics, Mode};

/// Kinds of walls that a self-test can find to work. The firewall's rule is no part: it is looked for at every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An AppContainer, and what works in it.
    AppContainer(Graphics),
    /// A restricted token of low integrity.
    Restricted,
}

impl Kind {
    /// What an AppContainer has to stop.
    pub(super) const MUST_STOP_IN_CONTAINER: &[Attempt] = &Attempt::ALL;
    /// What a restricted token of low integrity has to stop.
    pub(super) const MUST_STOP_WITH_TOKEN: &[Attempt] = &[Attempt::NewFile, Attempt::AppMemory, Attempt::Program];

    /// The mode, with what the firewall says now.
    pub fn with(self, firewall: bool) -> Mode {
        match self {
            Self::AppContainer(graphics) => Mode::AppContainer { graphics },
            Self::Restricted => Mode::Restricted { firewall },
        }
    }
}

/// What a choice holds for. Anything else than this, and the self-test is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// Windows' number of itself, with that of its last update.
    pub build: String,
    /// Every graphics driver with its version.
    pub drivers: Vec<String>,
    /// SHA-256 of the worker program.
    pub program: [u8; 32],
}

const FIRST: &str = "chrysalis walls 1";
/// A file longer than this is none of ours, in bytes.
const LONGEST: usize = 16 * 1024;

const NAMES: [(&str, Kind); 4] = [
    ("appcontainer vulkan", Kind::AppContainer(Graphics::Vulkan)),
    ("appcontainer dx12", Kind::AppContainer(Graphics::Dx12)),
    ("appcontainer processor", Kind::AppContainer(Graphics::Processor)),
    ("restricted", Kind::Restricted),
];

/// A choice as text: a first line, then one line for each thing it holds for, then the kind.
pub fn write(basis: &Basis, kind: Kind) -> String {
    let mut text = format!("{FIRST}\n{}", basis.lines());
    for (name, one) in NAMES {
        if one == kind {
            let _ = writeln!(text, "mode {name}");
        }
    }
    text
}

/// The kind that is kept in a text, if that was chosen on just this basis. `None`: the self-test is to be made.
pub fn read(text: &str, basis: &Basis) -> Option<Kind> {
    let rest = Some(text).filter(|text| text.len() <= LONGEST)?.strip_prefix(FIRST)?.strip_prefix('\n')?;
    let name = rest.strip_prefix(&basis.lines())?.strip_prefix("mode ")?.strip_suffix('\n')?;
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

impl Basis {
    fn lines(&self) -> String {
        let one_line = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        let mut lines = format!("build {}\nprogram ", one_line(&self.build));
        for byte in self.program {
            let _ = write!(lines, "{byte:02x}");
        }
        lines.push('\n');
        for driver in &self.drivers {
            let _ = writeln!(lines, "driver {}", one_line(driver));
        }
        lines
    }
}
