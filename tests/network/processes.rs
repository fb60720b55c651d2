//! Who runs where, and what the app's process never holds.

use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;
use system_tests::program::{children_of, descriptors_of, is_alive, name_of, send, unless_hidden};
use system_tests::{PATIENCE, SetAtTheEnd, Stage, headless_words, http, memory, program, served_as, tiny_model, until};

/// The kernel cuts names after 15 characters.
const NETWORK: &str = "chrysalis-netwo";
const WORKER: &str = "chrysalis-worke";

#[test]
fn practice_is_three_processes_and_only_the_worker_runs_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["practice", "--backend", "cpu", "--data", folder.path().to_str().unwrap(), "--model"];
    let model = tiny_model();
    let app = program::Running::start("chrysalis", &[&words[..], &[model.to_str().unwrap()]].concat());
    // Once a question was answered, everything that has to run runs, and under its own name: a child that was only just forked
    // still has the name of the thread that forked it.
    until("a first answer in the ledger", || {
        let path = program::find_file(folder.path(), "ledger.sqlite")?;
        let totals = ledger::Ledger::open(&path, 0).ok()?.all_time_totals().ok()?;
        (totals.answered > 0).then_some(())
    });
    let children: BTreeMap<String, u32> =
        children_of(app.pid()).into_iter().map(|child| (name_of(child), child)).collect();
    assert_eq!(children.len(), 2, "{children:?}");
    let (network, worker) = (children[NETWORK], children[WORKER]);
    assert_eq!(children_of(app.pid()).len(), 2, "two of one name");
    for (name, child) in &children {
        assert!(children_of(*child).is_empty(), "{name} has children of its own");
    }
    if let Some(count) = unless_hidden("its sockets", internet_sockets_of(worker)) {
        assert_eq!(count, 0, "the worker holds a network socket");
    }
    // Three that listen, and both ends of the gateway's connection to the proxy, and the worker's connection as it comes from the app.
    let count = internet_sockets_of(network).expect("the network's sockets");
    assert!(count >= 6, "proxy and gateway have only {count} sockets");
    let count = internet_sockets_of(app.pid()).expect("the app's sockets");
    assert!((1..=4).contains(&count), "the app has a connection to the proxy and few to the chain, not {count}");
    drop(app);
    until("the children to end with the app", || (!is_alive(worker) && !is_alive(network)).then_some(()));
}

#[test]
fn the_worker_has_no_file_but_the_model_and_no_network() {
    let stage = Stage::start();
    stage.answer("hello", 4);
    let worker = stage.worker_now().expect("a worker");
    let model = tiny_model().to_string_lossy().into_owned();
    if let Some(targets) = unless_hidden("its descriptors", descriptors_of(worker)) {
        assert!(
            targets.iter().any(|target| target.starts_with("socket:")),
            "the pipe to the app is missing: {targets:?}"
        );
        for target in targets {
            let harmless = target == model
                || target == "/dev/null"
                || target.starts_with("pipe:")
                || target.starts_with("socket:")
                || target.starts_with("anon_inode:");
            assert!(harmless, "the worker holds {target}");
        }
    }
    if let Some(count) = unless_hidden("its sockets", internet_sockets_of(worker)) {
        assert_eq!(count, 0);
    }
    if let Some(environment) = unless_hidden("its environment", std::fs::read(format!("/proc/{worker}/environ"))) {
        assert!(environment.is_empty(), "the worker inherited {} bytes of environment", environment.len());
    }
    let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    for wall in ["Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n", "CapPrm:\t0000000000000000\n"] {
        assert!(status.contains(wall), "the worker's box is not closed: {status}");
    }
    // The same looks at the app, whose answers are known, show that they see what there is.
    let app = stage.app.pid();
    let ledger = stage.ledger_path().canonicalize().unwrap().to_string_lossy().into_owned();
    assert!(descriptors_of(app).unwrap().contains(&ledger), "the app's ledger is not among its descriptors");
    assert_eq!(internet_sockets_of(app).unwrap(), 1, "the app's connection to the proxy");
    assert!(!std::fs::read(format!("/proc/{app}/environ")).unwrap().is_empty(), "the app's environment");
}

