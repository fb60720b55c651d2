use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox::{Channel, Child, Program, Spawn, StartError};

/// Cargo puts the probe, a test without harness, beside this program.
fn probe_file() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let newest = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none())
        .filter(|path| path.file_name().unwrap().to_str().is_some_and(|name| name.starts_with("probe-")))
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.expect("the probe is built with the tests")
}

fn probe() -> Program {
    Program::open(&probe_file()).unwrap()
}

fn model() -> File {
    File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap()
}

fn start(word: &str) -> (Child, Channel) {
    Spawn { program: probe(), args: vec![word.into()], model: model() }.start().unwrap()
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_boxed_process_has_the_pipe_and_the_model_and_nothing_else() {
    // Something that must not be inherited, without the mark that std sets.
    let leak = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let (child, mut channel) = start("look");
    let mut report = String::new();
    channel.reader.read_to_string(&mut report).unwrap();
    assert_eq!(child.wait().code, Some(0), "{}", child.log());
    assert!(report.contains("name = \"sandbox\""), "the model is there: {report}");
    assert!(report.contains("environment=0\n"), "{report}");
    // 5 is the listing of the folder itself, or the second handle of the pipe with the listing after it.
    let descriptors = report.lines().find_map(|line| line.strip_prefix("descriptors=")).unwrap();
    let mut numbers: Vec<u32> = descriptors.split(',').map(|number| number.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6], "the pipe twice and the folder being listed: {report}");
    let core = report.lines().find(|line| line.starts_with("Max core")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"]);
    assert!(report.contains("NoNewPrivs:\t1"), "{report}");
    assert!(report.contains("writable=false"), "{report}");
    assert!(report.contains("again=false"), "what was taken is not taken twice: {report}");
}

#[test]
fn a_program_that_holds_a_key_leaves_no_core_dump_and_is_not_looked_into() {
    let said = std::process::Command::new(probe_file()).arg("private").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr).trim(), "Dumpable NotDumpable Some(0) Some(0)");
}

#[test]
fn what_is_said_into_the_pipe_comes_out_at_the_other_end() {
    let (child, mut channel) = start("echo");
    channel.writer.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    channel.reader.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    assert_eq!(child.ended(), None);
    drop(channel);
    assert_eq!(child.wait().code, Some(0), "it ends when the pipe does");
}

/// Whatever was started in a worker's place may have started something itself, which holds the pipe as long as it lives.
#[test]
fn what_a_process_has_started_ends_with_it() {
    let shell = Program::open(std::path::Path::new("/bin/sh")).unwrap();
    let words = ["-c", "sleep 987 & echo $! >&3; wait"].map(Into::into);
    let (child, mut channel) = Spawn { program: shell, args: words.into(), model: model() }.start().unwrap();
    let mut said = [0; 32];
    let length = channel.reader.read(&mut said).unwrap();
    let sleeper: u32 = std::str::from_utf8(&said[..length]).unwrap().trim().parse().unwrap();
    assert!(exists(sleeper));
    child.kill();
    assert_eq!(child.wait().signal, Some(9));
    // Nobody holds the other end any more.
    channel.reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(channel.reader.read(&mut said).unwrap(), 0);
    // Who its parent is now may take its time to look after it.
    let state = || std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
    wait_until("it ends too", || state().is_empty() || state().contains(") Z"));
}

#[test]
fn a_killed_process_is_gone_and_its_number_free() {
    let (child, _channel) = start("sleep");
    wait_until("its memory is known", || child.memory().is_some_and(|bytes| bytes > 0));
    child.kill();
    assert_eq!(child.wait().signal, Some(9));
    assert!(!exists(child.pid()), "nothing of it is left");
    assert_eq!(child.memory(), None);
    child.kill();
}

#[test]
fn a_child_that_writes_a_lot_neither_blocks_nor_fills_memory() {
    let (child, _channel) = start("shout");
    assert_eq!(child.wait().code, Some(3));
    wait_until("its last words are kept", || child.log().ends_with("last words\n"));
    assert!(child.log().len() <= 16 * 1024);
}

#[test]
fn a_boxed_process_dies_with_its_parent() {
    let (parent, channel) = start("parent");
    let mut line = String::new();
    BufReader::new(channel.reader).read_line(&mut line).unwrap();
    let grandchild: u32 = line.trim().parse().unwrap();
    assert!(exists(grandchild));
    parent.kill();
    parent.wait();
    // It was adopted by somebody who may be slow to wait for it; what is asked is that it runs no more.
    wait_until("the sleeper is dead", || {
        let status = std::fs::read_to_string(format!("/proc/{grandchild}/status")).unwrap_or_default();
        status.is_empty() || status.contains("State:\tZ")
    });
}

