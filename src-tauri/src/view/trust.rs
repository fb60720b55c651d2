//! What the page Trust shows: what was measured against what should be, who takes it, what guards the questions, what leaves this PC.

use serde::{Deserialize, Serialize};
use specta::Type;

use super::{Count, UnixMs};

/// How much is proved about this PC; the names are those of `evidence::Grade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Grade {
    /// Nothing.
    SelfClaim,
    /// Which computer it is, by a chip that nobody vouches for.
    KnownMachineUncertified,
    /// Which computer it is and how it was started.
    KnownMachine,
    /// The processor keeps the machine's memory from its owner.
    ProcessorIsolated,
    /// Processor and graphics card do.
    HardwareIsolated,
}

/// What a line about a part that runs here is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartKind {
    /// The app itself.
    App,
    /// The program in the box.
    Worker,
    /// The model's file.
    Model,
}

/// Who says what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "source", rename_all = "snake_case")]
pub(crate) enum Source {
    /// The log of releases, this entry of it.
    ReleaseLog {
        /// Its name.
        log: String,
    },
    /// What the network's list of models says.
    Network,
    /// Practice, which takes the file as it lies on this PC.
    Practice,
    /// There is a log, and the file is not in it as far as is known here.
    NotLogged,
    /// Nobody says it.
    Nobody,
}

/// One part: measured against expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct Part {
    /// Which.
    pub kind: PartKind,
    /// The program's version or the model's name.
    pub name: Option<String>,
    /// SHA-256 of its file in hexadecimal digits, as it was measured here; none: not measured yet.
    pub measured: Option<String>,
    /// What it should be.
    pub expected: Option<String>,
    /// Who says so.
    pub source: Source,
    /// Why the comparison can't be made or fails, in words of the log.
    pub why: Option<String>,
}

/// The networks the page asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AskedNetwork {
    /// Practice, on this PC.
    Practice,
    /// An open network that asks for nothing.
    OpenAnybody,
    /// One that asks for a known machine.
    OpenKnown,
    /// One that asks for a certified chip and Secure Boot.
    OpenCertified,
    /// Cocoon's main network.
    CocoonMain,
}

/// What would come of it if this PC went there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It would be taken.
    Yes,
    /// It would not.
    No,
    /// Something that decides about it is not known.
    Unknown,
}

/// The one thing that is missing; the names are those of `node::doctor::Missing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    System,
    Box,
    Anybody,
    TdxAndCard,
    Tdx,
    Card,
    TdxOrCardUnknown,
    CocoonsMachine,
    Sealing,
    SealedMachine,
    CardProof,
    Tpm,
    NewerTpm,
    Leave,
    TpmAnswer,
    TpmUnknown,
    Certificate,
    CertificateUnknown,
    Uefi,
    SecureBoot,
    SecureBootUnknown,
    BootLog,
    BootLogUnknown,
    GuestProof,
    Registration,
}

/// A network's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub(crate) struct NetworkVerdict {
    /// Which network.
    pub network: AskedNetwork,
    /// Whether it would take this PC.
    pub verdict: Verdict,
    /// If not, what is missing.
    pub missing: Option<Missing>,
}

/// How this PC and a proxy stand to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is being connected to.
    Connecting,
    /// It sends questions.
    Accepted {
        /// As what it took this PC; none: it asked for no proof, or has not said.
        grade: Option<Grade>,
    },
    /// It does not take this PC.
    Refused {
        /// Why, in its words.
        why: String,
    },
    /// This PC does not take it: its own proof is not what was asked for.
    NotTrusted {
        /// Why.
        why: String,
    },
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Proxy {
    /// Where it is.
    pub endpoint: String,
    /// How it stands.
    pub standing: Standing,
    /// Since when; none: not kept.
    pub at: Option<UnixMs>,
}

/// Who was refused, as it was written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Refused {
    /// Where the proxy is.
    pub endpoint: String,
    /// Whether the proxy refused this PC; else this PC did not trust the proxy.
    pub by_proxy: bool,
    /// Why.
    pub why: String,
    /// When it was so last.
    pub at: UnixMs,
}