#[test]
fn neither_prompt_nor_answer_is_ever_in_the_app() {
    let stage = Stage::start();
    let canary = "zebra-lantern-48151623-quartz";
    let app = stage.app.pid();
    // `echo` makes the prompt part of the answer too.
    let ask = || {
        let body = json!({"model": stage.base, "prompt": canary, "echo": true, "max_tokens": 48, "temperature": 0});
        let got = http::post(stage.http_port, "/v1/completions", &body).unwrap();
        assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
        got.text()
    };
    let text = ask();
    assert!(text.starts_with(canary), "the answer does not repeat the prompt: {text:?}");
    let spoken = &text[canary.len()..];
    assert!(spoken.len() > 12, "the model said too little to look for: {spoken:?}");
    let needles = [canary.as_bytes(), spoken.as_bytes()];

    // Where prompt and answer must be: in the worker, or, where that can't be looked into, in the process of proxy and gateway. A search
    // that finds nothing there would prove nothing.
    let worker = stage.worker_now().expect("a worker");
    let visible = unless_hidden("its memory; proxy and gateway in its place", memory::process_holds(worker, needles));
    let control = if visible.is_some() { worker } else { stage.network.pid() };
    let asked = AtomicU32::new(0);
    let done = AtomicBool::new(false);
    let mut seen = [false; 2];
    let mut looks = 0;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(ask(), text, "the same question has another answer");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _ending = SetAtTheEnd(&done);
        let begin = Instant::now();
        while (seen != [true; 2] || looks < 3 || asked.load(Ordering::Relaxed) < 12)
            && begin.elapsed() < PATIENCE
            && !asking.is_finished()
        {
            let held = memory::process_holds(app, needles).expect("the app's memory");
            assert_eq!(held, [false; 2], "the app's memory holds the prompt or the answer");
            let held = memory::process_holds(control, needles).expect("memory of the process that answers");
            seen = [seen[0] || held[0], seen[1] || held[1]];
            looks += 1;
        }
    });
    assert_eq!(
        seen, [true; 2],
        "in {looks} looks the search did not find prompt and answer where they must be: it proves nothing"
    );
    let held = memory::process_holds(app, needles).expect("the app's memory");
    assert_eq!(held, [false; 2], "the app's memory holds the prompt or the answer afterwards");
    for needle in needles {
        assert!(!memory::files_hold(&stage.app_folder(), needle), "a file of the app holds text of a job");
        assert!(
            !memory::files_hold(&stage.folder.path().join("network"), needle),
            "a file of the proxy holds text of a job"
        );
    }
    for (log, whose) in [(stage.app.errors(), "app"), (stage.network.errors(), "network")] {
        assert!(!log.contains(canary) && !log.contains(spoken), "the log of the {whose} holds text of a job");
    }
    // The served name is in the ledger: the search in files finds what is there.
    assert!(memory::files_hold(&stage.app_folder(), b"test/tiny@test"), "the search in files finds nothing at all");
}

/// A question whose answer goes on until the context is full, which takes many seconds, and the first piece of that answer.
fn endless_answer(stage: &Stage) -> http::Coming {
    let mut coming =
        http::begin(stage.http_port, "/v1/chat/completions", &stage.chat("count for me", 100_000, true)).unwrap();
    assert_eq!(coming.status, 200);
    coming.piece().unwrap().expect("a first piece");
    coming
}

/// An answer that was cut short in an ordinary way: a reason, honest counts, the closing mark. Gives its tokens.
fn assert_cut_short(answer: &http::Answer, context: u64) -> u64 {
    assert_eq!(answer.finish_reasons(), ["length"]);
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    let usage = answer.usage();
    let count = |key: &str| usage[key].as_u64().unwrap_or_else(|| panic!("no honest {key} in {usage}"));
    let tokens = count("completion_tokens");
    assert!(tokens > 0 && count("prompt_tokens") + tokens < context, "the answer ended by itself: {usage}");
    assert_eq!(count("total_tokens"), count("prompt_tokens") + tokens);
    tokens
}

/// The one job of this ledger, which must have been stopped with these tokens.
fn assert_stopped_in_the_ledger(stage: &Stage, tokens: u64) {
    let page = stage.ledger().jobs(None, 10).unwrap();
    assert_eq!(page.jobs.len(), 1);
    let job = &page.jobs[0].job;
    assert_eq!(job.outcome, accounting::JobOutcome::Stopped);
    assert_eq!(job.usage.completion, tokens);
    assert_eq!(job.adjusted.total, i64::try_from(job.usage.prompt + tokens).unwrap(), "practice counts tokens once");
}

