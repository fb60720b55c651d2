//! A node with programs in the worker's place that are no workers.

use std::net::SocketAddrV4;
use std::path::Path;

use link::message::{BackendKind, Configuration, EvidenceKind, PeerPolicy};
use ton::{Address, RootConfig};

use super::*;
use crate::core::workers::WorkerState;

/// A program that every system has and that ends at once.
pub(super) const ENDS_AT_ONCE: &str = if cfg!(windows) { r"C:\Windows\System32\whoami.exe" } else { "/usr/bin/true" };

pub(super) const ROOT: Address = Address { workchain: -1, hash: [0x70; 32] };

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_program_that_is_no_worker_is_killed_when_the_card_is_wanted_and_nothing_of_it_is_left() {
    let room = tempfile::tempdir().unwrap();
    // It runs until it is killed, and says nothing on the pipe.
    let node = start(world(room.path(), "/usr/bin/yes")).unwrap();
    let pid = until(&node, |shown| shown.worker_pid).await;
    let process = format!("/proc/{pid}");
    assert!(Path::new(&process).exists());
    let last = node.stop().await;
    assert_eq!((last.worker, last.worker_starts, last.unwritten), (WorkerState::Gone, 1, 0));
    let freed = last.freed.unwrap();
    assert!(freed.departure.held > Some(0) && freed.departure.available_after > Some(0), "{freed:?}");
    assert!(!Path::new(&process).exists());
}

#[tokio::test]
async fn a_program_that_does_not_go_on_is_shown_as_waiting_and_its_end_is_no_yield() {
    let room = tempfile::tempdir().unwrap();
    let node = start(world(room.path(), ENDS_AT_ONCE)).unwrap();
    until(&node, |shown| matches!(shown.worker, WorkerState::Waiting { .. }).then_some(())).await;
    let last = node.stop().await;
    assert_eq!((last.worker, last.worker_pid, last.freed), (WorkerState::Gone, None, None));
}

/// Between measuring and starting, and while it runs: what was measured is what runs and what is shown.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_program_that_is_exchanged_on_disk_is_never_the_one_that_runs() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("chrysalis-worker");
    std::fs::copy("/usr/bin/yes", &path).unwrap();
    let world = world(room.path(), path.to_str().unwrap());
    let measured = world.worker.measured();
    std::fs::write(&path, "another").unwrap();
    let node = start(world).unwrap();
    let mut pids = Vec::new();
    for exchanged in [true, false] {
        let pid = until(&node, |shown| shown.worker_pid).await;
        let image = std::fs::metadata(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(image.len(), measured.bytes);
        pids.push(pid);
        if exchanged {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "another").unwrap();
            node.want(Target::Yield).await;
            until(&node, |shown| shown.worker_pid.is_none().then_some(())).await;
            node.want(Target::Serve).await;
        }
    }
    assert_ne!(pids[0], pids[1], "there were two starts");
    assert_eq!(node.stop().await.program, measured);
}

/// A world in this folder, with this program for a worker and one proxy that is never dialled.
pub(super) fn world(folder: &Path, worker: &str) -> World {
    let worker = Program::open(Path::new(worker)).unwrap();
    let root = root();
    let configuration = Configuration {
        served_as: "some/model@commit:hash".to_owned(),
        owner: String::new(),
        coefficient: 1_000,
        max_active_requests: 1,
        proxy_connections: 1,
        is_test: true,
        is_testnet: false,
        root: root.clone(),
        root_contract: ROOT,
        evidence: EvidenceKind::None,
        policy: PeerPolicy::Any,
        backend: BackendKind::Cpu,
        threads: None,
        tunings: Vec::new(),
        max_pow_difficulty: 20,
        unix_ms: 0,
    };
    World {
        settings: Settings {
            configuration,
            root: Arc::new(root),
            root_contract: ROOT,
            owner: Address { workchain: 0, hash: [1; 32] },
            model_sha256: [0; 32],
            model_bytes: 5_000_000_000,
            program: worker.measured(),
            redial: Duration::from_secs(10),
            yield_within: Duration::from_secs(1),
            // No test waits for a second try.
            retune: false,
            restart_first: Duration::from_hours(1),
            restart_most: Duration::from_hours(1),
        },
        worker,
        model: tempfile::tempfile().unwrap(),
        ledger: folder.join("ledger.sqlite"),
        attester: None,
    }
}

/// Where the proxy would stand.
pub(super) fn place() -> SocketAddrV4 {
    "127.0.0.1:11001".parse().unwrap()
}

fn root() -> RootConfig {
    let owner = format!("-1:{}", "70".repeat(32));
    let proxies = format!(r#"[{{ "seqno": 1, "address": "{}" }}]"#, place());
    RootConfig::from_json(&format!(r#"{{ "root_owner_address": "{owner}", "registered_proxies": {proxies} }}"#))
        .unwrap()
}

/// Waits for the first snapshot that has what is looked for.
async fn until<T>(node: &Node, look: impl Fn(&Snapshot) -> Option<T>) -> T {
    let mut snapshots = node.snapshots();
    let seen = async {
        loop {
            if let Some(seen) = look(&snapshots.borrow_and_update()) {
                return seen;
            }
            snapshots.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap()
}
