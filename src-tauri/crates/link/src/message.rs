//! What the two processes say to each other.

use accounting::{Endpoint, JobId, JobRecord};
use serde::{Deserialize, Serialize};
use ton::{Address, RootConfig};

use crate::proof::{AskedDemand, Enrolment, Standing, TdxDemand};

/// Names one lane for the life of a worker process; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId(pub u32);

/// Which evidence the worker presents in its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvidenceKind {
    /// None: a bare self-signed certificate.
    None,
    /// The reference implementation's test form: 64 bytes that anybody can compute. Proves nothing.
    FakeTdx,
}

/// What the worker demands of a proxy's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerPolicy {
    /// Any key.
    Any,
    /// The reference implementation's test evidence.
    FakeTdx,
    /// A quote of Intel TDX over its key, with an image on the root configuration's list.
    Tdx(TdxDemand),
    /// Any key; then it is asked what it can show over it, and works for nobody before that is enough.
    Asked(AskedDemand),
}

/// Which device runs the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendKind {
    /// The processor.
    Cpu,
    /// A graphics card, or nothing.
    Wgpu {
        /// Part of its name or its number, as `chrysalis-worker adapters` lists them; `None`: the best one.
        adapter: Option<String>,
    },
    /// The best graphics card there is, one of NVIDIA's through CUDA first, software ones last; where there is none the processor.
    Auto,
    /// A card of NVIDIA's through CUDA, or nothing.
    Cuda {
        /// Part of its name or its number among NVIDIA's cards; `None`: the first.
        adapter: Option<String>,
    },
}

/// Everything the worker must know before it serves; sent once, right after the greetings. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Full model name, `base@commit:hash`, as announced to proxies.
    pub served_as: String,
    /// The owner's address as text (non-bounceable form), as announced to proxies.
    pub owner: String,
    /// Price coefficient, thousandths.
    pub coefficient: i32,
    /// Most requests at once, over all proxies.
    pub max_active_requests: u32,
    /// How many proxies the app keeps connected (`proxy_cnt` of the handshake).
    pub proxy_connections: u32,
    /// Test network?
    pub is_test: bool,
    /// Are addresses written in their testnet form?
    pub is_testnet: bool,
    /// The network's parameters. Advice from the app, not attested truth.
    pub root: RootConfig,
    /// Address of the root contract.
    pub root_contract: Address,
    /// What is presented.
    pub evidence: EvidenceKind,
    /// What is demanded.
    pub policy: PeerPolicy,
    /// Where the model runs.
    pub backend: BackendKind,
    /// Threads for the CPU backend; `None`: the worker chooses.
    pub threads: Option<u32>,
    /// What workers found out about graphics cards at earlier starts ([`Tuning::choice`]), the newest first. Empty: nothing is known, or
    /// the owner wants the card tried out anew.
    pub tunings: Vec<Vec<u8>>,
    /// The hardest proof of work the worker solves, in bits.
    pub max_pow_difficulty: u32,
    /// Unix time in milliseconds on the app's clock when this was sent: the boxed worker advances it by its own monotonic clock
    /// until it is told anew with the next lane.
    pub unix_ms: i64,
}

/// What the app says to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// First message: which build speaks.
    Hello {
        /// Build name; must be equal on both ends.
        build: String,
    },
    /// Second message.
    Configure(Box<Configuration>),
    /// The app has dialled a proxy; bytes of this lane follow. The worker starts with the proof of work.
    OpenLane {
        /// The new lane.
        lane: LaneId,
        /// What this proxy told us before, remembered by the app; the worker refuses a change of key.
        known_key: Option<[u8; 32]>,
        /// Unix time in milliseconds on the app's clock: the worker's own clock stands still while the machine sleeps.
        unix_ms: i64,
    },
    /// The proxy's side of the lane is gone.
    LaneClosed {
        /// Which.
        lane: LaneId,
    },
    /// Take jobs (`true`) or announce disabled (`false`) on every lane; running jobs go on. A worker starts enabled and announces
    /// so once its model is loaded.
    SetEnabled(bool),
    /// Price coefficient from now on, thousandths.
    SetCoefficient(i32),
    /// The owner wants the card: announce disabled, end running jobs with an ordinary answer and honest counts, flush, say
    /// [`FromWorker::Yielded`]. The app kills the process at the deadline, come what may.
    Yield,
    /// The answer to [`FromWorker::WantEvidence`].
    Evidence {
        /// For which lane.
        lane: LaneId,
        /// The worker's number of the question.
        ask: u64,
        /// Evidence in its container, at most [`crate::proof::MAX_EVIDENCE`] bytes; `None`: there is nothing to show.
        bytes: Option<Vec<u8>>,
    },
    /// Second message, in place of [`Self::Configure`]: enrol this, over the one lane that is opened next.
    Enrol(Box<Enrolment>),
    /// The answer to [`FromWorker::Challenge`].
    Activated {
        /// What the TPM found in it, at most [`crate::proof::MAX_PART`] bytes.
        secret: Vec<u8>,
    },
}