/// The number in `freed in N ms`.
fn milliseconds_to_free(errors: &str) -> u64 {
    let rest = errors.split("freed in ").nth(1).unwrap_or_else(|| panic!("no measured time in:\n{errors}"));
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number of milliseconds")
}

#[test]
fn yielding_ends_a_running_job_with_an_ordinary_answer_and_frees_the_memory() {
    let mut stage = Stage::start_with(&tiny_model(), &[], &["--stats", "127.0.0.1:0"]);
    let worker = stage.worker_now().expect("a worker");
    let context = stage.stats().expect("statistics")["model"]["context"].as_u64().expect("the context");
    let mut coming = endless_answer(&stage);
    let held = memory::resident(worker).expect("the worker's memory");
    let model = std::fs::metadata(tiny_model()).unwrap().len();
    assert!(held > model, "a worker with the model holds {held} bytes, less than the model's file");

    let wish = Instant::now();
    stage.app.terminate();
    let mut body = Vec::new();
    let mut last = wish;
    while let Some((piece, at)) = coming.piece().expect("the answer ends in an ordinary way") {
        body.extend(piece);
        last = at;
    }
    let answer = http::Answer { status: coming.status, headers: coming.headers, body };
    let tokens = assert_cut_short(&answer, context);
    let (status, _) = stage.app.wait();
    assert_eq!(status.code(), Some(0), "{}", stage.app.errors());

    // Memory is free when its process is no more: not running, and not in the table of processes either.
    assert!(!is_alive(worker), "the worker outlived the app");
    assert_eq!(memory::resident(worker), None, "the worker is still in the system's table");
    let (ended, freed) = ((last - wish).as_millis(), milliseconds_to_free(&stage.app.errors()));
    println!(
        "asked to give up the card: the answer of {tokens} tokens ended after {ended} ms, the worker with its {held} bytes was gone \
         after {freed} ms"
    );
    // The promise is 300 ms for the answer; the test leaves room for a machine that is busy with other tests.
    assert!(ended < 3_000 && freed < 3_000, "ended after {ended} ms, freed after {freed} ms");
    assert_stopped_in_the_ledger(&stage, tokens);
    // And the customer was charged for it, so the worker is credited.
    let charged = stage.gateway_stats()["stats"]["total_adjusted_tokens_used"].as_u64();
    assert_eq!(charged, answer.usage()["total_tokens"].as_u64());
}

#[test]
fn what_yielding_freed_is_measured_and_told_in_the_statistics() {
    let mut stage = Stage::start_with(&tiny_model(), &[], &["--stats", "127.0.0.1:0"]);
    let worker = stage.worker_now().expect("a worker");
    let before = stage.stats().expect("statistics");
    assert!(before["freed"].is_null() && before["worker"]["state"] == "serving", "{before}");
    assert_eq!(before["worker_pid"], worker);
    let coming = endless_answer(&stage);
    let held = memory::resident(worker).expect("the worker's memory");
    // While the proxy stands still the app waits a moment for its last word, and in that moment it can still be asked.
    send(stage.network.pid(), rustix::process::Signal::STOP);
    stage.app.terminate();
    let after = until("the statistics to say what was freed", || {
        let stats = stage.stats();
        assert!(stats.is_some() || is_alive(stage.app.pid()), "the app ended without having said it");
        stats.filter(|stats| !stats["freed"].is_null())
    });
    send(stage.network.pid(), rustix::process::Signal::CONT);
    assert!(!is_alive(worker), "freed, it says, and the worker is there");
    assert_eq!((&after["target"], &after["worker"]["state"]), (&json!("yield"), &json!("gone")), "{after}");
    assert!(after["worker_pid"].is_null(), "{after}");
    let freed = &after["freed"];
    let number = |key: &str| freed[key].as_u64().unwrap_or_else(|| panic!("no {key} in {freed}"));
    println!("the statistics say {freed}");
    assert!(number("milliseconds") < 3_000, "{freed}");
    assert!(number("worker_held_bytes") >= held / 2, "{freed}, but {held} bytes were seen");
    // How much more the machine has to give depends on what else runs; that it is known, and plausible, does not.
    let installed = memory::installed();
    for known in ["available_bytes_before", "available_bytes_after"] {
        assert!((1..=installed).contains(&number(known)), "{freed}, of {installed} bytes");
    }
    // The customer gets the end of his answer as soon as the proxy reads it.
    let answer = coming.rest().expect("the answer ends in an ordinary way");
    let tokens = assert_cut_short(&answer, before["model"]["context"].as_u64().unwrap());
    let (status, _) = stage.app.wait();
    assert_eq!(status.code(), Some(0), "{}", stage.app.errors());
    assert_eq!(milliseconds_to_free(&stage.app.errors()), number("milliseconds"), "log and statistics disagree");
    assert_stopped_in_the_ledger(&stage, tokens);
}

