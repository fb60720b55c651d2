//! What the tests put into the box. Without words it does nothing, since `cargo test` starts it like a test; with one it enters the
//! box and does what the word says, telling it through the pipe or on standard error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a program of tests")]
#![cfg_attr(target_os = "linux", allow(unsafe_code, reason = "one system call is made by its number"))]

use std::io::{Read as _, Write as _};

/// Whether a number is the handle of an open file here.
#[cfg(windows)]
#[expect(unsafe_code, reason = "asks for a handle by its number")]
fn leads_to_a_file(number: usize) -> bool {
    use std::os::windows::io::{BorrowedHandle, RawHandle};
    // SAFETY: whatever the number means, it is only asked about.
    let handle = unsafe { BorrowedHandle::borrow_raw(number as RawHandle) };
    handle
        .try_clone_to_owned()
        .is_ok_and(|handle| std::fs::File::from(handle).metadata().is_ok_and(|facts| facts.is_file()))
}

fn main() {
    let Some(word) = std::env::args().nth(1).filter(|word| !word.starts_with('-')) else {
        return;
    };
    // Not in a box: a program that holds a key.
    #[cfg(target_os = "linux")]
    if word == "private" {
        use rustix::process::{Resource, dumpable_behavior, getrlimit};
        let before = dumpable_behavior().unwrap();
        sandbox::keep_memory_private().unwrap();
        let limit = getrlimit(Resource::Core);
        eprintln!("{before:?} {:?} {:?} {:?}", dumpable_behavior().unwrap(), limit.current, limit.maximum);
        return;
    }
    #[cfg(windows)]
    match word.as_str() {
        // In walls, or in none: tries what they should stop.
        sandbox::PROBE => {
            let words: Vec<_> = std::env::args_os().skip(2).collect();
            let card = sandbox::mode::Card { api: "Vulkan".to_owned(), name: "a card of the tests".to_owned() };
            sandbox::look_around(&words, || vec![card]).unwrap();
            return;
        }
        // In no box: starts a boxed sleeper, tells its number and is then killed by the test.
        "app" => {
            let program = sandbox::Program::open(&std::env::current_exe().unwrap()).unwrap();
            let model = std::fs::File::open(program.path()).unwrap();
            let spawn = sandbox::Spawn { program, args: vec!["sleep".into()], model };
            let (child, _channel) = spawn.start().unwrap();
            std::io::stdout().write_all(format!("{}\n", child.pid()).as_bytes()).unwrap();
            child.wait();
            return;
        }
        _ => {}
    }
    // In a box that is closed for good: one system call, by its number.
    #[cfg(target_os = "linux")]
    if word == "call" {
        let number: i64 = std::env::args().nth(2).unwrap().parse().unwrap();
        let mut walls = sandbox::confine(None).unwrap();
        sandbox::seal(&mut walls, sandbox::Serving::Card).unwrap();
        // SAFETY: zeros are no addresses.
        unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
        std::process::exit(0);
    }
    // In one that is closed for good, or has the first step behind it only.
    #[cfg(target_os = "linux")]
    if ["closed", "half-closed"].contains(&word.as_str()) {
        let mut walls = sandbox::confine(Some(1 << 30)).unwrap();
        if word == "closed" {
            sandbox::seal(&mut walls, sandbox::Serving::Processor).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_mins(1));
        return;
    }
    let (mut channel, mut model) = match sandbox::inherited() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(9);
        }
    };
    match word.as_str() {
        "look" => {
            let mut text = String::new();
            model.read_to_string(&mut text).unwrap();
            let listed: Vec<String> = std::fs::read_dir("/proc/self/fd")
                .map(|all| all.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
            let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap_or_default().to_owned();
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let privileges = status.lines().find(|line| line.starts_with("NoNewPrivs")).unwrap_or_default().to_owned();
            let report = format!(
                "model={text}\nenvironment={}\ndescriptors={}\n{core}\n{privileges}\nwritable={}\nagain={}\n",
                std::env::vars_os().count(),
                listed.join(","),
                model.write_all(b"x").is_ok(),
                sandbox::inherited().is_ok(),
            );
            channel.writer.write_all(report.as_bytes()).unwrap();
        }
        "echo" => {
            let mut buffer = [0; 100];
            loop {
                match channel.reader.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(length) => channel.writer.write_all(&buffer[..length]).unwrap(),
                }
            }
        }
        #[cfg(windows)]
        "handles" => {
            let handle = std::env::args().nth(2).unwrap().parse::<usize>().unwrap();
            let mut text = String::new();
            model.read_to_string(&mut text).unwrap();
            let mut names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
            names.sort();
            let report = format!(
                "model={}\nwritable={}\nleaked={}\nagain={}\nenvironment={}\n",
                text.contains("name = \"sandbox\""),
                model.write_all(b"x").is_ok(),
                leads_to_a_file(handle),
                sandbox::inherited().is_ok(),
                names.join(","),
            );
            channel.writer.write_all(report.as_bytes()).unwrap();
        }
        "shout" => {
            for _ in 0..100_000 {
                eprintln!("a line that nobody reads in time");
            }
            eprintln!("last words");
            std::process::exit(3);
        }
        // Starts a boxed sleeper, tells its number and is then killed by the test.
        "parent" => {
            // By this name: a process's own is that of a copy which nobody finds in a folder.
            let program = sandbox::Program::open(std::path::Path::new("/proc/self/exe")).unwrap();
            let spawn = sandbox::Spawn { program, args: vec!["sleep".into()], model };
            let (child, _channel) = spawn.start().unwrap();
            channel.writer.write_all(format!("{}\n", child.pid()).as_bytes()).unwrap();
            child.wait();
        }
        "sleep" => loop {
            std::thread::sleep(std::time::Duration::from_mins(1));
        },
        _ => std::process::exit(2),
    }
}
