//! A worker that somebody has taken over: the real program, as it is shipped, whose main thread makes the system calls that a test wants.
//!
//! It is done as a debugger does it. The program runs as ever, confines itself and reads its model; then its thread is stopped, its
//! registers are set for a call, one instruction is done, and what came of it is read. Nothing in the program helps with that. What a
//! hostile prompt could do at best, run code of its own in the worker, comes to the same.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libc::user_regs_struct as Registers;
use link::frame::{Decoder, Frame, encode_control};
use link::message::{BackendKind, Configuration, EvidenceKind, PeerPolicy};
use link::proof::Enrolment;
use link::{BUILD, FromWorker, ToWorker};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use ton::{Address, RootConfig};

/// Nothing here takes long; what does hangs.
const GUARD: Duration = Duration::from_mins(10);
/// Who the worker runs as where the tests run as root: a user like any other. Root would be refused less by anything but the box.
const NOBODY: u32 = 65534;
/// Bytes of the worker's memory for arguments of calls.
pub(crate) const SCRATCH: usize = 64 * 1024;

/// How many filters a list of system calls is.
pub(crate) const FILTERS: u32 = 3;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It came back with this; negative: minus the number of the error.
    Returned(i64),
    /// It made another process or started another program.
    Split,
    /// The process is dead.
    Killed(Signal),
}

impl Outcome {
    pub(crate) fn value(self) -> Option<i64> {
        match self {
            Self::Returned(value) if value >= 0 => Some(value),
            _ => None,
        }
    }
}

/// Where the worker is when it is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Not a worker at all but a program in no box, to see that an attempt is one.
    Outside,
    /// After the first step: it has read nothing yet.
    Opening,
    /// Enrolling a TPM: it is told to, and no registrar has said anything yet.
    Enrolling,
    /// Ready to serve, with the processor.
    Cpu,
    /// Ready to serve, with a graphics card.
    Wgpu,
}

/// A program, the model and a place for both that anybody may read.
pub(crate) struct Ground {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) program: PathBuf,
    pub(crate) model: PathBuf,
    /// A file of the user the worker runs as, that nobody else may read.
    pub(crate) secret: PathBuf,
    pub(crate) user: u32,
    /// What was found out about the graphics card.
    tuning: RefCell<Option<Vec<u8>>>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new().prefix("chrysalis-box-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("chrysalis-worker");
        std::fs::copy(env!("CARGO_BIN_EXE_chrysalis-worker"), &program).unwrap();
        let model = folder.path().join("model.gguf");
        std::fs::write(&model, engine::synthetic::tiny()).unwrap();
        let root = rustix::process::geteuid().is_root();
        let user = if root { NOBODY } else { rustix::process::geteuid().as_raw() };
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let secret = home.join("id_ed25519");
        std::fs::write(&secret, "a key that earns").unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let [other, spare] = ["other", "spare"].map(|name| home.join(name));
        for path in [&other, &spare] {
            std::fs::write(path, "of no worth").unwrap();
        }
        if root {
            // Whoever owns the program and the model, too, could write them.
            for path in [&home, &secret, &other, &spare, &program, &model] {
                std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
            }
        }
        Self { folder, program, model, secret, user, tuning: RefCell::new(None) }
    }
}

/// The kernel, as the program is to see it at its start.
pub(crate) type Refusals<'a> = &'a [(i64, Errno)];

/// See the module.
pub(crate) struct Taken {
    pub(crate) pid: Pid,
    pipe: UnixStream,
    decoder: Decoder<FromWorker>,
    pub(crate) said: Vec<FromWorker>,
    standing: Option<Standing>,
    pub(crate) gone: Option<WaitStatus>,
}

/// How it stood when it was stopped.
#[derive(Clone, Copy)]
struct Standing {
    registers: Registers,
    /// Where an instruction that makes a system call is.
    call: u64,
    scratch: u64,
}

impl Taken {
    /// Brings a worker to this moment and stops it there.
    pub(crate) fn at(ground: &Ground, moment: Moment) -> Self {
        let mut taken = Self::free(ground, moment);
        taken.stop();
        taken
    }

