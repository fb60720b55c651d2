//! What somebody tries who runs code of their own in the worker. Each is a call, or several of which each needs the one before it, and
//! is worth trying: [`Moment::Outside`] shows which of them an ordinary program may do.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use libc::c_int;

use crate::taken::{Ground, Moment, Outcome, Taken};

/// What there is to be reached outside.
pub(crate) struct Scene {
    pub(crate) ground: Ground,
    tcp: TcpListener,
    tcp6: Option<TcpListener>,
    udp: UdpSocket,
    _unix: UnixListener,
    _hidden: UnixListener,
    victim: Child,
}

/// Here, in the numbers of the calls.
const HERE: u64 = libc::AT_FDCWD as i64 as u64;
const READ: u64 = libc::O_RDONLY as u64;
const WRITE: u64 = libc::O_WRONLY as u64;
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
const READ_AND_CODE: u64 = (libc::PROT_READ | libc::PROT_EXEC) as u64;
const EVERYTHING: u64 = READ_WRITE | libc::PROT_EXEC as u64;
const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
/// What drivers of cards ask for.
const OPENING: &[Moment] = &[Moment::Opening];
const CARDS: &[Moment] = &[Moment::Opening, Moment::Wgpu];
const CREATE: u64 = (libc::O_WRONLY | libc::O_CREAT) as u64;

impl Scene {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let ground = Ground::new();
        let unix = ground.folder.path().join("session-bus");
        let listener = UnixListener::bind(&unix).unwrap();
        std::fs::set_permissions(&unix, std::fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&ground.secret, ground.folder.path().join("link")).unwrap();
        let mut victim = Command::new("/bin/sleep");
        victim.arg("1000").stdin(Stdio::null()).process_group(0).env("TOKEN", "secret");
        if rustix::process::geteuid().is_root() {
            victim.uid(ground.user).gid(ground.user);
        }
        let name = hidden(&ground);
        Self {
            ground,
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            tcp6: TcpListener::bind("[::1]:0").ok(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            _unix: listener,
            _hidden: UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap(),
            victim: victim.spawn().unwrap(),
        }
    }

    fn victim(&self) -> u64 {
        u64::from(self.victim.id())
    }
}

/// A name without a file that a service here has.
fn hidden(ground: &Ground) -> Vec<u8> {
    ground.folder.path().file_name().unwrap().as_encoded_bytes().to_vec()
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// One of them.
pub(crate) struct Attempt {
    /// To what group it belongs.
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Taken, &Scene) -> Outcome,
}

/// Goes on with what the call before gave, or ends with how that failed.
macro_rules! try_call {
    ($outcome:expr) => {
        match $outcome {
            Outcome::Returned(value) if value >= 0 => value.cast_unsigned(),
            failed => return failed,
        }
    };
}

/// Whoever hears this error was let through to the kernel, which would refuse the call for a reason of its own.
fn reached(outcome: Outcome, kernels_own: c_int) -> Outcome {
    match outcome {
        Outcome::Returned(error) if error == -i64::from(kernels_own) => Outcome::Returned(0),
        other => other,
    }
}

/// Memory of its own, to read and write.
fn memory(worker: &mut Taken, bytes: u64) -> Outcome {
    worker.call(libc::SYS_mmap, &[0, bytes, READ_WRITE, PRIVATE, u64::MAX, 0])
}

fn text(worker: &Taken, offset: usize, text: &str) -> u64 {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    worker.put(offset, &bytes)
}

fn open(worker: &mut Taken, path: &str, flags: u64) -> Outcome {
    let path = text(worker, 0, path);
    worker.call(libc::SYS_openat, &[HERE, path, flags, 0o600])
}

/// A call whose first argument is a path.
fn on_path(worker: &mut Taken, number: i64, path: &str, rest: &[u64]) -> Outcome {
    let mut arguments = vec![text(worker, 0, path)];
    arguments.extend(rest);
    worker.call(number, &arguments)
}

fn secret(scene: &Scene) -> String {
    scene.ground.secret.to_string_lossy().into_owned()
}

fn in_folder(scene: &Scene, name: &str) -> String {
    scene.ground.folder.path().join("home").join(name).to_string_lossy().into_owned()
}

fn socket(worker: &mut Taken, family: c_int, kind: c_int, protocol: c_int) -> Outcome {
    worker.call(libc::SYS_socket, &[family as u64, kind as u64, protocol as u64])
}

fn ip4(port: u16) -> Vec<u8> {
    let mut address = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    address.extend(port.to_be_bytes());
    address.extend([127, 0, 0, 1]);
    address.extend([0; 8]);
    address
}