#[test]
fn it_lives_on_when_the_thread_that_asked_for_it_ends() {
    let (child, channel) = std::thread::spawn(|| start("echo")).join().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(child.ended(), None);
    drop(channel);
    assert_eq!(child.wait().code, Some(0));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let Err(error) = Program::open(Path::new("/no/such/program")) else { panic!("opened") };
    assert!(matches!(error, StartError::Program { .. }));
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

#[test]
fn what_runs_is_what_was_measured_whatever_becomes_of_the_file() {
    let folder = std::env::temp_dir().join(format!("sandbox-exchanged-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("chrysalis-probe-worker");
    std::fs::copy(probe_file(), &path).unwrap();
    let program = Program::open(&path).unwrap();
    let measured = program.measured();
    assert_eq!(measured.bytes, path.metadata().unwrap().len());
    let echo = || Spawn { program: program.clone(), args: vec!["echo".into()], model: model() }.start().unwrap();
    let works = |(child, mut channel): (Child, Channel)| {
        channel.writer.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        channel.reader.read_exact(&mut heard).unwrap();
        drop(channel);
        assert_eq!(child.wait().code, Some(0), "{}", child.log());
    };
    // Between measuring and starting: written over in place, then another file of that name, then none.
    std::fs::write(&path, std::fs::read("/bin/true").unwrap()).unwrap();
    works(echo());
    std::fs::remove_file(&path).unwrap();
    std::fs::copy("/bin/true", &path).unwrap();
    works(echo());
    // While it runs.
    let running = echo();
    std::fs::write(&path, "neither").unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", running.0.pid())).unwrap();
    assert!(line.starts_with(path.as_os_str().as_encoded_bytes()), "it is known by its name");
    let image = format!("/proc/{}/exe", running.0.pid());
    assert!(std::fs::metadata(&image).is_ok_and(|facts| facts.len() == measured.bytes), "that is what runs");
    assert!(File::options().write(true).open(&image).and_then(|mut file| file.write_all(b"x")).is_err());
    works(running);
    std::fs::remove_file(&path).unwrap();
    works(echo());
    assert_eq!(program.measured(), measured);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_boxed_process_is_called_by_its_name_and_not_by_the_descriptor_it_was_started_from() {
    let (closed, _channel) = start("closed");
    let name = || std::fs::read_to_string(format!("/proc/{}/comm", closed.pid())).unwrap_or_default();
    wait_until("it has its name", || name().starts_with("probe-"));
    closed.kill();
    closed.wait();
}

#[test]
fn a_model_that_could_be_written_is_not_taken() {
    let folder = std::env::temp_dir().join(format!("sandbox-{}", std::process::id()));
    let model = File::options().read(true).write(true).create(true).truncate(true).open(&folder).unwrap();
    let (child, _channel) = Spawn { program: probe(), args: vec!["look".into()], model }.start().unwrap();
    assert_eq!(child.wait().code, Some(9));
    wait_until("it says why", || child.log().contains("descriptor 4"));
    std::fs::remove_file(folder).unwrap();
}

#[test]
fn a_call_that_has_no_line_in_the_list_kills() {
    // Two that the kernel lets through every filter (`uretprobe`, `uprobe`): they do nothing but where it has put them itself.
    let kernels_own = [335, 336];
    for number in kernels_own {
        let spawn = Spawn { program: probe(), args: vec!["call".into(), number.to_string().into()], model: model() };
        let (child, _channel) = spawn.start().unwrap();
        let exit = child.wait();
        // An illegal instruction, or an error that nobody looks at, or a kernel that does not know it and so kills.
        assert!([Some(4), Some(31), None].contains(&exit.signal), "{number}: {exit}: {}", child.log());
    }
    let listed: Vec<i64> = sandbox::listed_calls().iter().map(|call| call.number).collect();
    assert!(listed.len() > 60);
    // All numbers that there are, and some that there are not yet.
    let step = if std::env::var_os("CHRYSALIS_MUTANTS").is_some() { 1 } else { 11 };
    let unlisted = (0..640)
        .chain([0x4000_0000, 0x4000_0001, i64::from(i32::MAX)])
        .filter(|number| !listed.contains(number) && !kernels_own.contains(number));
    let program = probe();
    for number in unlisted.step_by(step) {
        let spawn =
            Spawn { program: program.clone(), args: vec!["call".into(), number.to_string().into()], model: model() };
        let (child, _channel) = spawn.start().unwrap();
        let exit = child.wait();
        assert_eq!(exit.signal, Some(31), "{number}: {exit}: {}", child.log());
    }
}

#[test]
fn the_kernel_says_the_same_of_a_box_as_whoever_is_in_it() {
    let (open, _channel) = start("sleep");
    wait_until("it runs", || sandbox::BoxState::of(open.pid()).is_some());
    let state = sandbox::BoxState::of(open.pid()).unwrap();
    assert_eq!(state.is_closed(), Some(false), "nobody closed it: {state:?}");
    // Where this may be had at all, so that what is less is the box's doing.
    let all = rustix::process::Rlimit { current: None, maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, all);
    let (closed, _channel) = start("closed");
    wait_until("it is closed", || sandbox::BoxState::of(closed.pid()).is_some_and(|state| state.filters == Some(6)));
    let state = sandbox::BoxState::of(closed.pid()).unwrap();
    assert_eq!((state.is_closed(), state.is_sealed()), (Some(true), Some(true)), "{state:?}");
    assert_eq!(state.memory, Some(1 << 30), "{state:?}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", closed.pid())).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).map(|number| number.parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(limit("Max file size"), [1 << 30, 1 << 30], "a file without a name is memory, too");
    assert!(limit("Max locked memory").iter().all(|bytes| *bytes <= 8 << 20), "{limits}");
    closed.kill();
    closed.wait();
    assert_eq!(sandbox::BoxState::of(closed.pid()), None);
}

#[test]
fn the_kernel_tells_a_box_that_was_closed_half_from_one_that_is_closed_for_good() {
    let (half, _channel) = start("half-closed");
    wait_until("it has closed", || sandbox::BoxState::of(half.pid()).is_some_and(|state| state.filters == Some(3)));
    let state = sandbox::BoxState::of(half.pid()).unwrap();
    assert_eq!((state.is_closed(), state.is_sealed()), (Some(true), Some(false)), "{state:?}");
    half.kill();
    half.wait();
}