    /// The same, left running.
    pub(crate) fn free(ground: &Ground, moment: Moment) -> Self {
        let program = if moment == Moment::Outside { Path::new("/bin/sleep") } else { &ground.program };
        let mut taken = Self::start(ground, program, (moment == Moment::Outside).then_some("1000"));
        ptrace::cont(taken.pid, None).unwrap();
        match moment {
            // Until it sleeps.
            Moment::Outside => std::thread::sleep(Duration::from_millis(50)),
            Moment::Opening => taken.hear(|said| matches!(said, FromWorker::Hello { .. })),
            Moment::Enrolling => {
                taken.say(&ToWorker::Hello { build: BUILD.to_owned() });
                taken.say(&ToWorker::Enrol(Box::new(enrolment())));
                taken.hear(|said| matches!(said, FromWorker::Confined(_)));
            }
            Moment::Cpu => taken.serve(BackendKind::Cpu, None),
            Moment::Wgpu => {
                taken.serve(BackendKind::Wgpu { adapter: None }, ground.tuning.borrow().clone());
                let found = taken.said.iter().find_map(|said| match said {
                    FromWorker::Tuned { tuning, .. } => Some(tuning.choice.clone()),
                    _ => None,
                });
                // The next one need not try the card out again.
                *ground.tuning.borrow_mut() = found;
            }
        }
        taken
    }

    /// A worker on a kernel that refuses this, until it is gone or its walls stand and it has said `Hello`.
    pub(crate) fn on_a_kernel_that_refuses(ground: &Ground, refusals: Refusals<'_>) -> Self {
        let mut taken = Self::start(ground, &ground.program, None);
        let mut filters = 0;
        while taken.gone.is_none() && filters < FILTERS {
            ptrace::syscall(taken.pid, None).unwrap();
            if !matches!(taken.wait(), WaitStatus::PtraceSyscall(_)) {
                continue;
            }
            let mut registers = ptrace::getregs(taken.pid).unwrap();
            let number = registers.orig_rax.cast_signed();
            if registers.rax.cast_signed() != -i64::from(libc::ENOSYS) {
                // On the way out.
                continue;
            }
            if let Some((_, error)) = refusals.iter().find(|(refused, _)| *refused == number) {
                // No call has this number, so nothing is done; the answer is put in its place on the way out.
                registers.orig_rax = u64::MAX;
                ptrace::setregs(taken.pid, registers).unwrap();
                ptrace::syscall(taken.pid, None).unwrap();
                taken.wait();
                let mut registers = ptrace::getregs(taken.pid).unwrap();
                registers.rax = (-i64::from(*error as i32)).cast_unsigned();
                ptrace::setregs(taken.pid, registers).unwrap();
            } else if number == libc::SYS_seccomp {
                filters += 1;
            }
        }
        if taken.gone.is_none() {
            ptrace::cont(taken.pid, None).unwrap();
            taken.hear(|said| matches!(said, FromWorker::Hello { .. }));
        }
        taken
    }