fn ip6(port: u16) -> Vec<u8> {
    let mut address = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
    address.extend(port.to_be_bytes());
    address.extend([0; 4]);
    address.extend([0; 15]);
    address.push(1);
    address.extend([0; 4]);
    address
}

fn unix_address(name: &[u8]) -> Vec<u8> {
    let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend(name);
    address
}

fn reach(worker: &mut Taken, family: c_int, kind: c_int, call: i64, address: &[u8]) -> Outcome {
    let socket = try_call!(socket(worker, family, kind, 0));
    let at = worker.put(1024, address);
    worker.call(call, &[socket, at, address.len() as u64])
}

macro_rules! attempts {
    ($($group:literal: { $($name:literal => $run:expr),* $(,)? })*) => {
        &[$($(Attempt { group: $group, name: $name, run: $run }),*),*]
    };
}

/// All of them.
pub(crate) const ATTEMPTS: &[Attempt] = attempts! {
    "Network": {
        "connect by TCP to this machine" =>
            |w, s| reach(w, libc::AF_INET, libc::SOCK_STREAM, libc::SYS_connect, &ip4(s.tcp.local_addr().unwrap().port())),
        "listen for TCP" => |w, _| {
            let socket = try_call!(socket(w, libc::AF_INET, libc::SOCK_STREAM, 0));
            let at = w.put(1024, &ip4(0));
            try_call!(w.call(libc::SYS_bind, &[socket, at, 16]));
            w.call(libc::SYS_listen, &[socket, 1])
        },
        "send by UDP" => |w, s| {
            let socket = try_call!(socket(w, libc::AF_INET, libc::SOCK_DGRAM, 0));
            let at = w.put(1024, &ip4(s.udp.local_addr().unwrap().port()));
            w.call(libc::SYS_sendto, &[socket, at, 4, 0, at, 16])
        },
        "connect by TCP over IPv6" => |w, s| {
            let port = s.tcp6.as_ref().map_or(1, |listener| listener.local_addr().unwrap().port());
            reach(w, libc::AF_INET6, libc::SOCK_STREAM, libc::SYS_connect, &ip6(port))
        },
        "a UDP socket of IPv6" => |w, _| socket(w, libc::AF_INET6, libc::SOCK_DGRAM, 0),
        "a raw socket" => |w, _| socket(w, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        "a ping socket" => |w, _| socket(w, libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        "connect to a service by its path (session bus, display)" => |w, s| {
            let path = s.ground.folder.path().join("session-bus");
            let mut name = path.to_string_lossy().into_owned().into_bytes();
            name.push(0);
            reach(w, libc::AF_UNIX, libc::SOCK_STREAM, libc::SYS_connect, &unix_address(&name))
        },
        "connect to a service by its abstract name" => |w, s| {
            let mut name = vec![0];
            name.extend(hidden(&s.ground));
            reach(w, libc::AF_UNIX, libc::SOCK_STREAM, libc::SYS_connect, &unix_address(&name))
        },
        "a pair of sockets" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_socketpair, &[libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0, at])
        },
        "a socket to the kernel's routes (netlink)" => |w, _| socket(w, libc::AF_NETLINK, libc::SOCK_RAW, 0),
        "a socket for whole packets" => |w, _| socket(w, libc::AF_PACKET, libc::SOCK_RAW, 0x300),
        "a socket to the machine around this one (vsock)" => |w, _| socket(w, libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        "a socket of Bluetooth" => |w, _| socket(w, libc::AF_BLUETOOTH, libc::SOCK_SEQPACKET, 0),
        "a socket of the kernel's ciphers" => |w, _| socket(w, libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        "a socket of TIPC" => |w, _| socket(w, libc::AF_TIPC, libc::SOCK_SEQPACKET, 0),
        "hand a descriptor over the pipe" => |w, _| {
            let header = w.put(0, &[0; 64]);
            w.call(libc::SYS_sendmsg, &[3, header, 0])
        },
        "send to an address over the pipe" => |w, _| {
            let at = w.put(0, &ip4(9));
            reached(w.call(libc::SYS_sendto, &[3, at, 0, 0, at, 16]), libc::EISCONN)
        },
    }
    "Files": {
        "read a key of the owner's" => |w, s| open(w, &secret(s), READ),
        "read /etc/passwd" => |w, _| open(w, "/etc/passwd", READ),
        "read it by ../.. from a folder of libraries" => |w, s| open(w, &format!("/usr/lib/../..{}", secret(s)), READ),
        "read it through /proc/self/root" => |w, s| open(w, &format!("/proc/self/root{}", secret(s)), READ),
        "read it through /proc/self/cwd" => |w, s| open(w, &format!("/proc/self/cwd{}", secret(s)), READ),
        "read it through the root of another process" =>
            |w, s| open(w, &format!("/proc/{}/root{}", s.victim(), secret(s)), READ),
        "read it through a link that lies there" =>
            |w, s| open(w, &s.ground.folder.path().join("link").to_string_lossy(), READ),
        "read it from a folder that was opened as a place only" => |w, s| {
            let folder = try_call!(open(w, "/usr/lib", libc::O_PATH as u64));
            let path = text(w, 0, &format!("../..{}", secret(s)));
            w.call(libc::SYS_openat, &[folder, path, READ, 0])
        },
        "read it by openat2" => |w, s| {
            let path = text(w, 0, &secret(s));
            let how = w.put(2048, &[0; 24]);
            w.call(libc::SYS_openat2, &[HERE, path, how, 24])
        },
        "read it by the old call open" => |w, s| on_path(w, libc::SYS_open, &secret(s), &[READ, 0]),
        "read it by a handle" => |w, s| {
            let path = text(w, 0, &secret(s));
            let handle = w.put(2048, &128_u32.to_ne_bytes());
            let id = w.put(4096, &[0; 8]);
            try_call!(w.call(libc::SYS_name_to_handle_at, &[HERE, path, handle, id, 0]));
            let root = try_call!(open(w, "/", READ));
            w.call(libc::SYS_open_by_handle_at, &[root, handle, READ])
        },
        "open the model's descriptor anew, to write" => |w, _| open(w, "/proc/self/fd/4", libc::O_RDWR as u64),
        "open the log's descriptor anew, to read" => |w, _| open(w, "/proc/self/fd/2", READ),
        "write into the program's own file" => |w, s| open(w, &s.ground.program.to_string_lossy(), WRITE),
        "write the model by its name" => |w, s| open(w, &s.ground.model.to_string_lossy(), WRITE),
        "write to the model's descriptor" => |w, _| {
            let at = w.put(0, b"x");
            w.call(libc::SYS_pwrite64, &[4, at, 1, 0])
        },
        "make a file at the owner's" => |w, s| open(w, &in_folder(s, "made"), CREATE),
        "make a file in /tmp" => |w, _| open(w, "/tmp/chrysalis-box-made", CREATE),
        "make a file without a name in /tmp" =>
            |w, _| open(w, "/tmp", (libc::O_TMPFILE | libc::O_RDWR) as u64),
        "make a file in /dev/shm" => |w, _| open(w, "/dev/shm/chrysalis-box-made", CREATE),
        "make a file by the old call creat" => |w, s| on_path(w, libc::SYS_creat, &in_folder(s, "old"), &[0o600]),
        "read the machine's memory" => |w, _| open(w, "/dev/mem", READ),
        "read a terminal" => |w, _| open(w, "/dev/tty", libc::O_RDWR as u64),
        "read what is typed" => |w, _| open(w, "/dev/input/event0", READ),
        "list the owner's folder" => |w, s| {
            let home = s.ground.folder.path().join("home");
            open(w, &home.to_string_lossy(), (libc::O_RDONLY | libc::O_DIRECTORY) as u64)
        },
        "make a folder" => |w, s| on_path(w, libc::SYS_mkdir, &in_folder(s, "folder"), &[0o700]),
        "make a node of a device" => |w, s| on_path(w, libc::SYS_mknod, &in_folder(s, "node"), &[0o20600, 0x101]),
        "make a link to a file" => |w, s| {
            let to = text(w, 2048, &in_folder(s, "hard"));
            on_path(w, libc::SYS_link, &secret(s), &[to])
        },
        "make a symbolic link" => |w, s| {
            let to = text(w, 2048, &in_folder(s, "soft"));
            on_path(w, libc::SYS_symlink, &secret(s), &[to])
        },
        "rename a file" => |w, s| {
            let to = text(w, 2048, &in_folder(s, "renamed"));
            on_path(w, libc::SYS_rename, &in_folder(s, "other"), &[to])
        },
        "remove a file" => |w, s| on_path(w, libc::SYS_unlink, &in_folder(s, "spare"), &[]),
        "cut a file short" => |w, s| on_path(w, libc::SYS_truncate, &secret(s), &[16]),
        "let everybody read a file" => |w, s| on_path(w, libc::SYS_chmod, &secret(s), &[0o600]),
        "give a file away" =>
            |w, s| on_path(w, libc::SYS_chown, &secret(s), &[u64::from(s.ground.user), u64::from(s.ground.user)]),
        "change a file's times" => |w, s| {
            let path = text(w, 0, &secret(s));
            w.call(libc::SYS_utimensat, &[HERE, path, 0, 0])
        },
        "read a file's attributes" => |w, s| on_path(w, libc::SYS_listxattr, &secret(s), &[0, 0]),
        "go to the owner's folder" =>
            |w, s| on_path(w, libc::SYS_chdir, &s.ground.folder.path().join("home").to_string_lossy(), &[]),
        "take another root" => |w, _| on_path(w, libc::SYS_chroot, "/usr", &[]),
        "watch a folder (inotify)" => |w, _| w.call(libc::SYS_inotify_init1, &[0]),
        "watch all files (fanotify)" => |w, _| w.call(libc::SYS_fanotify_init, &[0x200, 0]),
        "read a descriptor that the starter left open" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_read, &[7, at, 8])
        },
    }
    "Programs and processes": {
        "start a program" => |w, _| {
            w.trace_what_it_makes();
            on_path(w, libc::SYS_execve, "/bin/true", &[0, 0])
        },
        "start a program from memory" => |w, _| {
            w.trace_what_it_makes();
            let name = text(w, 0, "x");
            let memory = try_call!(w.call(libc::SYS_memfd_create, &[name, 0]));
            let program = w.put(1024, b"#!/bin/true\n");
            try_call!(w.call(libc::SYS_write, &[memory, program, 12]));
            let nothing = text(w, 0, "");
            w.call(libc::SYS_execveat, &[memory, nothing, 0, 0, libc::AT_EMPTY_PATH as u64])
        },
        "fork" => |w, _| {
            w.trace_what_it_makes();
            w.call(libc::SYS_fork, &[])
        },
        "vfork" => |w, _| {
            w.trace_what_it_makes();
            w.call(libc::SYS_vfork, &[])
        },
        "clone a process" => |w, _| {
            w.trace_what_it_makes();
            w.call(libc::SYS_clone, &[libc::SIGCHLD as u64, 0, 0, 0, 0])
        },
        "clone a process by clone3" => |w, _| {
            w.trace_what_it_makes();
            let mut arguments = [0; 64];
            arguments[32] = libc::SIGCHLD as u8;
            let at = w.put(0, &arguments);
            w.call(libc::SYS_clone3, &[at, 64])
        },
        "clone a thread into namespaces of its own" => |w, _| {
            w.trace_what_it_makes();
            w.call(libc::SYS_clone, &[(libc::CLONE_NEWUSER | libc::SIGCHLD) as u64, 0, 0, 0, 0])
        },
        "make a thread in a namespace of its own" => |w, _| {
            w.trace_what_it_makes();
            let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_NEWUSER;
            reached(w.call(libc::SYS_clone, &[thread as u64, 0, 0, 0, 0]), libc::EINVAL)
        },
        "trace another process" => |w, s| w.call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as u64, s.victim(), 0, 0]),
        "read another process's memory" => |w, s| {
            let here = w.put(0, &[0; 16]);
            w.call(libc::SYS_process_vm_readv, &[s.victim(), here, 0, here, 0, 0])
        },
        "write another process's memory" => |w, s| {
            let here = w.put(0, &[0; 16]);
            w.call(libc::SYS_process_vm_writev, &[s.victim(), here, 0, here, 0, 0])
        },
        "see another process's environment" => |w, s| open(w, &format!("/proc/{}/environ", s.victim()), READ),
        "open another process's memory" =>
            |w, s| open(w, &format!("/proc/{}/mem", s.victim()), libc::O_RDWR as u64),
        "list all processes" => |w, _| open(w, "/proc", (libc::O_RDONLY | libc::O_DIRECTORY) as u64),
        "signal another process" => |w, s| w.call(libc::SYS_kill, &[s.victim(), 0]),
        "signal all processes" => |w, _| w.call(libc::SYS_kill, &[(-1_i64).cast_unsigned(), 0]),
        "signal another's thread" => |w, s| w.call(libc::SYS_tgkill, &[s.victim(), s.victim(), 0]),
        "signal another's thread by the old call" => |w, s| w.call(libc::SYS_tkill, &[s.victim(), 0]),
        "signal another with a value" => |w, s| {
            let mut about = [0; 128];
            about[8] = 0xff;
            about[9..12].copy_from_slice(&[0xff; 3]);
            let at = w.put(0, &about);
            w.call(libc::SYS_rt_sigqueueinfo, &[s.victim(), 0, at])
        },
        "have the kernel signal another (F_SETOWN)" =>
            |w, s| w.call(libc::SYS_fcntl, &[3, libc::F_SETOWN as u64, s.victim()]),
        "hold another process (pidfd)" => |w, s| w.call(libc::SYS_pidfd_open, &[s.victim(), 0]),
        "ask for another's limits" => |w, s| {
            let old = w.put(64, &[0; 16]);
            w.call(libc::SYS_prlimit64, &[s.victim(), libc::RLIMIT_NOFILE as u64, 0, old])
        },
        "slow another down" => |w, s| w.call(libc::SYS_setpriority, &[0, s.victim(), 19]),
        "bind another to a processor" => |w, s| {
            let at = w.put(0, &[0xff; 8]);
            w.call(libc::SYS_sched_setaffinity, &[s.victim(), 8, at])
        },
        "ask on which processors another runs" => |w, s| {
            let at = w.put(0, &[0; 128]);
            w.call(libc::SYS_sched_getaffinity, &[s.victim(), 128, at])
        },
        "compare descriptors with another" => |w, s| {
            let (own, other) = (u64::from(w.pid.as_raw().cast_unsigned()), s.victim());
            w.call(libc::SYS_kcmp, &[own, other, 1, 0, 0])
        },
    }
    "Shared memory and messages": {
        "shared memory of System V" => |w, _| w.call(libc::SYS_shmget, &[0, 4096, 0o1600]),
        "semaphores of System V" => |w, _| w.call(libc::SYS_semget, &[0, 1, 0o1600]),
        "messages of System V" => |w, _| w.call(libc::SYS_msgget, &[0, 0o1600]),
        "a queue of messages" => |w, _| {
            let name = text(w, 0, "chrysalis-box");
            w.call(libc::SYS_mq_open, &[name, (libc::O_CREAT | libc::O_RDWR) as u64, 0o600, 0])
        },
        "look at the keys of the session" => |w, _| w.call(libc::SYS_keyctl, &[0, (-3_i64).cast_unsigned(), 0]),
        "keep a key" => |w, _| {
            let (kind, name) = (text(w, 0, "user"), text(w, 64, "x"));
            w.call(libc::SYS_add_key, &[kind, name, name, 1, (-2_i64).cast_unsigned()])
        },
        "ask for a key" => |w, _| {
            let (kind, name) = (text(w, 0, "keyring"), text(w, 64, "_uid.0"));
            reached(w.call(libc::SYS_request_key, &[kind, name, 0, 0]), libc::ENOKEY)
        },
    }
    "Corners of the kernel": {
        "io_uring" => |w, _| {
            let at = w.put(0, &[0; 120]);
            w.call(libc::SYS_io_uring_setup, &[4, at])
        },
        "userfaultfd" => |w, _| w.call(libc::SYS_userfaultfd, &[1]),
        "performance counters" => |w, _| {
            let mut about = [0; 128];
            about[4] = 128;
            about[40] = 0x60;
            about[0] = 1;
            let at = w.put(0, &about);
            w.call(libc::SYS_perf_event_open, &[at, 0, u64::MAX, u64::MAX, 0])
        },
        "programs for the kernel (bpf)" => |w, _| {
            let at = w.put(0, &[0; 128]);
            w.call(libc::SYS_bpf, &[0, at, 128])
        },
        "mount a file system" => |w, _| {
            let (what, place) = (text(w, 0, "tmpfs"), text(w, 64, "/usr"));
            w.call(libc::SYS_mount, &[what, place, what, 0, 0])
        },
        "unmount one" => |w, _| on_path(w, libc::SYS_umount2, "/proc", &[2]),
        "open a tree to mount it" => |w, _| {
            let path = text(w, 0, "/");
            w.call(libc::SYS_open_tree, &[HERE, path, 1])
        },
        "begin a file system" => |w, _| on_path(w, libc::SYS_fsopen, "tmpfs", &[0]),
        "namespaces of its own" => |w, _| w.call(libc::SYS_unshare, &[libc::CLONE_NEWUSER as u64]),
        "a network of its own" => |w, _| w.call(libc::SYS_unshare, &[libc::CLONE_NEWNET as u64]),
        "enter another's namespace" => |w, s| {
            let space = try_call!(open(w, &format!("/proc/{}/ns/net", s.victim()), READ));
            w.call(libc::SYS_setns, &[space, 0])
        },
        "enter a namespace by a descriptor it has" => |w, _| w.call(libc::SYS_setns, &[4, 0]),
        "type into the terminal (TIOCSTI)" => |w, _| {
            // Where a terminal would be.
            let at = w.put(0, b"x");
            reached(w.call(libc::SYS_ioctl, &[0, libc::TIOCSTI, at]), libc::ENOTTY)
        },
        "be told about a descriptor's size by ioctl" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_ioctl, &[3, 0x541b, at])
        },
        "give a card an order (ioctl)" => |w, _| {
            // DRM's question for its version, of the pipe, which is no card.
            let at = w.put(0, &[0; 64]);
            reached(w.call(libc::SYS_ioctl, &[3, 0xc040_6400, at]), libc::ENOTTY)
        },
        "turn off randomness of addresses" => |w, _| w.call(libc::SYS_personality, &[0x0004_0000]),
        "let itself be looked into" => |w, _| w.call(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0]),
        "outlive the app" => |w, _| w.call(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG as u64, 0, 0, 0, 0]),
        "let another trace it" => |w, s| {
            // Where nobody asks who may, the kernel knows no such order.
            reached(w.call(libc::SYS_prctl, &[libc::PR_SET_PTRACER as u64, s.victim(), 0, 0, 0]), libc::EINVAL)
        },
        "raise its limits" => |w, _| {
            let at = w.put(0, &4096_u64.to_ne_bytes());
            w.put(8, &4096_u64.to_ne_bytes());
            w.call(libc::SYS_prlimit64, &[0, libc::RLIMIT_NOFILE as u64, at, 0])
        },
        "be another user" => |w, _| w.call(libc::SYS_setuid, &[0]),
        "have capabilities" => |w, _| {
            let header = w.put(0, &0x2008_0522_u64.to_ne_bytes());
            let sets = w.put(64, &[0; 24]);
            w.call(libc::SYS_capset, &[header, sets])
        },
        "listen to its own filter" => |w, _| {
            // One instruction that allows everything.
            let program = w.put(64, &[6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
            let filter = w.put(0, &1_u64.to_ne_bytes());
            w.put(8, &program.to_ne_bytes());
            // Who has given up privileges before needs none for a filter.
            w.call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0]);
            w.call(libc::SYS_seccomp, &[1, 8, filter])
        },
        "take another filter for all threads" => |w, _| {
            // One that lies nowhere, so that none is taken.
            let (mode, threads) = (u64::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_TSYNC);
            reached(w.call(libc::SYS_seccomp, &[mode, threads, 0]), libc::EFAULT)
        },
        "give up privileges once more" =>
            |w, _| w.call(libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0]),
        "read the kernel's log" => |w, _| w.call(libc::SYS_syslog, &[10, 0, 0]),
        "load a module" => |w, _| {
            let nothing = text(w, 0, "");
            w.call(libc::SYS_init_module, &[nothing, 0, nothing])
        },
        "another kernel (kexec)" => |w, _| w.call(libc::SYS_kexec_load, &[0, 0, 0, 0]),
        "set the clock" => |w, _| {
            let at = w.put(0, &[0; 16]);
            w.call(libc::SYS_clock_settime, &[0, at])
        },
        "another name for the machine" => |w, _| on_path(w, libc::SYS_sethostname, "x", &[1]),
        "ports of the machine" => |w, _| w.call(libc::SYS_iopl, &[3]),
        "segments of its own" => |w, _| {
            let at = w.put(0, &[0; 16]);
            w.call(libc::SYS_modify_ldt, &[0, at, 16])
        },
        "memory that not even the kernel sees" => |w, _| w.call(libc::SYS_memfd_secret, &[0]),
        "move pages between descriptors" => |w, _| {
            let at = w.put(0, &[0; 16]);
            w.call(libc::SYS_vmsplice, &[2, at, 0, 0])
        },
        "make a pipe" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_pipe2, &[at, 0])
        },
        "turn off the machine" => |w, _| w.call(libc::SYS_reboot, &[0, 0, 0, 0]),
        "a call of 32-bit programs (x32)" => |w, _| w.call(0x4000_0000 | 0x27, &[]),
        "a call by int 0x80" => |w, _| {
            // In memory that is run as code, if it can have any.
            let code = try_call!(w.call(libc::SYS_mmap, &[0, 4096, EVERYTHING, PRIVATE, u64::MAX, 0]));
            w.poke(code, &[0xcd, 0x80, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90]);
            w.call_at(code, 20, &[])
        },
    }
    "Memory": {
        "memory that is written and run as code" =>
            |w, _| w.call(libc::SYS_mmap, &[0, 4096, EVERYTHING, PRIVATE, u64::MAX, 0]),
        "memory that was written, made code" => |w, _| {
            let at = try_call!(memory(w, 4096));
            w.call(libc::SYS_mprotect, &[at, 4096, READ_AND_CODE])
        },
        "shared memory without a name, which no limit of a process counts" => |w, _| {
            let shared = (libc::MAP_SHARED | libc::MAP_ANONYMOUS) as u64;
            w.call(libc::SYS_mmap, &[0, 1 << 20, READ_WRITE, shared, u64::MAX, 0])
        },
        "memory that is counted as a stack" => |w, _| {
            let stack = PRIVATE | libc::MAP_GROWSDOWN as u64;
            w.call(libc::SYS_mmap, &[0, 1 << 20, READ_WRITE, stack, u64::MAX, 0])
        },
        "a file without a name" => |w, _| {
            let name = text(w, 0, "memory");
            let file = try_call!(w.call(libc::SYS_memfd_create, &[name, 0]));
            w.call(libc::SYS_ftruncate, &[file, 1 << 20])
        },
        "a file without a name that is longer than all memory" => |w, _| {
            let name = text(w, 0, "memory");
            let file = try_call!(w.call(libc::SYS_memfd_create, &[name, 0]));
            w.call(libc::SYS_ftruncate, &[file, 1 << 60])
        },
        // Of the pipe, which has none.
        "give a descriptor another length" => |w, _| reached(w.call(libc::SYS_ftruncate, &[3, 0]), libc::EINVAL),
        "keep memory out of the system's swap" => |w, _| {
            let at = try_call!(memory(w, 16 << 20));
            w.call(libc::SYS_mlock, &[at, 16 << 20])
        },
        "poison memory (MADV_HWPOISON)" => |w, _| {
            // Not at the beginning of a page, so that nothing comes of it.
            let at = w.put(8, &[0; 8]);
            reached(w.call(libc::SYS_madvise, &[at, 4096, libc::MADV_HWPOISON as u64]), libc::EINVAL)
        },
        "all memory there is" => |w, _| {
            // In pieces, until it is refused one; more than any machine has.
            let unreserved = PRIVATE | libc::MAP_NORESERVE as u64;
            let mut last = Outcome::Returned(0);
            for _ in 0..4096 {
                last = w.call(libc::SYS_mmap, &[0, 1 << 32, READ_WRITE, unreserved, u64::MAX, 0]);
                if last.value().is_none() {
                    break;
                }
            }
            last
        },
        "all descriptors there are" => |w, _| {
            let mut last = Outcome::Returned(0);
            for _ in 0..1024 {
                last = w.call(libc::SYS_fcntl, &[3, libc::F_DUPFD as u64, 0]);
                if last.value().is_none() {
                    break;
                }
            }
            last
        },
    }
};