/// What the worker found when it read the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// SHA-256 of the bytes it read.
    pub sha256: [u8; 32],
    /// `general.name` of the file, if it has one.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: String,
    /// Quantisation of most weights, `Q4_1` for example.
    pub quantisation: String,
    /// Longest context in tokens that will be served.
    pub context: u32,
    /// Backend in use, `cpu` for example.
    pub backend: String,
    /// Adapter in use; `None` on the CPU.
    pub adapter: Option<String>,
    /// Why an NVIDIA card is not used through CUDA although it could be reached; `None` where there is nothing to tell.
    pub passed_over: Option<String>,
}

/// A lane that finished its handshake, in the worker's words. The app recomputes every address before it believes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// The proxy's payment key.
    pub public_key: [u8; 32],
    /// The proxy's owner.
    pub owner: Address,
    /// The proxy's contract.
    pub proxy_contract: Address,
    /// Our worker contract at this proxy.
    pub worker_contract: Address,
    /// Negotiated protocol version.
    pub protocol_version: i32,
    /// Image hash out of the proxy's evidence; `None` when it showed none.
    pub image_hash: Option<[u8; 32]>,
    /// Key of the TLS certificate.
    pub tls_key: [u8; 32],
}

/// Why the worker gives a lane up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LaneEnd {
    /// The proof of work asked for is too hard.
    ProofOfWorkTooHard {
        /// Bits asked for.
        asked: u32,
    },
    /// Certificate or evidence refused, or TLS broke; the text says what, without peer-chosen bytes.
    Untrusted(String),
    /// The proxy broke the protocol or refused us.
    Protocol(String),
    /// The proxy was silent too long.
    Silent,
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// The owner must act.
    Error,
    /// We cope, but money or uptime suffers.
    Warn,
    /// A diary entry.
    Info,
    /// One line per decision.
    Debug,
}

/// What is wrong with a graphics card: each kind has another cure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceTrouble {
    /// There is none that may be used, or none of the name asked for.
    NoAdapter,
    /// It was there and is gone: unplugged, reset, or its driver updated.
    Lost,
    /// Its memory did not suffice when it was asked for some.
    OutOfMemory,
    /// It says that it has less memory than the model needs, before any was asked for.
    NoRoom,
    /// Its driver does not accept a kernel.
    Pipeline,
    /// It did not finish its work in time.
    Hung,
    /// It computes, but not what the processor computes.
    Wrong,
    /// Its driver refused something else.
    Refused,
}

/// What the worker does with a graphics card that it does not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trial {
    /// Its results are compared with the processor's.
    Testing,
    /// Its speed is measured.
    Measuring,
}

/// How the model's kernels are cut for a graphics card, and what was measured when that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// The driver's name of the card, at most [`Self::MAX_TEXT`] bytes.
    pub card: String,
    /// The driver and its version, as long.
    pub driver: String,
    /// The engine's name for the way that was chosen, as long.
    pub way: String,
    /// Microseconds of a step that generates one token for one request.
    pub step_micros: u64,
    /// Tokens of a prompt that were read together.
    pub chunk_tokens: u32,
    /// Microseconds that this took.
    pub chunk_micros: u64,
    /// Ways that were measured.
    pub tried: u32,
    /// Ways that gave wrong results or failed.
    pub failed: u32,
    /// Ways that the card has. For the rest of them there was no time.
    pub of: u32,
    /// All of it as the engine wants it back at the next start, at most [`Self::MAX_CHOICE`] bytes. It depends on card, driver, kernels
    /// and model, and the worker refuses it when one of them has changed.
    pub choice: Vec<u8>,
}

impl Tuning {
    /// Most bytes of a text.
    pub const MAX_TEXT: usize = 256;
    /// Most bytes of a choice.
    pub const MAX_CHOICE: usize = 2048;