#[test]
fn an_app_that_is_killed_leaves_no_worker_behind() {
    let mut stage = Stage::start();
    let worker = stage.worker_now().expect("a worker");
    stage.app.kill();
    until("the worker to end", || (!is_alive(worker)).then_some(()));
}

#[test]
fn a_second_app_on_the_same_folder_is_refused_with_a_reason() {
    let stage = Stage::start();
    let (data, model) = (stage.app_folder(), tiny_model());
    let name = served_as("test/tiny", &model);
    let words = headless_words(&data, &stage.network_file, &model, &name);
    let (code, _, errors) = program::run("chrysalis", &words);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("already"), "{errors}");
    // The first app goes on.
    stage.answer("still there?", 4);
}

/// The app that an owner has, with the file of its worker exchanged while it runs: the worker that is started next is the one that was
/// measured when the app began to serve, and says the same answers.
#[test]
fn a_worker_program_that_is_exchanged_on_disk_is_never_started() {
    let folder = tempfile::tempdir().unwrap();
    let installed = |name: &str| folder.path().join(name);
    for name in ["chrysalis", "chrysalis-worker", "chrysalis-network"] {
        std::fs::copy(program::path(name), installed(name)).unwrap();
    }
    let (data, model) = (installed("data"), tiny_model());
    let app = installed("chrysalis");
    let words = ["practice", "--backend", "cpu", "--data", data.to_str().unwrap(), "--model", model.to_str().unwrap()];
    let app = program::Running::start(app.to_str().unwrap(), &words);
    let answered = || {
        let path = program::find_file(folder.path(), "ledger.sqlite")?;
        Some(ledger::Ledger::open(&path, 0).ok()?.all_time_totals().ok()?.answered)
    };
    let worker = || children_of(app.pid()).into_iter().find(|child| name_of(*child) == WORKER);
    until("a first answer in the ledger", || answered().filter(|answered| *answered > 0));
    let genuine = std::fs::read(program::path("chrysalis-worker")).unwrap();
    let image = |pid: u32| unless_hidden("its image", std::fs::read(format!("/proc/{pid}/exe")));
    let first = worker().expect("a worker");
    assert!(image(first).is_none_or(|bytes| bytes == genuine), "another program runs than the one on disk");
    // In place, as whoever owns the file can; the worker is then killed, so that the app starts another one.
    std::fs::write(installed("chrysalis-worker"), "another program").unwrap();
    let before = answered().unwrap();
    send(first, rustix::process::Signal::KILL);
    let second = until("another worker", || worker().filter(|worker| *worker != first));
    assert!(image(second).is_none_or(|bytes| bytes == genuine), "what was not measured was started");
    until("another answer", || answered().filter(|answered| *answered > before));
}

/// Sockets of the internet families among a process' descriptors, of which there must be some.
fn internet_sockets_of(pid: u32) -> io::Result<usize> {
    let targets = descriptors_of(pid)?;
    assert!(!targets.is_empty(), "process {pid} has no descriptor at all");
    let inodes: Vec<String> = targets
        .into_iter()
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut count = 0;
    for family in ["tcp", "tcp6", "udp", "udp6"] {
        let table = match std::fs::read_to_string(format!("/proc/{pid}/net/{family}")) {
            Ok(table) => table,
            // A machine without this family.
            Err(error) if error.kind() == io::ErrorKind::NotFound && family.ends_with('6') => continue,
            Err(error) => return Err(error),
        };
        let ours =
            |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| inodes.iter().any(|own| own == inode));
        count += table.lines().filter(ours).count();
    }
    Ok(count)
}