/// What is let pass at these moments because of these: it must be, and nothing else may be.
pub(crate) const LET_PASS: &[(&str, &[Moment], &str)] = &[
    ("give a card an order (ioctl)", CARDS, "drivers"),
    ("take another filter for all threads", OPENING, "the box, once everything is open"),
    ("give up privileges once more", OPENING, "the same"),
    ("memory that is written and run as code", CARDS, "compilers in drivers"),
    ("memory that was written, made code", CARDS, "the same"),
    ("shared memory without a name, which no limit of a process counts", OPENING, "CUDA's driver"),
    ("a file without a name", OPENING, "Mesa's drivers"),
    ("give a descriptor another length", CARDS, "the same"),
];

/// What an ordinary program may not do either, or only here and there, and why. Everything else gets in where there is no box.
pub(crate) const NOT_OUTSIDE: &[(&str, &str)] = &[
    ("a raw socket", "for root alone"),
    ("a ping socket", "for groups that the machine names"),
    ("a socket for whole packets", "for root alone"),
    ("a socket to the machine around this one (vsock)", "this kernel has none, or loads it for root alone"),
    ("connect by TCP over IPv6", "where the machine has it"),
    ("a UDP socket of IPv6", "where the machine has it"),
    ("a socket of Bluetooth", "this kernel has none, or loads it for root alone"),
    ("a socket of the kernel's ciphers", "this kernel has none, or loads it for root alone"),
    ("a socket of TIPC", "this kernel has none, or loads it for root alone"),
    ("read it by a handle", "for root alone"),
    ("write to the model's descriptor", "it was opened for reading"),
    ("read the machine's memory", "for root alone"),
    ("read a terminal", "where there is one"),
    ("read what is typed", "for root alone"),
    ("make a node of a device", "for root alone"),
    ("take another root", "for root alone"),
    ("watch all files (fanotify)", "where the kernel lets users"),
    ("io_uring", "where the machine has not switched it off"),
    ("userfaultfd", "where the kernel lets users"),
    ("performance counters", "where the machine lets users"),
    ("namespaces of its own", "where the machine lets users"),
    ("clone a thread into namespaces of its own", "the same"),
    ("programs for the kernel (bpf)", "for root alone"),
    ("mount a file system", "for root alone"),
    ("unmount one", "for root alone"),
    ("open a tree to mount it", "for root alone"),
    ("begin a file system", "for root alone"),
    ("a network of its own", "for root alone"),
    ("enter another's namespace", "for root alone"),
    ("enter a namespace by a descriptor it has", "it is of the model"),
    ("be another user", "for root alone"),
    ("read the kernel's log", "where the machine lets users"),
    ("load a module", "for root alone"),
    ("another kernel (kexec)", "for root alone"),
    ("set the clock", "for root alone"),
    ("another name for the machine", "for root alone"),
    ("ports of the machine", "for root alone"),
    ("turn off the machine", "for root alone"),
    ("a call of 32-bit programs (x32)", "hardly any kernel has these"),
    ("a call by int 0x80", "where the kernel runs programs of 32 bits"),
    ("memory that not even the kernel sees", "where the kernel has it"),
    ("trace another process", "where the machine lets users"),
    ("read another process's memory", "the same"),
    ("write another process's memory", "the same"),
    ("open another process's memory", "the same"),
    ("compare descriptors with another", "the same"),
    ("keep memory out of the system's swap", "as far as the machine's own limit goes"),
];