    /// Whether everything has a length that it may have.
    pub fn is_bounded(&self) -> bool {
        [&self.card, &self.driver, &self.way].iter().all(|text| text.len() <= Self::MAX_TEXT)
            && (1..=Self::MAX_CHOICE).contains(&self.choice.len())
    }
}

/// Which list of system calls is in force around the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CallList {
    /// None: it may make any.
    #[default]
    Any,
    /// The one for opening a graphics card.
    Opening,
    /// The one for serving with a card: nothing is opened any more.
    Card,
    /// The one for serving with the processor: besides, no orders to devices and no memory that is run as code.
    Processor,
}

/// The walls around the worker, as it says itself once they stand. The app asks the kernel too and shows both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// The version of Landlock's interface that is in force; `None`: none.
    pub landlock: Option<u32>,
    /// Whether the tree of files is the worker's own and holds nothing but places of drivers.
    pub own_root: bool,
    /// Namespaces of its own, by the kernel's names.
    pub namespaces: Vec<String>,
    /// Why there are no namespaces or no tree of its own, in words.
    pub without_namespaces: Option<String>,
    /// Most bytes of memory that it can have.
    pub memory: Option<u64>,
    /// Which system calls it may make.
    pub calls: CallList,
}

/// Why the worker cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The model could not be read or is of a kind we do not run; the text says which.
    Model(String),
    /// The configuration contradicts itself.
    Configuration(String),
    /// The graphics card cannot go on, or never began. Another start may help, and the processor always does.
    Device {
        /// What kind of trouble.
        kind: DeviceTrouble,
        /// The whole sentence.
        text: String,
    },
    /// The two programs are of different builds.
    Build {
        /// The worker's.
        worker: String,
        /// The app's.
        app: String,
    },
    /// The box could not be closed, so nothing was read and nothing begun; the text says what this system refuses.
    Box(String),
}

/// What is known of a job when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedJob {
    /// The proxy's id of it.
    pub id: JobId,
    /// Which URL.
    pub endpoint: Endpoint,
    /// Events, or one body?
    pub streamed: bool,
    /// Coefficient to account with, thousandths.
    pub coefficient: i32,
    /// When it came, on the app's clock.
    pub started_unix_ms: i64,
}

/// What the worker says to the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// First message: which build speaks.
    Hello {
        /// Build name.
        build: String,
    },
    /// The model is loaded; lanes may be opened.
    Ready(ModelFacts),
    /// The graphics card is tried out, because nothing that is known of it fits; before [`Self::Ready`], and as often as it goes on.
    Trying {
        /// What is done.
        trial: Trial,
        /// With which way, from 1.
        number: u32,
        /// Of how many.
        of: u32,
    },
    /// How the kernels are cut for the card that is used; once, before [`Self::Ready`], not on the processor.
    Tuned {
        /// What is used.
        tuning: Box<Tuning>,
        /// Why it was found out now, in words; `None`: the app had it.
        reason: Option<String>,
    },
    /// It cannot serve and will exit.
    Failed(Failure),
    /// A lane is through proof of work, TLS and handshake.
    LaneReady {
        /// Which.
        lane: LaneId,
        /// What the proxy said of itself.
        proxy: ProxyReport,
    },
    /// The worker wants the lane closed.
    LaneEnded {
        /// Which.
        lane: LaneId,
        /// Why.
        why: LaneEnd,
    },
    /// What has been announced to the proxies.
    Enabled(bool),
    /// A job was handed to the model.
    JobStarted {
        /// From which proxy.
        lane: LaneId,
        /// What is known of it: the app writes it down as failed if the worker does not live to say how it ended.
        job: StartedJob,
        /// How many run now.
        active: u32,
    },
    /// How far a running job is; said at its start and then at most once a second.
    JobProgress {
        /// The proxy's id of it.
        id: JobId,
        /// Tokens of its prompt, of all its prompts together.
        prompt_tokens: u64,
        /// Tokens of its answers so far.
        completion_tokens: u64,
    },
    /// A job ended; counts are the engine's own. Also said of a job that was refused at once, without a `JobStarted` before it.
    /// Comes before the lane's bytes that end the answer: the app lets these pass only when the job is written down.
    JobDone {
        /// From which proxy.
        lane: LaneId,
        /// The record, without any text of it.
        record: JobRecord,
        /// How many run now.
        active: u32,
    },
    /// A signed payment as received. The app checks signature, target and growth before it counts.
    Payment {
        /// From which proxy.
        lane: LaneId,
        /// Bag of cells of the outer cell.
        boc: Vec<u8>,
        /// Adjusted tokens the proxy has written to its database for us.
        db_tokens: i64,
        /// Adjusted tokens it knows of.
        max_tokens: i64,
        /// The request it closes and the adjusted tokens credited for it.
        request: Option<([u8; 32], i64)>,
    },
    /// A proxy asks for evidence. The app answers with [`ToWorker::Evidence`], always.
    WantEvidence {
        /// Which proxy.
        lane: LaneId,
        /// The worker's number of the question, never reused.
        ask: u64,
        /// The key of the worker's own certificate on this lane.
        tls_key: [u8; 32],
        /// The proxy's nonce.
        nonce: [u8; 32],
    },
    /// A proxy says how we stand with it.
    Standing {
        /// Which proxy.
        lane: LaneId,
        /// How.
        standing: Box<Standing>,
    },
    /// A registrar's challenge, for the TPM to open.
    Challenge {
        /// The content of a `TPM2B_ID_OBJECT`, at most [`crate::proof::MAX_PART`] bytes.
        credential: Vec<u8>,
        /// The content of a `TPM2B_ENCRYPTED_SECRET`, as long.
        secret: Vec<u8>,
    },
    /// A registrar has certified what was enrolled. What its statement says has not been looked at.
    Enrolled {
        /// The statement, at most [`crate::proof::MAX_PART`] bytes.
        statement: Vec<u8>,
    },
    /// Announced disabled, nothing runs, everything is flushed into the pipe.
    Yielded,
    /// A line for the app's log; never holds text of a prompt or an answer.
    Log {
        /// How serious.
        level: LogLevel,
        /// Constant text.
        message: String,
    },
    /// The box is closed for good: before [`Self::Ready`].
    Confined(Box<Confinement>),
}