/// What is proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Graded {
    /// How much: what the verifier of this app computes from the evidence that was made here.
    pub grade: Grade,
    /// When the evidence was made.
    pub at: UnixMs,
}

/// A wall of the worker's box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WallKind {
    /// It has no network of its own.
    Network,
    /// It opens no files.
    Files,
    /// It starts no programs.
    Programs,
    /// It neither looks into other programs nor ends them.
    Others,
    /// It has no rights of an administrator and gets none.
    Rights,
    /// What it asks the system for is on a list.
    Calls,
    /// It can't take all the memory.
    Memory,
}

/// Who says that a wall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Witness {
    /// The system's kernel, asked from outside.
    Kernel,
    /// The worker itself, where the kernel tells nobody else.
    Worker,
}

/// A wall and whether it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Wall {
    /// Which.
    pub kind: WallKind,
    /// Whether it stands; none: nobody could say.
    pub closed: Option<bool>,
    /// Whether something else stands for a part of it, where it does not: `found` says which.
    pub partly: bool,
    /// Who says so.
    pub by: Witness,
    /// Of a wall that is a limit: how many bytes.
    pub limit: Option<Count>,
    /// What was read, in words of the log.
    pub found: Option<String>,
}

/// The box around the worker that runs now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[expect(clippy::struct_field_names, reason = "they are walls")]
pub(crate) struct Walls {
    /// When the kernel was asked.
    pub at: UnixMs,
    /// Wall by wall.
    pub walls: Vec<Wall>,
    /// The rule of Windows' firewall; none: there is nothing to ask for.
    pub rule: Option<Rule>,
}

/// How it stands with the rule of Windows' firewall that stops what the worker sends to other computers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rule {
    /// There is none, and it would help.
    CanBeAsked,
    /// It is there.
    There,
}

/// What the owner wants to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RuleChange {
    /// Windows is to ask for an administrator and to make it.
    Add,
    /// The same, to take it away.
    Remove,
}

/// Why this PC talks to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// A proxy: questions come from it and answers go to it, through the worker's TLS, and evidence where it asks for some.
    Proxy,
    /// The chain: balances, payments.
    Chain,
    /// A registrar: it is shown the security chip's lifelong key, and says for a time which computer this is.
    Registrar,
}

/// A host that this PC talks to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Host {
    /// Its name or address.
    pub name: String,
    /// What for.
    pub purpose: Purpose,
    /// Whether it is this PC itself, so that nothing leaves.
    pub local: bool,
    /// Bytes that went there; none: not counted.
    pub sent: Option<Count>,
    /// Bytes that came from there; none: not counted.
    pub received: Option<Count>,
    /// When it was talked to last; none: not kept.
    pub last: Option<UnixMs>,
}

/// The page Trust.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub(crate) struct Trust {
    /// When this was so.
    pub at: UnixMs,
    /// When the PC itself was looked at; none: not yet.
    pub checked_at: Option<UnixMs>,
    /// Whether only simulated customers ask.
    pub practice: bool,
    /// What runs here.
    pub parts: Vec<Part>,
    /// What networks would say; none: the PC was not looked at yet.
    pub networks: Option<Vec<NetworkVerdict>>,
    /// What proxies have said.
    pub proxies: Vec<Proxy>,
    /// Who was refused at any time, the newest first, also by earlier runs.
    pub refusals: Vec<Refused>,
    /// What is proved; none: no evidence was made yet, which counts as nothing proved.
    pub proved: Option<Graded>,
    /// Whether a graphics card computes; none: no model is loaded.
    pub card: Option<bool>,
    /// The box; none: no worker runs, or none has said yet.
    pub walls: Option<Walls>,
    /// Whom this PC talked to.
    pub hosts: Vec<Host>,
    /// Since when bytes are counted.
    pub counted_since: UnixMs,
}