    /// Starts a program as the app does, but by a shell that waits until it is traced. Comes back with the program loaded and none of it done.
    fn start(ground: &Ground, program: &Path, argument: Option<&str>) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(GUARD)).unwrap();
        let mut command = Command::new("/bin/sh");
        // The pipe is 3, the model 4; 7 is something that must not stay open.
        let line = "kill -STOP $$; exec \"$0\" \"$@\" 3<&0 4<\"$MODEL\" 7</etc/passwd </dev/null";
        let line = line.replace("$MODEL", &ground.model.to_string_lossy());
        command.args(["-c", &line]).arg(program).args(argument).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(ground.user).gid(ground.user);
        }
        #[expect(clippy::zombie_processes, reason = "it is traced, and waited for as such")]
        let child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed());
        let mut taken = Self { pid, pipe: ours, decoder: Decoder::new(), said: Vec::new(), standing: None, gone: None };
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        let options = Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD;
        ptrace::seize(pid, options).unwrap();
        nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
        loop {
            match taken.wait() {
                WaitStatus::PtraceEvent(_, _, event) if event == libc::PTRACE_EVENT_EXEC => return taken,
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => panic!("the program was not started"),
                _ => ptrace::cont(pid, None).unwrap(),
            }
        }
    }

    fn serve(&mut self, backend: BackendKind, tuning: Option<Vec<u8>>) {
        self.say(&ToWorker::Hello { build: BUILD.to_owned() });
        let mut configuration = configuration(backend);
        configuration.tunings.extend(tuning);
        self.say(&ToWorker::Configure(Box::new(configuration)));
        self.hear(|said| matches!(said, FromWorker::Ready(_)));
    }

    pub(crate) fn say(&mut self, message: &ToWorker) {
        // A worker that is gone hears nothing.
        let _ = self.pipe.write_all(&encode_control(message).unwrap());
    }

    /// Reads until it says this.
    pub(crate) fn hear(&mut self, wanted: impl Fn(&FromWorker) -> bool) {
        let begin = Instant::now();
        while !self.said.iter().any(&wanted) {
            assert!(begin.elapsed() < GUARD && self.listen(), "it said only {:?}", self.said);
        }
    }

    /// Takes in what it says next; `false`: nothing.
    fn listen(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let Ok(length @ 1..) = self.pipe.read(&mut buffer) else { return false };
        self.decoder.push(&buffer[..length]);
        while let Some(frame) = self.decoder.next().unwrap() {
            if let Frame::Control(message) = frame {
                self.said.push(message);
            }
        }
        true
    }

    fn wait(&mut self) -> WaitStatus {
        let status = waitpid(self.pid, Some(WaitPidFlag::__WALL)).unwrap();
        if matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
            self.gone = Some(status);
        }
        status
    }

    fn stop(&mut self) {
        let mut tried = 0;
        let (registers, call) = loop {
            ptrace::interrupt(self.pid).unwrap();
            let stopped = self.wait();
            assert!(self.gone.is_none(), "{stopped:?}");
            let registers = ptrace::getregs(self.pid).unwrap();
            // Sooner or later it waits for something, and then it stands behind such an instruction.
            let call = registers.rip - 2;
            let bytes = ptrace::read(self.pid, call as ptrace::AddressType).unwrap().to_le_bytes();
            if bytes[..2] == [0x0f, 0x05] {
                break (registers, call);
            }
            tried += 1;
            assert!(tried < 1_000, "it does not stand in a system call");
            ptrace::cont(self.pid, None).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        };
        self.standing = Some(Standing { registers, call, scratch: 0 });
        let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let scratch = self.call(libc::SYS_mmap, &[0, SCRATCH as u64, read_write as u64, private as u64, u64::MAX, 0]);
        let scratch = scratch.value().expect("memory, which every program may have").cast_unsigned();
        if let Some(standing) = &mut self.standing {
            standing.scratch = scratch;
        }
    }

    /// Where its memory for arguments is.
    fn scratch(&self) -> u64 {
        self.standing.unwrap().scratch
    }

    /// Puts bytes into its memory, so far behind the beginning of [`Self::scratch`], and says where that is.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + bytes.len() + 8 <= SCRATCH);
        let at = self.scratch() + offset as u64;
        self.poke(at, bytes);
        at
    }

    /// Puts bytes anywhere into its memory, and zeros up to a multiple of eight.
    pub(crate) fn poke(&self, at: u64, bytes: &[u8]) {
        for (index, word) in bytes.chunks(8).enumerate() {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            let target = at + 8 * index as u64;
            ptrace::write(self.pid, target as ptrace::AddressType, libc::c_long::from_le_bytes(whole)).unwrap();
        }
    }

    /// Has it make a call.
    pub(crate) fn call(&mut self, number: i64, arguments: &[u64]) -> Outcome {
        let Standing { registers, call, .. } = self.standing.unwrap();
        self.run(number, arguments, Registers { rip: call, ..registers })
    }

    /// Has it run an instruction elsewhere.
    pub(crate) fn call_at(&mut self, instruction: u64, number: i64, arguments: &[u64]) -> Outcome {
        let Standing { registers, .. } = self.standing.unwrap();
        self.run(number, arguments, Registers { rip: instruction, ..registers })
    }

    fn run(&mut self, number: i64, arguments: &[u64], mut registers: Registers) -> Outcome {
        if let Some(gone) = self.gone {
            panic!("it is gone ({gone:?}) and makes no more calls");
        }
        let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
        registers.rax = number.cast_unsigned();
        // Not in a call, so nothing is to be begun again.
        registers.orig_rax = u64::MAX;
        registers.rdi = argument(0);
        registers.rsi = argument(1);
        registers.rdx = argument(2);
        registers.r10 = argument(3);
        registers.r8 = argument(4);
        registers.r9 = argument(5);
        ptrace::setregs(self.pid, registers).unwrap();
        loop {
            ptrace::step(self.pid, None).unwrap();
            match self.wait() {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => break,
                // A signal of no concern, an answer to the stopping before.
                WaitStatus::Stopped(_, Signal::SIGSEGV) => return Outcome::Returned(-i64::from(libc::EFAULT)),
                WaitStatus::PtraceEvent(_, _, event) if event != libc::PTRACE_EVENT_STOP => return Outcome::Split,
                WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => {
                    if ptrace::getregs(self.pid).unwrap().rip != registers.rip {
                        break;
                    }
                }
                WaitStatus::Signaled(_, signal, _) => return Outcome::Killed(signal),
                WaitStatus::Exited(_, code) => return Outcome::Returned(i64::from(code)),
                status => panic!("{status:?}"),
            }
        }
        Outcome::Returned(ptrace::getregs(self.pid).unwrap().rax.cast_signed())
    }

    /// Stops whatever it makes besides itself, too.
    pub(crate) fn trace_what_it_makes(&self) {
        let all = Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK;
        ptrace::setoptions(self.pid, all).unwrap();
    }

    /// Lets it go on where it was stopped.
    pub(crate) fn let_go(&mut self) {
        if let Some(Standing { registers, .. }) = self.standing.take() {
            ptrace::setregs(self.pid, registers).unwrap();
            ptrace::cont(self.pid, None).unwrap();
        }
    }

    /// Ends it, as the app does.
    pub(crate) fn end(mut self) {
        nix::sys::signal::kill(self.pid, Signal::SIGKILL).unwrap();
        self.reap();
    }

    /// Waits until nothing is left of it. Threads that are traced are waited for one by one, and it is not gone before.
    fn reap(&mut self) {
        let now = Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG);
        let begin = Instant::now();
        while self.gone.is_none() {
            assert!(begin.elapsed() < GUARD, "it does not end");
            for thread in self.threads() {
                if let Ok(status @ (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..))) =
                    waitpid(Pid::from_raw(thread), now)
                    && pid == self.pid
                {
                    self.gone = Some(status);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it is gone.
    pub(crate) fn until_its_end(mut self) -> Self {
        while self.gone.is_none() {
            if !matches!(self.wait(), WaitStatus::Exited(..) | WaitStatus::Signaled(..)) {
                ptrace::cont(self.pid, None).unwrap();
            }
        }
        self.pipe.set_nonblocking(true).unwrap();
        while self.listen() {}
        self
    }

    pub(crate) fn stopped(mut self) -> Self {
        self.stop();
        self
    }

    /// Whether it is in a network of its own.
    pub(crate) fn has_namespaces(&self) -> bool {
        // Whose process is not to be looked into has its namespaces hidden from others than root; then it may have some.
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        std::fs::read_link(format!("/proc/{}/ns/net", self.pid)).map_or_else(
            |_| {
                self.said.iter().any(|said| matches!(said, FromWorker::Confined(walls) if !walls.namespaces.is_empty()))
            },
            |theirs| theirs != own,
        )
    }

    /// A line of what the kernel says of it, or of one of its threads.
    pub(crate) fn status(&self, thread: Option<i32>, name: &str) -> String {
        let place = match thread {
            Some(thread) => format!("/proc/{}/task/{thread}/status", self.pid),
            None => format!("/proc/{}/status", self.pid),
        };
        let text = std::fs::read_to_string(place).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
    }

    pub(crate) fn threads(&self) -> Vec<i32> {
        let listed = std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        listed.flatten().map(|entry| entry.file_name().to_string_lossy().parse().unwrap()).collect()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.gone.is_none() {
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
            self.reap();
        }
        // What it made besides itself, if it could.
        let _ = nix::sys::signal::killpg(self.pid, Signal::SIGKILL);
    }
}

/// Of a machine that there is not.
fn enrolment() -> Enrolment {
    Enrolment {
        ek_certificates: Vec::new(),
        ek_public: vec![2; 60],
        ak_public: vec![3; 60],
        audience: [4; 32],
        registrar: [5; 32],
        max_pow_difficulty: 20,
        unix_ms: 1_795_000_000_000,
    }
}

/// A network with contracts of empty code.
fn configuration(backend: BackendKind) -> Configuration {
    let network = serde_json::json!({
        "proxy_hashes": [], "worker_hashes": [], "registered_proxies": [],
        "price_per_token": 2_000_000, "worker_fee_per_token": 1_000_000, "last_proxy_seqno": 0, "version": 1, "params_version": 1,
        "proxy_sc_code": "", "worker_sc_code": "", "client_sc_code": "",
        "root_owner_address": "0QBgPMq7ye2WRcudRHK_-yjHwMXjeN-UCzAuoo06TR6hmgHV",
        "root_contract_address": "EQBT4hy4vMEZ9uxSCuhw_gBKh9_AwmHXLe7Wo0O4Vh-4kRjJ",
    });
    Configuration {
        served_as: format!("practice/tiny@q8_0:{}", "0".repeat(64)),
        owner: "UQAuz15H1ZHrZ_psVrAra7HealMIVeFq0wguqlmFno1f3B-m".to_owned(),
        coefficient: 1000,
        max_active_requests: 4,
        proxy_connections: 1,
        is_test: true,
        is_testnet: false,
        root: RootConfig::from_json(&network.to_string()).unwrap(),
        root_contract: Address { workchain: 0, hash: [1; 32] },
        evidence: EvidenceKind::None,
        policy: PeerPolicy::Any,
        backend,
        threads: Some(1),
        tunings: Vec::new(),
        max_pow_difficulty: 24,
        unix_ms: 1_795_000_000_000,
    }
}