impl FromWorker {
    /// The lane whose next bytes end a job that costs something, if this says so. Whoever holds these back until the job is written
    /// down and whoever lets them go must agree on which they are.
    pub fn ends_a_paid_job(&self) -> Option<LaneId> {
        match self {
            Self::JobDone { lane, record, .. } if record.adjusted.total > 0 => Some(*lane),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use accounting::{AdjustedUsage, JobOutcome, TokenUsage};

    use super::*;
    use crate::frame::{Decoder, Frame, encode_control};

    fn check_survives<M>(messages: &[M])
    where
        M: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut decoder = Decoder::<M>::new();
        for message in messages {
            decoder.push(&encode_control(message).unwrap());
            let Some(Frame::Control(read)) = decoder.next().unwrap() else {
                panic!("no message came of {message:?}");
            };
            assert_eq!(&read, message);
        }
    }

    #[test]
    fn what_the_app_says_survives_the_pipe() {
        let lane = LaneId(3);
        check_survives(&[
            ToWorker::Hello { build: "x".to_owned() },
            ToWorker::OpenLane { lane, known_key: Some([7; 32]), unix_ms: 5 },
            ToWorker::OpenLane { lane, known_key: None, unix_ms: i64::MIN },
            ToWorker::LaneClosed { lane },
            ToWorker::SetEnabled(false),
            ToWorker::SetCoefficient(-1),
            ToWorker::Yield,
            ToWorker::Evidence { lane, ask: u64::MAX, bytes: None },
            ToWorker::Evidence { lane, ask: 0, bytes: Some(vec![7; crate::proof::MAX_EVIDENCE]) },
            ToWorker::Enrol(Box::new(Enrolment {
                ek_certificates: vec![vec![1; 900], Vec::new()],
                ek_public: vec![2; 300],
                ak_public: vec![3; 90],
                audience: [4; 32],
                registrar: [5; 32],
                max_pow_difficulty: 28,
                unix_ms: -1,
            })),
            ToWorker::Activated { secret: vec![6; 32] },
        ]);
    }

    #[test]
    fn a_tuning_is_judged_by_its_lengths() {
        let tuning = |text: usize, choice: usize| Tuning {
            card: "c".repeat(text),
            driver: String::new(),
            way: String::new(),
            step_micros: 0,
            chunk_tokens: 0,
            chunk_micros: 0,
            tried: 0,
            failed: 0,
            of: 0,
            choice: vec![0; choice],
        };
        assert!(tuning(256, 2048).is_bounded() && tuning(0, 1).is_bounded());
        assert!(!tuning(257, 1).is_bounded() && !tuning(0, 0).is_bounded() && !tuning(0, 2049).is_bounded());
    }

    #[test]
    fn what_the_worker_says_survives_the_pipe() {
        let lane = LaneId(u32::MAX);
        let address = Address { workchain: -1, hash: [8; 32] };
        let record = JobRecord {
            id: JobId([9; 32]),
            started_unix_ms: 1,
            finished_unix_ms: i64::MAX,
            outcome: JobOutcome::Refused { status: 503 },
            usage: TokenUsage { prompt: 1, cached: 0, completion: u64::MAX, reasoning: 0 },
            coefficient: 1500,
            adjusted: AdjustedUsage { prompt: 1, cached: 2, completion: 3, reasoning: 4, total: -5 },
            streamed: true,
            endpoint: Endpoint::Completions,
        };
        check_survives(&[
            FromWorker::Hello { build: String::new() },
            FromWorker::Ready(ModelFacts {
                sha256: [1; 32],
                name: None,
                architecture: "llama".to_owned(),
                quantisation: "Q4_1".to_owned(),
                context: 8192,
                backend: "cpu".to_owned(),
                adapter: Some("one".to_owned()),
                passed_over: Some("it adds wrongly".to_owned()),
            }),
            FromWorker::Trying { trial: Trial::Measuring, number: 2, of: u32::MAX },
            FromWorker::Tuned {
                tuning: Box::new(Tuning {
                    card: "a card".to_owned(),
                    driver: String::new(),
                    way: "w64-l64-r4".to_owned(),
                    step_micros: 1,
                    chunk_tokens: 16,
                    chunk_micros: u64::MAX,
                    tried: 3,
                    failed: 0,
                    of: 5,
                    choice: vec![7; Tuning::MAX_CHOICE],
                }),
                reason: Some("the driver changed".to_owned()),
            },
            FromWorker::Failed(Failure::Device { kind: DeviceTrouble::Wrong, text: "it lies".to_owned() }),
            FromWorker::Failed(Failure::Device { kind: DeviceTrouble::Hung, text: "it hangs".to_owned() }),
            FromWorker::Failed(Failure::Build { worker: "a".to_owned(), app: "b".to_owned() }),
            FromWorker::LaneReady {
                lane,
                proxy: ProxyReport {
                    public_key: [1; 32],
                    owner: address,
                    proxy_contract: address,
                    worker_contract: address,
                    protocol_version: 2,
                    image_hash: None,
                    tls_key: [2; 32],
                },
            },
            FromWorker::LaneEnded { lane, why: LaneEnd::ProofOfWorkTooHard { asked: 30 } },
            FromWorker::LaneEnded { lane, why: LaneEnd::Silent },
            FromWorker::Enabled(true),
            FromWorker::JobStarted {
                lane,
                job: StartedJob {
                    id: JobId([4; 32]),
                    endpoint: Endpoint::Chat,
                    streamed: true,
                    coefficient: 1000,
                    started_unix_ms: -1,
                },
                active: 1,
            },
            FromWorker::JobDone { lane, record, active: 0 },
            FromWorker::Payment { lane, boc: vec![0; 300], db_tokens: 1, max_tokens: 2, request: Some(([3; 32], -4)) },
            FromWorker::WantEvidence { lane, ask: 3, tls_key: [1; 32], nonce: [2; 32] },
            FromWorker::Standing {
                lane,
                standing: Box::new(Standing {
                    accepted: false,
                    grade: -1,
                    reason: "no".to_owned(),
                    grades: vec![2, 4],
                    secure_boot: true,
                    registrars: vec![(String::new(), [3; 32])],
                }),
            },
            FromWorker::Challenge { credential: vec![1; 70], secret: vec![2; 256] },
            FromWorker::Enrolled { statement: vec![3; 250] },
            FromWorker::Yielded,
            FromWorker::Log { level: LogLevel::Warn, message: "x".to_owned() },
            FromWorker::Failed(Failure::Box("no Landlock".to_owned())),
            FromWorker::Confined(Box::new(Confinement {
                landlock: Some(7),
                own_root: true,
                namespaces: vec!["user".to_owned(), "net".to_owned()],
                without_namespaces: Some("refused".to_owned()),
                memory: Some(1 << 34),
                calls: CallList::Card,
            })),
        ]);
    }
}