/// What must go on working: for each rule with a condition, a call that meets it.
pub(crate) const ALLOWED: &[Attempt] = attempts! {
    "mmap": {
        "memory to read and write" => |w, _| memory(w, 4096),
    }
    "mprotect": {
        "memory that is not written any more" => |w, _| {
            let at = try_call!(memory(w, 4096));
            w.call(libc::SYS_mprotect, &[at, 4096, 1])
        },
    }
    "madvise": {
        "giving memory back" => |w, _| {
            let at = try_call!(memory(w, 4096));
            w.call(libc::SYS_madvise, &[at, 4096, libc::MADV_DONTNEED as u64])
        },
    }
    "sendto": {
        "speaking into the pipe" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_sendto, &[3, at, 0, libc::MSG_NOSIGNAL as u64, 0, 0])
        },
    }
    "fcntl": {
        "asking for a descriptor's mark" => |w, _| w.call(libc::SYS_fcntl, &[3, libc::F_GETFD as u64]),
    }
    "tgkill": {
        "a signal to itself" => |w, _| {
            let own = u64::from(w.pid.as_raw().cast_unsigned());
            w.call(libc::SYS_tgkill, &[own, own, 0])
        },
    }
    "prctl": {
        "naming its thread" => |w, _| {
            let name = text(w, 0, "mine");
            w.call(libc::SYS_prctl, &[libc::PR_SET_NAME as u64, name, 0, 0, 0])
        },
    }
    "sched_getaffinity": {
        "asking where it may run" => |w, _| {
            let at = w.put(0, &[0; 128]);
            let own = u64::from(w.pid.as_raw().cast_unsigned());
            try_call!(w.call(libc::SYS_sched_getaffinity, &[0, 128, at]));
            w.call(libc::SYS_sched_getaffinity, &[own, 128, at])
        },
    }
    "prlimit64": {
        "asking how large its stack is" => |w, _| {
            let at = w.put(0, &[0; 16]);
            w.call(libc::SYS_prlimit64, &[0, libc::RLIMIT_STACK as u64, 0, at])
        },
    }
    "read": {
        "reading the model's descriptor, while it is open" => |w, _| {
            let at = w.put(0, &[0; 8]);
            match w.call(libc::SYS_read, &[4, at, 8]) {
                // It is closed once the model is read; what counts is that the call was made.
                Outcome::Returned(error) if error == -i64::from(libc::EBADF) => Outcome::Returned(0),
                other => other,
            }
        },
    }
    "getrandom": {
        "random numbers" => |w, _| {
            let at = w.put(0, &[0; 8]);
            w.call(libc::SYS_getrandom, &[at, 8, 0])
        },
    }
    "clone": {
        "another thread" => |w, _| {
            w.trace_what_it_makes();
            let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
            let stack = w.put(32 * 1024, &[0; 8]);
            match w.call(libc::SYS_clone, &[flags as u64, stack, 0, 0, 0]) {
                Outcome::Split => Outcome::Returned(1),
                other => other,
            }
        },
    }
};
